from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import get_current_span
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import watchkeeper as wk
from support.sdk import request
from watchkeeper import LogOptions, Options, TraceOptions, testing
from watchkeeper.export.otlp.metrics import MetricEncoder
from watchkeeper.metrics.exemplars import BatchHistogram, ExemplarCounter, moment
from watchkeeper.metrics.exposition import answer
from watchkeeper.tracing.tracer import unsampled

UNSAMPLED = Options(traces=TraceOptions(sampler="always_off"), logs=LogOptions(stream="off"))


def exposed(name: str) -> dict[str, Any]:
    """Exemplars of a family, by sample name and bound, read by OpenMetrics' own parser."""
    body = answer("application/openmetrics-text; version=1.0.0", "").body
    family = next(f for f in text_string_to_metric_families(body.decode()) if f.name == name)
    return {s.name + s.labels.get("le", ""): s.exemplar for s in family.samples if s.exemplar is not None}


def test_what_is_counted_in_a_span_shows_its_trace(seen: testing.Captured) -> None:
    counter = wk.counter("t_traced_total", labels=["kind"]).labels("a")
    histogram = wk.histogram("t_traced_seconds", buckets=(1, 2))
    before = time.time()
    with wk.span("first"):
        histogram.observe(0.5)
    with wk.span("second"):
        counter.inc(3)
        histogram.observe(0.7)
        histogram.observe(9)
    first, second = seen.span("first"), seen.span("second")
    ids = {"trace_id": f"{second.trace_id:032x}", "span_id": f"{second.span_id:016x}"}
    buckets = exposed("t_traced_seconds")
    assert {name: (e.labels, e.value) for name, e in buckets.items()} == {
        "t_traced_seconds_bucket1.0": (ids, 0.7),
        "t_traced_seconds_bucket+Inf": (ids, 9),
    }
    (count,) = exposed("t_traced").values()
    assert (count.labels, count.value) == (ids, 3)
    assert before <= float(count.timestamp) <= time.time()
    assert first.trace_id != second.trace_id


def test_timing_a_block_in_a_span_shows_its_trace(seen: testing.Captured) -> None:
    with wk.span("work"), wk.histogram("t_timed_seconds", buckets=(60,)).time():
        pass
    assert list(exposed("t_timed_seconds")) == ["t_timed_seconds_bucket60.0"]


def test_nothing_is_shown_of_what_is_not_sampled() -> None:
    counter, histogram = wk.counter("t_untraced_total"), wk.histogram("t_untraced_seconds")
    with testing.capture(UNSAMPLED):
        counter.inc()
        with wk.span("dropped"):
            counter.inc()
            histogram.observe(1)
    assert exposed("t_untraced") == exposed("t_untraced_seconds") == {}


def test_an_unsampled_increment_leaves_the_last_exemplar() -> None:
    counter = wk.counter("t_kept_total")
    with testing.capture(), wk.span("sampled"):
        counter.inc(2)
    with testing.capture(UNSAMPLED), wk.span("not"):
        counter.inc()
    (exemplar,) = exposed("t_kept").values()
    assert exemplar.value == 2


def test_a_span_that_is_recorded_but_not_sampled_is_no_exemplar(seen: testing.Captured) -> None:
    with wk.span("watched"):
        pass
    span = seen.span("watched")
    assert moment(span, 1.0) is not None
    span.trace_flags = 0
    assert moment(span, 1.0) is None


def test_spans_of_other_providers_count_too() -> None:
    span = TracerProvider().get_tracer("other").start_span("theirs")
    found = moment(span, 1.0)
    assert found is not None
    context = span.get_span_context()
    assert found[:3] == (context.trace_id, context.span_id, 1.0)
    span.end()


def test_the_newest_sampled_request_of_a_bucket_is_its_exemplar(seen: testing.Captured) -> None:
    registry = CollectorRegistry()
    histogram = BatchHistogram("h_seconds", "H", registry=registry, buckets=(1, 2))
    with wk.span("one"), wk.span("two"):
        pass
    one, two = seen.span("one"), seen.span("two")
    histogram.observe_many([0.1, 0.2, 0.3, 1.5], [one, two, unsampled(1, 2), None])
    (family,) = registry.collect()
    found = {s.labels["le"]: s.exemplar for s in family.samples if s.exemplar is not None}
    assert list(found) == ["1.0"]
    assert (found["1.0"].value, found["1.0"].labels["span_id"]) == (0.2, f"{two.span_id:016x}")


def test_what_is_no_number_is_in_the_last_bucket() -> None:
    registry = CollectorRegistry()
    histogram = BatchHistogram("h_seconds", "H", registry=registry, buckets=(1, 2))
    histogram.observe(float("nan"))
    histogram.observe_many([float("nan"), 1.0])
    counts = [registry.get_sample_value("h_seconds_bucket", {"le": le}) for le in ("1.0", "2.0", "+Inf")]
    assert counts == [1, 1, 3]


async def test_a_served_request_is_an_exemplar_of_its_duration(seen: testing.Captured) -> None:
    async def serve(scope: Any, receive: Any, send: Any) -> None:
        scope["route"] = SimpleNamespace(path="/t/exemplars")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    await request(wk.instrument(serve), "/t/exemplars")
    (span,) = seen.spans
    body = answer("application/openmetrics-text; version=1.0.0", "").body
    (line,) = (line for line in body.decode().splitlines() if "/t/exemplars" in line and " # {" in line)
    assert line.startswith("http_request_duration_seconds_bucket")
    assert f'trace_id="{span.trace_id:032x}"' in line


def points(encoder: MetricEncoder, registry: CollectorRegistry) -> Any:
    body = encoder.encode(registry.collect(), time.time_ns())
    metric = ExportMetricsServiceRequest.FromString(body).resource_metrics[0].scope_metrics[0].metrics[0]
    return getattr(metric, metric.WhichOneof("data")).data_points


@pytest.mark.parametrize("kind", ["counter", "histogram"])
def test_an_exemplar_is_pushed_once(kind: str, seen: testing.Captured) -> None:
    registry = CollectorRegistry()
    with wk.span("work"):
        if kind == "counter":
            counter = ExemplarCounter("c", "C", registry=registry)
            counter.exemplar = moment(get_current_span(), 2.0)
        else:
            BatchHistogram("h", "H", registry=registry, buckets=(1, 5)).observe(2.0)
    encoder = MetricEncoder(b"", 1)
    (point,) = points(encoder, registry)
    (exemplar,) = point.exemplars
    span = seen.span("work")
    assert (exemplar.trace_id.hex(), exemplar.span_id.hex()) == (f"{span.trace_id:032x}", f"{span.span_id:016x}")
    assert (exemplar.as_double, len(exemplar.filtered_attributes)) == (2.0, 0)
    assert abs(exemplar.time_unix_nano - time.time_ns()) < 60e9
    (again,) = points(encoder, registry)
    assert not again.exemplars


def test_an_exemplar_of_the_applications_own_keeps_its_labels() -> None:
    registry = CollectorRegistry()
    Counter("c", "C", registry=registry).inc(1, exemplar={"trace_id": "not hexadecimal", "order": "7"})
    (point,) = points(MetricEncoder(b"", 1), registry)
    (exemplar,) = point.exemplars
    found = {item.key: item.value.string_value for item in exemplar.filtered_attributes}
    assert (found, exemplar.trace_id) == ({"trace_id": "not hexadecimal", "order": "7"}, b"")
