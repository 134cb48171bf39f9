"""The labels that an address gives to all that is pushed to it, and what they cost."""

from __future__ import annotations

import base64
import threading
from unittest.mock import AsyncMock, Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper_server.receive import text_push
from watchkeeper_server.receive.intake import Intake
from watchkeeper_server.receive.options import ReceiveOptions
from watchkeeper_server.receive.refusal import RefusedError
from watchkeeper_server.receive.remote_write import Written
from watchkeeper_server.receive.text_push import IMPORT_PATH, TextPush, group_labels, is_push


@pytest.mark.parametrize(
    ("path", "labels"),
    [
        ("/metrics/job/backup", {"job": "backup"}),
        ("/metrics/job/backup/instance/db 1", {"job": "backup", "instance": "db 1"}),
        ("/metrics/job@base64/YS9i/dir@base64/L3Zhci90bXA", {"job": "a/b", "dir": "/var/tmp"}),
        ("/metrics/job/a/dir@base64/w7w=", {"job": "a", "dir": "ü"}),
        ("/metrics/job/a/dir@base64/=", {"job": "a"}),
        ("/metrics/job/a/dir/", {"job": "a"}),
        ("/api/v1/import/prometheus/metrics/job/a/b/c", {"job": "a", "b": "c"}),
    ],
)
def test_a_path_names_the_groups_labels(path: str, labels: dict[str, str]) -> None:
    assert is_push(path)
    assert group_labels(path) == labels


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/metrics/job/", "has no job"),
        ("/metrics/job", "does not end with a label's value"),
        ("/metrics/job/a/", "does not end with a label's value"),
        ("/metrics/job/a/b", "does not end with a label's value"),
        ("/metrics/job/a/1b/c", "'1b' in .* is not a label's name"),
        ("/metrics/job/a/__b/c", "begins with the reserved __"),
        ("/metrics/job/a//c", "'' in .* is not a label's name"),
        ("/metrics/job/a/b/c/b/d", "'b' is twice"),
        ("/metrics/job@base64/=", "has no job"),
        ("/metrics/job@base64/a", "not text in base64"),
        ("/metrics/job@base64/é", "not text in base64"),
        ("/metrics/job@base64/_w==", "not text in base64"),
        ("/metrics/job@base64/a+b=", "not text in base64"),
    ],
)
def test_what_is_no_group_is_refused(path: str, reason: str) -> None:
    assert is_push(path)
    with pytest.raises(RefusedError, match=reason):
        group_labels(path)


def test_the_servers_own_metrics_are_no_push() -> None:
    assert not is_push("/metrics")
    assert not is_push("/metrics/jobs/a")
    assert not is_push("/api/v1/import")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.booleans())
def test_any_text_can_be_a_value_in_base64(value: str, padded: bool) -> None:
    encoded = base64.urlsafe_b64encode(value.encode()).decode()
    path = f"/metrics/job@base64/{encoded if padded else encoded.rstrip('=')}"
    assert group_labels(path) == {"job": value}


@pytest.mark.parametrize(("label", "here"), [("x" * 900, True), ("x" * 1100, False)])
async def test_a_push_with_long_labels_is_worked_on_in_another_thread(
    label: str, here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def parse(*_arguments: object) -> bytes:
        threads.append(threading.get_ident())
        return b""

    monkeypatch.setattr(text_push, "parse_to_write_request", parse)
    receiver = Mock(intake=Intake(ReceiveOptions()), receive=AsyncMock(return_value=Written()))
    scope = {"method": "POST", "path": IMPORT_PATH, "query_string": f"extra_label=a={label}".encode(), "headers": []}
    message = {"type": "http.request", "body": b"m 1\n", "more_body": False}
    await TextPush(receiver, lambda: 10**18)(scope, AsyncMock(return_value=message), AsyncMock())
    assert [thread == threading.get_ident() for thread in threads] == [here]
