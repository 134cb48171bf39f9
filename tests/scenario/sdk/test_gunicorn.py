"""Under gunicorn: nothing is lost, doubled or dead, however its workers are made and come to their end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from support.ports import unused_port
from support.sdk import Sink, attributes, eventually, serving

APP = """
import os
import flask
import watchkeeper as wk

wk.configure()
log = wk.get_logger("shop.orders")
app = flask.Flask(__name__)
wk.instrument(app)

@app.get("/orders/<int:order_id>")
def order(order_id):
    log.info("shown", order_id=order_id)
    return {"worker": os.getpid()}

@app.get("/boom")
def boom():
    def failing():
        yield "1"
        raise ValueError("no")
    return flask.Response(failing())
"""
REQUESTS = 40
COMMON = ["-w", "2", "--access-logfile", "-", "--graceful-timeout", "5", "--no-control-socket"]
VARIANTS = {
    "sync": ["-k", "sync"],
    "sync, preloaded": ["-k", "sync", "--preload"],
    "threads": ["-k", "gthread", "--threads", "4"],
    "threads, preloaded, workers replaced": ["-k", "gthread", "--threads", "4", "--preload", "--max-requests", "7"],
}


@pytest.fixture
def sink() -> Iterator[Sink]:
    with serving() as found:
        yield found


@pytest.mark.parametrize("variant", VARIANTS)
def test_gunicorns_workers_lose_and_double_nothing(variant: str, sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "shop_app.py").write_text(APP)
    port = unused_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "shop_app:app", "-b", f"127.0.0.1:{port}", *COMMON, *VARIANTS[variant]],
        cwd=tmp_path,
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, "OTEL_SERVICE_NAME": "shop"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        eventually(lambda: _listening(port), 20)
        with ThreadPoolExecutor(4) as pool:
            workers = set(pool.map(lambda number: _order(port, number), range(REQUESTS)))
        _fails(port)
    finally:
        server.send_signal(signal.SIGTERM)
        out, errors = server.communicate(timeout=15)
    assert server.returncode == 0, errors
    ids = [f"req-{number}" for number in range(REQUESTS)]
    spans = sink.spans()
    assert sorted(span.name for span in spans) == ["GET /boom", *["GET /orders/{order_id}"] * REQUESTS]
    assert len({span.span_id for span in spans}) == len({span.trace_id for span in spans}) == REQUESTS + 1
    said = [record for record in sink.records() if record.body.string_value == "shown"]
    assert sorted(record.trace_id for record in said) == sorted(
        span.trace_id for span in spans if span.name != "GET /boom"
    )
    assert _served(sink) == {"/orders/{order_id}": REQUESTS, "/boom": 1}
    lines = [json.loads(line) for line in out.splitlines()]
    for logger in ("shop.orders", "gunicorn.access"):
        found = [line for line in lines if line["logger"] == logger and line.get("request_id", "").startswith("req-")]
        assert sorted(line["request_id"] for line in found) == sorted(ids)
        assert {line["pid"] for line in found} == workers
    access = next(line for line in lines if line["logger"] == "gunicorn.access")
    assert (access["method"], access["status"], len(access["trace_id"])) == ("GET", "200", 32)
    failed = next(line for line in lines if line.get("error", {}).get("type") == "ValueError")
    boom = next(span for span in spans if span.name == "GET /boom")
    assert failed["trace_id"] == boom.trace_id.hex()


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _order(port: int, number: int) -> int:
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}/orders/{number}", headers={"x-request-id": f"req-{number}"}
    )
    with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310  # http, one line above
        assert answer.headers["x-request-id"] == f"req-{number}"
        return int(json.load(answer)["worker"])


def _fails(port: int) -> None:
    url = f"http://127.0.0.1:{port}/boom"
    with contextlib.suppress(OSError, http.client.HTTPException), urllib.request.urlopen(url, timeout=10) as answer:
        answer.read()


def _served(sink: Sink) -> dict[str, float]:
    """Requests by route: the last count of each process, summed."""
    last: dict[tuple[str, str], float] = {}
    for body in sink.bodies("/v1/metrics"):
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            instance = attributes(resource.resource)["service.instance.id"]
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                if metric.name.removesuffix("_total") == "http_requests":
                    for point in metric.sum.data_points:
                        last[instance, attributes(point)["route"]] = point.as_double or point.as_int
    summed: dict[str, float] = {}
    for (_, route), count in last.items():
        summed[route] = summed.get(route, 0) + count
    return summed
