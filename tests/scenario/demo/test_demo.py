"""`watchkeeper demo`, whole: the real server, the real shop, and what can be seen of a request just made."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from support.ports import unused_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE_SECONDS = 15.0  # on a machine busy with other tests


@dataclass
class Demo:
    """A running demo, its two addresses and its folder."""

    process: subprocess.Popen[str]
    server: httpx.Client
    shop: httpx.Client
    data: Path
    listen: str

    def get(self, path: str, **parameters: str) -> Any:
        answer = self.server.get(f"/api/wk{path}", params=parameters)
        return answer.json() if answer.status_code == 200 else None

    def trace(self, trace_id: str, line: str) -> Any:
        """The trace, once it has spans and that log line."""
        trace = self.get(f"/traces/{trace_id}")
        return trace and trace["spans"] and any(one["body"] == line for one in trace["logs"]) and trace


def within(seconds: float, look: Callable[[], Any]) -> Any:
    """What `look` finds, as soon as it finds something."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"nothing within {seconds} s"
        time.sleep(0.05)
    return found


def run(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "watchkeeper_server", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )


def addresses() -> tuple[str, list[str]]:
    """The page's address, and the options for a demo that takes only free ports."""
    listen, otlp_http, otlp_grpc = (f"127.0.0.1:{unused_port()}" for _ in range(3))
    return listen, ["--listen", listen, "--otlp-http", otlp_http, "--otlp-grpc", otlp_grpc]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    data = tmp_path_factory.mktemp("demo") / "data"
    listen, options = addresses()
    process = run(*options, "--data", str(data))
    assert process.stdout is not None
    printed, shop = "", ""
    for line in process.stdout:
        printed += line
        if line.strip().startswith("Shop "):
            shop = line.split()[1].removesuffix("/docs")
        if line.strip().startswith("Stop "):
            break
    assert f"http://{listen}" in printed, printed
    with (
        httpx.Client(base_url=f"http://{listen}", trust_env=False) as server,
        httpx.Client(base_url=shop, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)) as client,
    ):
        yield Demo(process, server, client, data, listen)
    if process.poll() is None:
        process.terminate()
    process.communicate(timeout=20)


def traced() -> tuple[str, dict[str, str]]:
    """A new trace id, and the header that makes a request a part of that trace."""
    trace_id = secrets.token_hex(16)
    return trace_id, {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}


def test_a_request_is_a_trace_with_its_log_lines_and_queries(demo: Demo) -> None:
    trace_id, headers = traced()
    assert demo.shop.get("/search", params={"q": "oak lamp"}, headers=headers).status_code == 200
    trace = within(PATIENCE_SECONDS, lambda: demo.trace(trace_id, "searched"))
    names = [span["name"] for span in trace["spans"]]
    assert "GET /search" in names
    assert any(span["attributes"].get("db.system.name") == "sqlite" for span in trace["spans"]), names
    [line] = [line for line in trace["logs"] if line["body"] == "searched"]
    assert (line["service"], line["attributes"]["found"]) == ("shop", 1)


def test_a_checkout_is_one_trace_through_both_services_and_the_job_queue(demo: Demo) -> None:
    (demo.data / "demo-shop" / "faults.json").write_text(
        '{"card_declined": 0, "payment_broken": 0, "payment_slow": 0, "receipt_failed": 0}'
    )
    demo.shop.post("/customers/tester/cart", json={"product_id": 1})
    trace_id, headers = traced()
    assert demo.shop.post("/customers/tester/checkout", headers=headers).status_code == 201

    def whole() -> Any:
        trace = demo.get(f"/traces/{trace_id}") or {"spans": []}
        names = {(span["service"], span["name"]) for span in trace["spans"]}
        wanted = {
            ("shop", "POST /customers/{customer}/checkout"),
            ("shop", "charge card"),
            ("payments", "POST /charges"),
            ("payments", "ask bank"),
            ("shop", "job pack parcel"),
        }
        return trace if wanted <= names else None

    trace = within(PATIENCE_SECONDS, whole)
    spans = {span["span_id"]: span for span in trace["spans"]}
    [charges] = [span for span in trace["spans"] if span["name"] == "POST /charges"]
    caller = spans[charges["parent_span_id"]]
    assert (caller["service"], caller["kind"]) == ("shop", "client")
    assert spans[caller["parent_span_id"]]["name"] == "charge card"
    within(PATIENCE_SECONDS, lambda: demo.trace(trace_id, "order placed"))


def test_an_unhandled_error_is_a_failed_trace_with_its_exception(demo: Demo) -> None:
    trace_id, headers = traced()
    assert demo.shop.get("/products/12/rating", headers=headers).status_code == 500
    trace = within(PATIENCE_SECONDS, lambda: demo.get(f"/traces/{trace_id}"))
    [failed] = [span for span in trace["spans"] if span["kind"] == "server"]
    assert failed["status"]["code"] == "error"
    [event] = [event for event in failed["events"] if event["name"] == "exception"]
    assert event["attributes"]["exception.type"].endswith("ZeroDivisionError")


def test_the_shops_business_metrics_arrive(demo: Demo) -> None:
    def series() -> Any:
        answer = demo.get("/metrics/orders_total/series", label="status=paid", start="now-5m")
        return answer and [one for one in answer["series"] if one["labels"].get("job") == "shop" and one["points"]]

    [paid] = within(PATIENCE_SECONDS, series)
    assert paid["points"][-1][1] >= 1


def test_both_services_are_listed_with_their_traffic(demo: Demo) -> None:
    def services() -> Any:
        found = {service["name"]: service for service in demo.get("/services", start="now-5m")["services"]}
        return found if {"shop", "payments"} <= found.keys() else None

    assert within(PATIENCE_SECONDS, services)["shop"]["requests"] > 0


def test_ctrl_c_ends_it_within_five_seconds_with_a_true_summary(demo: Demo) -> None:
    began = time.monotonic()
    os.killpg(demo.process.pid, signal.SIGINT)
    output, _ = demo.process.communicate(timeout=20)
    assert time.monotonic() - began < 5.0
    assert demo.process.returncode == 0
    assert "Traceback" not in output
    assert "requests. What Watchkeeper stored of them:" in output
    with pytest.raises(httpx.ConnectError):
        demo.server.get("/-/ready")


def test_it_ends_by_itself_when_told_for_how_long() -> None:
    _, options = addresses()
    process = run(*options, "--for", "3", "--rate", "30")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    [made] = [line for line in output.splitlines() if line.startswith("Customers made")]
    [shop] = [line.split() for line in output.splitlines() if line.split()[:1] == ["shop"]]
    assert int(made.split()[2]) >= 30
    assert int(shop[1]) >= int(made.split()[2])  # every one of them is stored, and the opening of the database
