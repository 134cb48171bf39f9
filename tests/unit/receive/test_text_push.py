"""The labels that an address gives to all that is pushed to it."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper_server.receive.refusal import RefusedError
from watchkeeper_server.receive.text_push import group_labels, is_push


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
