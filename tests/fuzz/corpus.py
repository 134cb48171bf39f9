"""Good requests with every field of each signal, to be made bad."""

from __future__ import annotations

import base64
import time
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from support.otlp import key_values, log_record, span

ATTRIBUTES = {
    "s": "text", "empty": "", "i": -7, "f": 0.5, "b": True, "bytes": b"\0\xff", "none": None, "list": [1, "a", [2.5]],
    "map": {"a": {"b": {"c": [b"deep", None]}}},
}  # fmt: skip
SIGNALS = ("traces", "logs", "metrics")
TRACE_ID, SPAN_ID = bytes(range(1, 17)), bytes(range(1, 9))
_ID_FIELDS = ("traceId", "spanId", "parentSpanId")


def good(signal: str) -> Message:
    """A request of now."""
    return {"traces": _traces, "logs": _logs, "metrics": _metrics}[signal]()


def otlp_json(request: Message) -> Any:
    """The request as OTLP's JSON document."""

    def with_hex_ids(node: Any) -> Any:
        if isinstance(node, list):
            return [with_hex_ids(item) for item in node]
        if not isinstance(node, dict):
            return node
        return {
            key: base64.b64decode(value).hex() if key in _ID_FIELDS else with_hex_ids(value)
            for key, value in node.items()
        }

    return with_hex_ids(MessageToDict(request, use_integers_for_enums=True))


def _resource() -> Resource:
    attributes = {"service.name": "fuzz", "service.instance.id": "1"} | ATTRIBUTES
    return Resource(attributes=key_values(attributes), dropped_attributes_count=1)


def _scope() -> InstrumentationScope:
    return InstrumentationScope(
        name="scope", version="1", attributes=key_values(ATTRIBUTES), dropped_attributes_count=1
    )


def _traces() -> ExportTraceServiceRequest:
    now = time.time_ns()
    made = span(
        trace=TRACE_ID.hex(), id=SPAN_ID.hex(), parent="11" * 8, start=now, kind=3, status=2, attributes=ATTRIBUTES,
        trace_state="a=b", flags=257, dropped_attributes_count=1, dropped_events_count=2, dropped_links_count=3,
        events=[Span.Event(time_unix_nano=now, name="event", attributes=key_values(ATTRIBUTES))],
        links=[Span.Link(trace_id=TRACE_ID, span_id=SPAN_ID, trace_state="c=d", attributes=key_values(ATTRIBUTES))],
    )  # fmt: skip
    made.status.message = "failed"
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add(resource=_resource(), schema_url="https://example.com")
    resource.scope_spans.add(scope=_scope(), spans=[made, made], schema_url="https://example.com")
    return request


def _logs() -> ExportLogsServiceRequest:
    now = time.time_ns()
    records = [
        log_record(
            time=now, body=body, attributes=ATTRIBUTES, trace_id=TRACE_ID, span_id=SPAN_ID, severity_text="INFO",
            observed_time_unix_nano=now, event_name="event", flags=1, dropped_attributes_count=1,
        )
        for body in ("some words", ATTRIBUTES, b"\0", None)
    ]  # fmt: skip
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add(resource=_resource(), schema_url="https://example.com")
    resource.scope_logs.add(scope=_scope(), log_records=records, schema_url="https://example.com")
    return request


def _metrics() -> ExportMetricsServiceRequest:
    now = time.time_ns()
    exemplar = Exemplar(
        time_unix_nano=now,
        as_double=0.5,
        trace_id=TRACE_ID,
        span_id=SPAN_ID,
        filtered_attributes=key_values(ATTRIBUTES),
    )
    point: dict[str, Any] = {
        "attributes": key_values(ATTRIBUTES),
        "start_time_unix_nano": now - 1,
        "time_unix_nano": now,
    }
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add(resource=_resource(), schema_url="https://example.com")
    metrics = resource.scope_metrics.add(scope=_scope(), schema_url="https://example.com").metrics
    metrics.add(name="gauge", unit="By", description="A gauge").gauge.data_points.add(
        as_int=-5, exemplars=[exemplar], **point
    )
    for temporality in (1, 2):
        total = metrics.add(name=f"sum.{temporality}", unit="1").sum
        total.aggregation_temporality, total.is_monotonic = temporality, True
        total.data_points.add(as_double=1.5, exemplars=[exemplar], **point)
        histogram = metrics.add(name=f"histogram.{temporality}", unit="s").histogram
        histogram.aggregation_temporality = temporality
        histogram.data_points.add(
            count=3,
            sum=4.5,
            bucket_counts=[1, 1, 1],
            explicit_bounds=[0.1, 1.0],
            min=0.0,
            max=3.0,
            exemplars=[exemplar],
            **point,
        )
        exponential = metrics.add(name=f"exponential.{temporality}").exponential_histogram
        exponential.aggregation_temporality = temporality
        native = exponential.data_points.add(
            count=5, sum=4.5, scale=3, zero_count=1, zero_threshold=0.1, exemplars=[exemplar], **point
        )
        native.positive.offset, native.negative.offset = -2, 1
        native.positive.bucket_counts.extend([1, 0, 2])
        native.negative.bucket_counts.extend([1])
    summary = metrics.add(name="summary").summary.data_points.add(count=2, sum=3.0, **point)
    summary.quantile_values.add(quantile=0.5, value=1.0)
    metrics[0].metadata.extend(key_values({"prometheus.type": "gauge"}))
    return request
