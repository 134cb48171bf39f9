"""Metrics of OpenTelemetry's own Python SDK, and of messages with every field, arrive as Prometheus would have them."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetricExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetricExporter
from opentelemetry.metrics import Observation
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

from support.otlp import key_values
from support.server import ServerProcess

MILLISECOND = 1_000_000


def exporter_of(server: ServerProcess, protocol: str, temporality: AggregationTemporality) -> MetricExporter:
    preferred: dict[type, AggregationTemporality] = {Counter: temporality, Histogram: temporality}
    if protocol == "grpc":
        return GrpcMetricExporter(server.otlp_grpc, insecure=True, preferred_temporality=preferred)
    return HttpMetricExporter(f"{server.otlp_http}/v1/metrics", preferred_temporality=preferred)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("temporality", [AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA])
def test_python_metrics_arrive(server: ServerProcess, protocol: str, temporality: AggregationTemporality) -> None:
    service = f"python-{os.urandom(4).hex()}"
    exporter = exporter_of(server, protocol, temporality)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)
    provider = MeterProvider([reader], Resource({"service.name": service, "host.name": "h"}), shutdown_on_exit=False)
    meter = provider.get_meter("python.scope", "1.2.3")
    orders = meter.create_counter("shop.orders", "{order}", "Orders placed")
    level = meter.create_up_down_counter("shop.queue.depth")
    seconds = meter.create_histogram("shop.wait", "ms", explicit_bucket_boundaries_advisory=[1, 10])
    meter.create_observable_gauge("shop.load", [lambda _: [Observation(0.25, {"core": 0})]], "1")
    for _ in range(2):
        orders.add(2, {"status": "ok", "http.route": "/orders/{id}"})
        orders.add(1, {"status": "failed", "http.route": "/orders/{id}"})
        level.add(-3)
        for value in (0.5, 5, 50):
            seconds.record(value)
        provider.force_flush()
    provider.shutdown()

    def last(metric: str, label: str = "job") -> dict[str, Any]:
        series = server.series(metric, f"job={service}")
        return {found["labels"][label]: found["points"][-1][1] for found in series}

    server.wait_drained()
    assert last("shop_orders_total", "status") == {"ok": 4, "failed": 2}
    assert last("shop_queue_depth") == {service: -6}
    assert last("shop_load_ratio", "core") == {"0": 0.25}
    assert last("shop_wait_milliseconds_bucket", "le") == {"1": 2, "10": 4, "+Inf": 6}
    assert last("shop_wait_milliseconds_sum") == {service: 111}
    assert last("shop_wait_milliseconds_count") == {service: 6}
    assert last("target_info", "host_name") == {"h": 1}
    metrics = server.get("/api/wk/metrics", service=service).json()["metrics"]
    assert {metric["name"]: (metric["type"], metric["unit"], metric["help"]) for metric in metrics} == {
        "shop_load_ratio": ("gauge", "", ""),
        "shop_orders_total": ("counter", "", "Orders placed"),
        "shop_queue_depth": ("gauge", "", ""),
        "shop_wait_milliseconds_bucket": ("histogram", "milliseconds", ""),
        "shop_wait_milliseconds_count": ("histogram", "milliseconds", ""),
        "shop_wait_milliseconds_sum": ("histogram", "milliseconds", ""),
        "target_info": ("info", "", "What is known of a target besides its job and instance."),
    }


def test_odd_numbers_and_times_arrive(server: ServerProcess) -> None:
    service, now = f"odd-{os.urandom(4).hex()}", time.time_ns() // MILLISECOND * MILLISECOND
    request = ExportMetricsServiceRequest()
    made = request.resource_metrics.add()
    made.resource.attributes.extend(key_values({"service.name": service}))
    points = made.scope_metrics.add().metrics.add(name="odd").gauge.data_points
    numbers = [0.0, -1.5, 1e300, 5e-324, math.inf, -math.inf, math.nan]
    for i, number in enumerate(numbers):
        points.add(time_unix_nano=now - i * MILLISECOND, as_double=number)
    points.add(time_unix_nano=now - 100 * MILLISECOND, as_int=-(2**53))
    assert server.post("/v1/metrics", request.SerializeToString()).status == 200

    (series,) = server.series("odd", f"job={service}")
    shown = {round(moment * 1000): value for moment, value in series["points"]}
    texts = [
        number if math.isfinite(number) else {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}[str(number)]
        for number in numbers
    ]
    assert shown == {now // MILLISECOND - i: text for i, text in enumerate(texts)} | {
        now // MILLISECOND - 100: -(2.0**53)
    }


def test_exemplars_and_native_histograms_are_stored_whole(tmp_path: Path) -> None:
    now, trace_id, span_id = time.time_ns() // MILLISECOND * MILLISECOND, os.urandom(16), os.urandom(8)
    request = ExportMetricsServiceRequest()
    made = request.resource_metrics.add()
    made.resource.attributes.extend(key_values({"service.name": "exemplary"}))
    metrics = made.scope_metrics.add().metrics
    exemplars = [
        Exemplar(
            time_unix_nano=now, as_double=0.5, trace_id=trace_id, span_id=span_id,
            filtered_attributes=key_values({"user": "u1", "tries": 3}),
        ),
        Exemplar(time_unix_nano=now, as_int=7),
        Exemplar(time_unix_nano=now, as_int=9, trace_id=b"short", span_id=b"much too long"),
    ]  # fmt: skip
    total = metrics.add(name="orders").sum
    total.aggregation_temporality, total.is_monotonic = 2, True
    total.data_points.add(time_unix_nano=now, as_int=1, exemplars=exemplars)
    native = metrics.add(name="wait").exponential_histogram
    native.aggregation_temporality = 2
    point = native.data_points.add(
        time_unix_nano=now, count=9, sum=4.5, scale=2, zero_count=2, zero_threshold=0.25, min=-1.5, max=8.0
    )
    point.positive.offset, point.negative.offset = -3, 4
    point.positive.bucket_counts.extend([1, 0, 5])
    point.negative.bucket_counts.extend([1])
    with ServerProcess(tmp_path / "data") as server:
        assert server.post("/v1/metrics", request.SerializeToString()).status == 200
        server.wait_drained()

    command = [sys.executable, str(Path(__file__).with_name("stored_metrics.py")), str(tmp_path / "data")]
    stored = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    found = [(row["value"], row["trace"], row["span"], json.loads(row["labels"])) for row in stored["exemplars"]]
    nothing = ("0" * 32, "0" * 16, {})
    assert found[:2] == [(0.5, trace_id.hex(), span_id.hex(), {"user": "u1", "tries": "3"}), (7, *nothing)]
    assert found[2] == (9, *nothing)  # what is no id is no reason to lose the point
    assert [row["metric"] for row in stored["exemplars"]] == ["orders_total"] * 3
    dated = stored["exemplars"] + stored["native_histograms"]
    assert {row["ms"] for row in dated} == {now // MILLISECOND}
    (row,) = stored["native_histograms"]
    assert {name: row[name] for name in ("metric", "count", "sum", "schema", "zero_threshold", "zero_count")} == {
        "metric": "wait", "count": 9, "sum": 4.5, "schema": 2, "zero_threshold": 0.25, "zero_count": 2,
    }  # fmt: skip
    # Prometheus numbers a bucket by its upper bound, OpenTelemetry by its lower one
    assert (row["positive_offset"], row["positive_counts"]) == (-2, [1, 0, 5])
    assert (row["negative_offset"], row["negative_counts"]) == (5, [1])
    assert (row["min"], row["max"], row["delta"]) == (-1.5, 8.0, False)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_exemplars_of_python_measurements_are_stored(tmp_path: Path, protocol: str) -> None:
    trace_id, span_id = int.from_bytes(os.urandom(16)), int.from_bytes(os.urandom(8))
    context = SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(1))
    with ServerProcess(tmp_path / "data") as server:
        exporter = exporter_of(server, protocol, AggregationTemporality.CUMULATIVE)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)
        provider = MeterProvider([reader], exemplar_filter=AlwaysOnExemplarFilter(), shutdown_on_exit=False)
        with use_span(NonRecordingSpan(context)):
            provider.get_meter("m").create_histogram("wait", "s").record(0.75)
        provider.force_flush()
        provider.shutdown()
        server.wait_drained()
    command = [sys.executable, str(Path(__file__).with_name("stored_metrics.py")), str(tmp_path / "data")]
    (exemplar,) = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["exemplars"]
    assert (exemplar["value"], exemplar["trace"], exemplar["span"]) == (0.75, f"{trace_id:032x}", f"{span_id:016x}")
