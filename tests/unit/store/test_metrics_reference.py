"""The whole translation against a plain one in Python, over metrics that hypothesis makes up."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
    Summary,
    SummaryDataPoint,
)

from support.otlp import key_values
from support.otlp_metrics import (
    CUMULATIVE,
    NOW,
    STALE_BITS,
    Series,
    bits,
    load_metrics,
    metrics_request,
    stored_samples,
)
from watchkeeper_server.store.engine import Engine
from watchkeeper_server.store.store import Store

UNITS = {
    "": "", "1": "", "s": "seconds", "ms": "milliseconds", "By": "bytes", "KiBy": "kibibytes", "%": "percent",
    "{request}": "", "widget": "widget", "a-b": "a_b",
}  # fmt: skip
PER_UNITS = {"s": "second", "m": "minute", "{x}": "", "": "", "foo": "foo"}
IDENTITY = ("service.name", "service.namespace", "service.instance.id")

names = st.one_of(
    st.text("ab._-é1:", min_size=1, max_size=8),
    st.lists(st.sampled_from(["total", "ratio", "bytes", "seconds", "x", "9"]), min_size=1, max_size=3).map(".".join),
)
units = st.one_of(
    st.sampled_from(list(UNITS)),
    st.tuples(st.sampled_from(list(UNITS)), st.sampled_from(list(PER_UNITS))).map("/".join),
)
values = st.one_of(
    st.text(max_size=5),
    st.text("x", min_size=120, max_size=140),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.binary(max_size=3),
)
attributes = st.dictionaries(
    st.one_of(
        st.text("a._-1é", max_size=4), st.sampled_from(["job", "instance", "le", "quantile", "__name__", "k" * 130])
    ),
    values,
    max_size=5,
)
resources = st.dictionaries(st.sampled_from([*IDENTITY, "host.name", "a.b", "a_b", "job"]), values, max_size=5)
numbers = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))
counts = st.integers(0, 2**50)
flags = st.sampled_from([0, 0, 0, 1])


@st.composite
def metrics(draw: st.DrawFn) -> Metric:
    """A cumulative metric of any type but the exponential, with up to three points at different times."""
    metric = Metric(name=draw(names), unit=draw(units))
    kind = draw(st.sampled_from(["gauge", "counter", "sum", "histogram", "summary"]))
    common = [
        {"attributes": key_values(draw(attributes)), "time_unix_nano": NOW + i * 1_000_000, "flags": draw(flags)}
        for i in range(draw(st.integers(0, 3)))
    ]
    match kind:
        case "histogram":
            points = [HistogramDataPoint(**fields) for fields in common]
            for point in points:
                point.explicit_bounds.extend(sorted(draw(st.sets(st.floats(-100, 100), max_size=3))))
                point.bucket_counts.extend(draw(counts) for _ in range(len(point.explicit_bounds) + 1))
                point.count = sum(point.bucket_counts)
                if draw(st.booleans()):
                    point.sum = draw(st.floats(allow_nan=False))
            metric.histogram.CopyFrom(Histogram(data_points=points, aggregation_temporality=CUMULATIVE))  # type: ignore[arg-type]
        case "summary":
            summaries = [
                SummaryDataPoint(**fields, count=draw(counts), sum=draw(st.floats(allow_nan=False)))
                for fields in common
            ]
            for summary in summaries:
                for quantile in draw(st.sets(st.sampled_from([0.0, 0.5, 0.99, 1.0]))):
                    summary.quantile_values.add(quantile=quantile, value=draw(st.floats(allow_nan=False)))
            metric.summary.CopyFrom(Summary(data_points=summaries))
        case _:
            plain = []
            for fields in common:
                plain.append(NumberDataPoint(**fields))
                value = draw(numbers)
                if isinstance(value, int):
                    plain[-1].as_int = value
                else:
                    plain[-1].as_double = value
            if kind == "gauge":
                metric.gauge.CopyFrom(Gauge(data_points=plain))
            else:
                data = Sum(data_points=plain, aggregation_temporality=CUMULATIVE, is_monotonic=kind == "counter")  # type: ignore[arg-type]
                metric.sum.CopyFrom(data)
    return metric


def metric_name(metric: Metric) -> str:
    words = re.findall(r"[a-zA-Z0-9:]+", metric.name)
    main, slash, per = metric.unit.partition("/")
    if UNITS[main] and UNITS[main] not in "_".join(words).split("_"):
        words.append(UNITS[main])
    if slash and PER_UNITS[per]:
        words.append("per_" + PER_UNITS[per])
    for last, wanted in (
        ("total", metric.sum.is_monotonic and metric.sum.data_points),
        ("ratio", metric.unit == "1" and metric.gauge.data_points),
    ):
        if wanted:
            words = [word for word in words if word != last] + [last]
    name = "_".join(words)
    return "_" + name if not name or name[0].isdigit() else name


def label_name(key: str) -> str:
    name = re.sub(r"[^a-zA-Z0-9_]", "_", key)
    if re.match(r"[0-9]", name):
        return "key_" + name
    return name if re.match(r"[^_]|__", name) else "key" + name


def text(value: AnyValue) -> str:
    match value.WhichOneof("value"):
        case "bool_value":
            return str(value.bool_value).lower()
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case kind:
            return str(getattr(value, kind or "string_value"))


def labels_of(pairs: list[KeyValue], ours: dict[str, str]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for pair in sorted(pairs, key=lambda pair: pair.key.encode()):
        found.setdefault(label_name(pair.key), []).append(text(pair.value))
    labels = {name: ";".join(texts) for name, texts in found.items() if name != "__name__"} | ours
    return {name: value for name, value in labels.items() if value}


def translated(request: ExportMetricsServiceRequest) -> Iterator[tuple[Series, int, int]]:
    """Every sample: its series, milliseconds and the bits of its value; those of `target_info` apart."""
    (sent,) = request.resource_metrics
    known = {pair.key: text(pair.value) for pair in sent.resource.attributes}
    job = "/".join(
        filter(None, [known.get("service.namespace") if known.get("service.name") else "", known.get("service.name")])
    )
    target = {
        name: value for name, value in (("job", job), ("instance", known.get("service.instance.id", ""))) if value
    }
    for metric in sent.scope_metrics[0].metrics:
        family = metric_name(metric)
        data: Any = getattr(metric, metric.WhichOneof("data") or "gauge")
        taken = {"histogram": {"le": ""}, "summary": {"quantile": ""}}.get(metric.WhichOneof("data") or "", {})
        for point in data.data_points:
            for suffix, own, value in _samples(point):
                series = family + suffix, tuple(sorted(labels_of(point.attributes, target | taken | own).items()))
                yield series, point.time_unix_nano // 1_000_000, STALE_BITS if point.flags & 1 else bits(value)


def _samples(point: Any) -> Iterator[tuple[str, dict[str, str], float]]:
    match point:
        case NumberDataPoint():
            yield "", {}, float(point.as_int if point.HasField("as_int") else point.as_double)
        case HistogramDataPoint():
            seen = 0
            for bound, count in zip(point.explicit_bounds, point.bucket_counts, strict=False):
                seen += count
                yield "_bucket", {"le": plain(bound)}, float(seen)
            yield "_bucket", {"le": "+Inf"}, float(point.count)
            yield "_count", {}, float(point.count)
            if point.HasField("sum") or point.flags & 1:
                yield "_sum", {}, point.sum
        case _:
            for item in point.quantile_values:
                yield "", {"quantile": plain(item.quantile)}, item.value
            yield "_count", {}, float(point.count)
            yield "_sum", {}, point.sum


def plain(value: float) -> str:
    return format(Decimal(repr(value)), "f").removesuffix(".0")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(metrics(), min_size=1, max_size=6), resources)
def test_samples_are_those_of_a_plain_translation(
    store: Store, engine: Engine, found: list[Metric], resource: dict[str, Any]
) -> None:
    engine.execute("TRUNCATE TABLE samples")
    engine.execute("TRUNCATE TABLE series")
    engine.execute("TRUNCATE TABLE recent_series")
    request = metrics_request(found, resource)
    with TemporaryDirectory() as folder:
        load_metrics(store, Path(folder), request)
    stored = [
        (key, ms, bits(value))
        for key, samples in stored_samples(engine).items()
        for ms, value in samples
        if key[0] != "target_info"
    ]
    assert sorted(stored) == sorted(translated(request))
