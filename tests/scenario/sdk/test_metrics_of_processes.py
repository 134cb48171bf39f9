"""Metrics of processes that fork: pushed by each for itself, or shared through a directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from support.sdk import Sink, attributes, serving


@pytest.fixture
def sink() -> Iterator[Sink]:
    with serving() as found:
        yield found


def run(program: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "WATCHKEEPER_LOG_STREAM": "off", **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def last_of_each_process(sink: Sink) -> dict[int, dict[str, Any]]:
    found = {}
    for body in sink.bodies("/v1/metrics"):
        (resource,) = ExportMetricsServiceRequest.FromString(body).resource_metrics
        metrics = {metric.name: metric for scope in resource.scope_metrics for metric in scope.metrics}
        found[attributes(resource.resource)["process.pid"]] = metrics
    return found


def test_a_forked_child_counts_from_zero(sink: Sink) -> None:
    parent, child = run(
        """
import os, prometheus_client, watchkeeper as wk
from watchkeeper.metrics.sets import errors
wk.configure()
orders = wk.counter("orders_total", "Orders", ["status"]).labels("paid")
seconds = wk.histogram("work_seconds", buckets=(1,))
rows = wk.summary("rows", quantiles=(0.5,))
size = wk.gauge("pool_size")
theirs = prometheus_client.Counter("theirs_total", "Not declared through us")
for metric in (seconds, rows):
    metric.observe(0.5)
orders.inc(5)
theirs.inc(5)
errors().error("database", "error")
size.set(7)
child = os.fork()
if child == 0:
    orders.inc(2)
    seconds.observe(3)
    wk.shutdown()
    os._exit(0)
os.waitpid(child, 0)
wk.shutdown()
print(os.getpid(), child)
""",
        OTEL_EXPORTER_OTLP_ENDPOINT=sink.url,
    ).split()
    said = last_of_each_process(sink)
    of_parent, of_child = said[int(parent)], said[int(child)]
    assert of_parent["orders"].sum.data_points[0].as_double == 5
    assert of_child["orders"].sum.data_points[0].as_double == 2
    assert of_child["theirs"].sum.data_points[0].as_double == 0
    assert of_child["pool_size"].gauge.data_points[0].as_double == 7
    assert list(of_child["work_seconds"].histogram.data_points[0].bucket_counts) == [0, 1]
    assert of_child["work_seconds"].histogram.data_points[0].sum == 3
    assert of_child["rows"].summary.data_points[0].count == 0
    assert of_parent["error_rate_per_minute"].gauge.data_points[0].as_double == 1
    assert of_child["error_rate_per_minute"].gauge.data_points[0].as_double == 0
    starts = [each["orders"].sum.data_points[0].start_time_unix_nano for each in (of_parent, of_child)]
    assert starts[0] < starts[1]


def test_a_child_serves_none_of_its_parents_requests(sink: Sink) -> None:
    parent, child = run(
        """
import os, watchkeeper as wk
from watchkeeper.metrics.http import http_metrics
wk.configure()
http_metrics.active("GET").add("a request of the parent's")
http_metrics.add(("GET", "/", 200), 0.1, 0, 0)
wk.flush()
child = os.fork()
if child == 0:
    http_metrics.add(("GET", "/", 200), 0.1, 0, 0)
    wk.shutdown()
    os._exit(0)
os.waitpid(child, 0)
wk.shutdown()
print(os.getpid(), child)
""",
        OTEL_EXPORTER_OTLP_ENDPOINT=sink.url,
    ).split()
    said = last_of_each_process(sink)
    for process, in_progress in ((parent, 1), (child, 0)):
        metrics = said[int(process)]
        assert metrics["http_requests"].sum.data_points[0].as_double == 1
        assert metrics["http_requests_in_progress"].gauge.data_points[0].as_double == in_progress


def test_workers_that_share_a_directory_are_scraped_as_one(tmp_path: Path) -> None:
    out = run(
        """
import asyncio, os, sys, watchkeeper as wk
from types import SimpleNamespace
from watchkeeper.metrics.exposition import answer
wk.configure()
orders = wk.counter("orders_total", "Orders", ["status"])
rows = wk.summary("rows")
orders.labels("paid").inc(100)

async def application(scope, receive, send):
    scope["route"] = SimpleNamespace(path="/orders/{id}")
    orders.labels("paid").inc()
    rows.observe(4)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})

async def send(message):
    pass

async def serve(requests):
    app = wk.instrument(application)
    for _ in range(requests):
        scope = {"type": "http", "method": "GET", "path": "/orders/7", "headers": [], "scheme": "http"}
        await app(scope, None, send)

workers = []
for requests in (2, 3):
    worker = os.fork()
    if worker == 0:
        asyncio.run(serve(requests))
        os._exit(0)  # as a worker that was killed: nothing is said at its end
    workers.append(worker)
for worker in workers:
    assert os.waitpid(worker, 0)[1] == 0
status, _, body, _ = answer("", "format=json")
sys.stdout.buffer.write(body)
""",
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path),
        OTEL_TRACES_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
        OTEL_METRICS_EXPORTER="none",
    )
    samples = {sample["name"]: sample["value"] for family in json.loads(out) for sample in family["samples"]}
    assert samples["orders_total"] == 105
    assert samples["http_requests_total"] == 5
    assert samples["http_request_duration_seconds_count"] == 5
    assert samples["http_response_size_bytes_sum"] == 25
    assert samples["rows_count"] == 5
    assert samples["http_requests_in_progress"] == 0
