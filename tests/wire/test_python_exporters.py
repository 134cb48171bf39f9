"""OpenTelemetry's own Python SDK and exporters, as they come from PyPI, deliver traces and logs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from support.server import ServerProcess
from support.values import SENT, SHOWN, assert_same
from watchkeeper_server.model.times import format_time

PROTOCOLS = ["http", "http, gzip", "grpc"]


def without_empty_keys(values: dict[str, Any]) -> dict[str, Any]:
    """OpenTelemetry's API takes none."""
    return {
        key: {k: v for k, v in value.items() if k} if key == "map" else value for key, value in values.items() if key
    }


ATTRIBUTES, SHOWN_ATTRIBUTES = without_empty_keys(SENT), without_empty_keys(SHOWN)
RESOURCE = Resource({"service.name": "python", "host.id": "h1", "process.pid": 42}, "https://example.com/resource")
SCOPE = ("python.scope", "1.2.3", "https://example.com/scope", {"scoped": True, "deep": {"a": [1, 2.0]}})
SHOWN_SCOPE = {
    "name": "python.scope",
    "version": "1.2.3",
    "attributes": {"scoped": True, "deep": {"a": [1, 2.0]}},
    "schema_url": "https://example.com/scope",
    "dropped_attributes_count": 0,
}


@pytest.fixture(params=PROTOCOLS)
def span_exporter(request: pytest.FixtureRequest, server: ServerProcess) -> Iterator[SpanExporter]:
    exporter: SpanExporter
    if request.param == "grpc":
        exporter = GrpcSpanExporter(server.otlp_grpc, insecure=True)
    else:
        compression = Compression.Gzip if "gzip" in request.param else Compression.NoCompression
        exporter = HttpSpanExporter(f"{server.otlp_http}/v1/traces", compression=compression)
    yield exporter
    exporter.shutdown()


@pytest.fixture(params=PROTOCOLS)
def log_exporter(request: pytest.FixtureRequest, server: ServerProcess) -> Iterator[LogRecordExporter]:
    exporter: LogRecordExporter
    if request.param == "grpc":
        exporter = GrpcLogExporter(server.otlp_grpc, insecure=True)
    else:
        compression = Compression.Gzip if "gzip" in request.param else Compression.NoCompression
        exporter = HttpLogExporter(f"{server.otlp_http}/v1/logs", compression=compression)
    yield exporter
    exporter.shutdown()


def remote(span_id: int, trace_id: int, state: TraceState | None = None) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(1), trace_state=state)


def test_every_field_of_a_python_span_arrives(server: ServerProcess, span_exporter: SpanExporter) -> None:
    start = time.time_ns()
    limits = SpanLimits(max_span_attributes=len(ATTRIBUTES), max_events=1, max_links=1)
    provider = TracerProvider(resource=RESOURCE, span_limits=limits, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(span_exporter))
    tracer = provider.get_tracer(*SCOPE)
    trace_id = provider.id_generator.generate_trace_id()
    parent = remote(0x1234, trace_id, TraceState([("vendor", "value"), ("other", "1")]))
    linked = Link(remote(0x42, 0x4242), ATTRIBUTES)
    span = tracer.start_span(
        "GET /orders/{id}",
        set_span_in_context(NonRecordingSpan(parent)),
        SpanKind.SERVER,
        {"dropped": 1},
        [Link(remote(0x41, 0x4141)), linked],
        start,
    )
    span.set_attributes(ATTRIBUTES)
    span.add_event("dropped", timestamp=start)
    span.add_event("kept", ATTRIBUTES, start + 7)
    span.set_status(Status(StatusCode.ERROR, "no such order"))
    span.end(start + 123_456_789)
    provider.shutdown()

    trace = server.trace(f"{trace_id:032x}")
    (found,) = trace["spans"]
    resource = {"attributes": dict(RESOURCE.attributes), "schema_url": RESOURCE.schema_url}
    assert_same(trace["resources"][found.pop("resource")], resource | {"dropped_attributes_count": 0})
    expected = {
        "trace_id": f"{trace_id:032x}",
        "span_id": f"{span.get_span_context().span_id:016x}",
        "parent_span_id": "0000000000001234",
        "name": "GET /orders/{id}",
        "kind": "server",
        "service": "python",
        "start": format_time(start),
        "end": format_time(start + 123_456_789),
        "offset_ns": 0,
        "duration_ns": 123_456_789,
        "status": {"code": "error", "message": "no such order"},
        "attributes": SHOWN_ATTRIBUTES,
        "events": [
            {
                "time": format_time(start + 7),
                "offset_ns": 7,
                "name": "kept",
                "attributes": SHOWN_ATTRIBUTES,
                "dropped_attributes_count": 0,
            }
        ],
        "links": [
            {
                "trace_id": f"{0x4242:032x}",
                "span_id": f"{0x42:016x}",
                "trace_state": "",  # the exporter does not send it
                "flags": 0x300,
                "attributes": SHOWN_ATTRIBUTES,
                "dropped_attributes_count": 0,
            }
        ],
        "scope": SHOWN_SCOPE,
        "trace_state": "vendor=value,other=1",
        "flags": 0x300,
        "dropped_attributes_count": 1,
        "dropped_events_count": 1,
        "dropped_links_count": 1,
    }
    assert_same(found, expected)


def test_every_field_of_a_python_log_record_arrives(server: ServerProcess, log_exporter: LogRecordExporter) -> None:
    now = time.time_ns()
    provider = LoggerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(log_exporter))
    trace_id = now << 32 | 7
    for i, body in enumerate(ATTRIBUTES.values()):
        provider.get_logger(*SCOPE).emit(
            timestamp=now + i,
            observed_timestamp=now + 5,
            context=set_span_in_context(NonRecordingSpan(remote(0x99, trace_id))),
            severity_number=SeverityNumber.WARN3,
            severity_text="Warning",
            body=body,
            attributes=ATTRIBUTES,
            event_name="order.failed",
        )
    provider.shutdown()

    found = server.logs(len(ATTRIBUTES), trace_id=f"{trace_id:032x}")[::-1]
    assert_same([record.pop("body") for record in found], list(SHOWN_ATTRIBUTES.values()))
    resource = {"attributes": dict(RESOURCE.attributes), "schema_url": RESOURCE.schema_url}
    expected = {
        "observed_time": format_time(now + 5),
        "severity": "warn",
        "severity_number": 15,
        "severity_text": "Warning",
        "service": "python",
        "event_name": "order.failed",
        "trace_id": f"{trace_id:032x}",
        "span_id": f"{0x99:016x}",
        "flags": 1,
        "attributes": SHOWN_ATTRIBUTES,
        "dropped_attributes_count": 0,
        "scope": SHOWN_SCOPE,
        "resource": resource | {"dropped_attributes_count": 0},
    }
    assert_same(found, [{"time": format_time(now + i)} | expected for i in range(len(found))])
