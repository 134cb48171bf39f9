"""Our hand-written encoding, read back with the official generated classes."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
    get_tracer,
    set_span_in_context,
)
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary

import watchkeeper as wk
from support.sdk import attributes
from watchkeeper.export.otlp.logs import LogEncoder
from watchkeeper.export.otlp.metrics import MetricEncoder
from watchkeeper.export.otlp.resource import resource_field
from watchkeeper.export.otlp.spans import SpanEncoder
from watchkeeper.export.otlp.wire import key_value
from watchkeeper.logging.record import Failure, Record
from watchkeeper.testing import Captured
from watchkeeper.values import MAX_TEXT, snapshot

RESOURCE = resource_field({"service.name": "shop", "process.pid": 7})


def encoded(value: object) -> object:
    """What a reader gets for an attribute of this value."""
    message = KeyValue.FromString(_payload(key_value(0x0A, "key", snapshot(value))))
    return attributes(SimpleNamespace(attributes=[message]))["key"]


def _payload(field: bytes) -> bytes:
    at = 1
    while field[at] & 0x80:
        at += 1
    return field[at + 1 :]


def test_every_type_of_value_arrives_as_it_is() -> None:
    for value in (0, 1, -1, 2**63 - 1, -(2**63), False, True, "", "ü€😀", 0.0, -1.5, 1e300, b"", b"\x00\xff", None):
        found = encoded(value)
        assert found == value
        assert type(found) is type(value)


def test_infinities_and_nan_arrive() -> None:
    assert encoded(math.inf) == math.inf
    assert math.isnan(encoded(math.nan))


def test_arrays_and_nested_maps_arrive() -> None:
    value = {"list": [1, "a", False, None, [2.5]], "map": {"deep": {"bytes": b"x"}, "": 0}}
    assert encoded(value) == {"list": [1, "a", False, None, [2.5]], "map": {"deep": {"bytes": b"x"}, "": 0}}


def test_what_otlp_cannot_hold_arrives_as_text() -> None:
    assert encoded(2**70) == str(2**70)
    assert encoded({1: "a", None: "b"}) == {"1": "a", "None": "b"}
    assert encoded({3}) == [3]
    assert encoded(ValueError("x")) == "x"


def test_a_lone_surrogate_does_not_spoil_the_message() -> None:
    assert encoded("a\ud800b") == "a?b"


def test_a_recursive_object_ends() -> None:
    loop: list[object] = []
    loop.append(loop)
    assert "nested too deep" in str(encoded(loop))


def test_long_values_are_cut_and_say_so() -> None:
    found = encoded(snapshot("x" * 10_000_000))
    assert len(found) < MAX_TEXT + 50
    assert found.endswith("more characters)")


SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary()
)
INNER = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(), SCALARS, max_size=3)
VALUES = INNER | st.lists(INNER, max_size=3) | st.dictionaries(st.text(), INNER, max_size=3)


@given(VALUES)
def test_any_value_survives_the_trip(value: Any) -> None:
    assert encoded(value) == _clean(value)


def _clean(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value


def decode_spans(spans: list[object]) -> list[tuple[object, trace_pb2.Span]]:
    request = ExportTraceServiceRequest.FromString(SpanEncoder(RESOURCE).encode(spans))
    (resource,) = request.resource_spans
    assert attributes(resource.resource) == {"service.name": "shop", "process.pid": 7}
    return [(scope.scope, span) for scope in resource.scope_spans for span in scope.spans]


def test_every_field_of_a_span_arrives(seen: Captured) -> None:
    parent = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("a", "1")]))
    other = SpanContext(5, 6, is_remote=False, trace_flags=TraceFlags(0), trace_state=TraceState([("b", "2")]))
    tracer = get_tracer("library", "1.2", attributes={"scope.key": True})
    span = tracer.start_span(
        "work",
        set_span_in_context(NonRecordingSpan(parent)),
        SpanKind.CONSUMER,
        {"zero": 0, "no": False, "empty": "", "list": ["a"], "map": {"b": {"c": 1}}, "bytes": b"\x00"},
        [Link(other, {"why": 1})],
        start_time=1_700_000_000_123_456_789,
    )
    span.add_event("noted", {"n": 1}, 1_700_000_000_123_456_790)
    span.set_status(StatusCode.ERROR, "broken")
    span.end(1_700_000_000_123_456_999)
    ((scope, got),) = decode_spans(seen.spans)
    assert (scope.name, scope.version, attributes(scope)) == ("library", "1.2", {"scope.key": True})
    assert got.trace_id.hex() == f"{0xABC:032x}"
    assert got.span_id == span.span_id.to_bytes(8, "big")
    assert got.parent_span_id.hex() == f"{0xDEF:016x}"
    assert got.trace_state == "a=1"
    assert got.name == "work"
    assert got.kind == trace_pb2.Span.SPAN_KIND_CONSUMER
    assert got.start_time_unix_nano == 1_700_000_000_123_456_789
    assert got.end_time_unix_nano == 1_700_000_000_123_456_999
    assert attributes(got) == {
        "zero": 0, "no": False, "empty": "", "list": ["a"], "map": {"b": {"c": 1}}, "bytes": b"\x00",
    }  # fmt: skip
    assert type(attributes(got)["no"]) is bool
    (event,) = got.events
    assert (event.name, event.time_unix_nano, attributes(event)) == ("noted", 1_700_000_000_123_456_790, {"n": 1})
    (link,) = got.links
    assert (link.trace_id.hex(), link.span_id.hex()) == (f"{5:032x}", f"{6:016x}")
    assert (link.trace_state, attributes(link), link.flags) == ("b=2", {"why": 1}, 0x100)
    assert (got.status.code, got.status.message) == (trace_pb2.Status.STATUS_CODE_ERROR, "broken")
    assert got.flags == 0x301


def test_a_root_has_no_parent_and_a_local_flag(seen: Captured) -> None:
    with wk.span("root"):
        pass
    ((_, got),) = decode_spans(seen.spans)
    assert got.parent_span_id == b""
    assert got.flags == 0x101
    assert not got.HasField("status")


def test_counts_of_what_was_left_out_arrive(seen: Captured) -> None:
    with wk.span("wide") as span:
        for number in range(130):
            span.set_attribute(str(number), number)
            span.add_event(str(number))
            span.add_link(SpanContext(1, 2, is_remote=False))
    ((_, got),) = decode_spans(seen.spans)
    assert (got.dropped_attributes_count, got.dropped_events_count, got.dropped_links_count) == (2, 2, 2)


def test_spans_are_grouped_by_scope(seen: Captured) -> None:
    for name in ("a", "b", "a"):
        get_tracer(name).start_span(name).end()
    request = ExportTraceServiceRequest.FromString(SpanEncoder(RESOURCE).encode(seen.spans))
    assert [(s.scope.name, len(s.spans)) for s in request.resource_spans[0].scope_spans] == [("a", 2), ("b", 1)]


def test_the_caches_stay_bounded(seen: Captured) -> None:
    encoder = SpanEncoder(RESOURCE, cache_size=8)
    for number in range(100):
        with wk.span(f"name {number}"):
            pass
    ExportTraceServiceRequest.FromString(encoder.encode(seen.spans))
    assert len(encoder._names) <= 8


def test_every_field_of_a_log_record_arrives() -> None:
    fields = {"zero": 0, "no": False, "none": None, "map": {"a": (1, 2)}, "bytes": b"x"}
    failure = Failure("shop.Error", "no stock", "Traceback …")
    ids = (0xABC, 0xDEF, 1, "req-1", "corr-1")
    record = Record(1_700_000_000_123_456_789, 40, "shop.orders", "failed", fields, *ids, failure)
    request = ExportLogsServiceRequest.FromString(LogEncoder(RESOURCE).encode([record]))
    (scope,) = request.resource_logs[0].scope_logs
    (got,) = scope.log_records
    assert scope.scope.name == "shop.orders"
    assert got.time_unix_nano == got.observed_time_unix_nano == 1_700_000_000_123_456_789
    assert (got.severity_number, got.severity_text) == (17, "error")
    assert got.body.string_value == "failed"
    assert (got.trace_id.hex(), got.span_id.hex(), got.flags) == (f"{0xABC:032x}", f"{0xDEF:016x}", 1)
    assert attributes(got) == {
        "zero": 0, "no": False, "none": None, "map": {"a": [1, 2]}, "bytes": b"x", "request_id": "req-1",
        "correlation_id": "corr-1",
        "exception.type": "shop.Error", "exception.message": "no stock", "exception.stacktrace": "Traceback …",
    }  # fmt: skip


def decode_metrics(registry: CollectorRegistry) -> dict[str, object]:
    body = MetricEncoder(RESOURCE, start_ns=1).encode(registry.collect(), 2_000_000_000)
    request = ExportMetricsServiceRequest.FromString(body)
    return {metric.name: metric for metric in request.resource_metrics[0].scope_metrics[0].metrics}


def test_a_counter_is_a_cumulative_monotonic_sum_without_total() -> None:
    registry = CollectorRegistry()
    Counter("orders_total", "Orders", ["status"], registry=registry).labels("paid").inc(3)
    metric = decode_metrics(registry)["orders"]
    (point,) = metric.sum.data_points
    assert (metric.description, metric.sum.is_monotonic, metric.sum.aggregation_temporality) == ("Orders", True, 2)
    assert (point.as_double, attributes(point)) == (3.0, {"status": "paid"})
    assert 0 < point.start_time_unix_nano != point.time_unix_nano == 2_000_000_000


def test_a_gauge_is_a_gauge_even_at_zero() -> None:
    registry = CollectorRegistry()
    Gauge("queue_size_bytes", "Waiting", registry=registry)
    metric = decode_metrics(registry)["queue_size_bytes"]
    assert metric.unit == "By"
    assert metric.gauge.data_points[0].WhichOneof("value") == "as_double"


def test_a_histograms_buckets_are_counted_one_by_one() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("work_seconds", "Work", registry=registry, buckets=(0.1, 1.0))
    for value in (0.05, 0.5, 0.6, 7.0):
        histogram.observe(value)
    metric = decode_metrics(registry)["work_seconds"]
    (point,) = metric.histogram.data_points
    assert (metric.unit, metric.histogram.aggregation_temporality) == ("s", 2)
    assert list(point.explicit_bounds) == [0.1, 1.0]
    assert list(point.bucket_counts) == [1, 2, 1]
    assert (point.count, point.sum) == (4, 8.15)


def test_summaries_and_info_arrive() -> None:
    registry = CollectorRegistry()
    Summary("wait_seconds", "Wait", registry=registry).observe(2.0)
    Info("build", "Build", registry=registry).info({"version": "1"})
    metrics = decode_metrics(registry)
    (point,) = metrics["wait_seconds"].summary.data_points
    assert (point.count, point.sum) == (1, 2.0)
    (info,) = metrics["build_info"].gauge.data_points
    assert (info.as_double, attributes(info)) == (1.0, {"version": "1"})


def test_an_empty_registry_is_no_request() -> None:
    assert MetricEncoder(RESOURCE, 1).encode(CollectorRegistry().collect(), 2) == b""
