"""Makes OTLP metrics, and reads the series they became."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Exemplar,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
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
from watchkeeper_server.journal.segment import write_segment
from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.store.engine import Engine
from watchkeeper_server.store.store import Store

SECOND = 10**9
NOW = 1_795_240_800 * SECOND
DELTA, CUMULATIVE = 1, 2
NO_RECORDED_VALUE = 1
STALE_BITS = 0x7FF0000000000002

# metric name and sorted labels
Series = tuple[str, tuple[tuple[str, str], ...]]


def series(metric: str, **labels: str) -> Series:
    """What a series is called."""
    return metric, tuple(sorted(labels.items()))


def number(
    value: float,
    attributes: Mapping[str, Any] | None = None,
    *,
    at: int = NOW,
    flags: int = 0,
    exemplars: Iterable[Exemplar] = (),
) -> NumberDataPoint:
    """A point of a gauge or sum; an int stays one."""
    point = NumberDataPoint(
        attributes=key_values(attributes or {}), time_unix_nano=at, flags=flags, exemplars=exemplars
    )
    if isinstance(value, int):
        point.as_int = value
    else:
        point.as_double = value
    return point


def gauge(name: str, *points: NumberDataPoint, unit: str = "", help_text: str = "") -> Metric:
    """A gauge."""
    return Metric(name=name, unit=unit, description=help_text, gauge=Gauge(data_points=points))


def counter(
    name: str, *points: NumberDataPoint, unit: str = "", temporality: int = CUMULATIVE, monotonic: bool = True
) -> Metric:
    """A sum."""
    data = Sum(data_points=points, aggregation_temporality=temporality, is_monotonic=monotonic)  # type: ignore[arg-type]
    return Metric(name=name, unit=unit, sum=data)


def histogram(
    name: str,
    bounds: list[float],
    counts: list[int],
    attributes: Mapping[str, Any] | None = None,
    *,
    total: float | None = 1.5,
    at: int = NOW,
    temporality: int = CUMULATIVE,
    **fields: Any,
) -> Metric:
    """A histogram of one point, which has no sum if `total` is None."""
    point = HistogramDataPoint(
        attributes=key_values(attributes or {}),
        time_unix_nano=at,
        explicit_bounds=bounds,
        bucket_counts=counts,
        count=sum(counts),
        **fields,
    )
    if total is not None:
        point.sum = total
    data = Histogram(data_points=[point], aggregation_temporality=temporality)  # type: ignore[arg-type]
    return Metric(name=name, unit="s", histogram=data)


def summary(name: str, quantiles: Mapping[float, float], *, count: int, total: float, at: int = NOW) -> Metric:
    """A summary of one point."""
    point = SummaryDataPoint(time_unix_nano=at, count=count, sum=total)
    for quantile, value in quantiles.items():
        point.quantile_values.add(quantile=quantile, value=value)
    return Metric(name=name, summary=Summary(data_points=[point]))


def exponential(name: str, point: ExponentialHistogramDataPoint, *, temporality: int = CUMULATIVE) -> Metric:
    """An exponential histogram of one point."""
    data = ExponentialHistogram(data_points=[point], aggregation_temporality=temporality)  # type: ignore[arg-type]
    return Metric(name=name, exponential_histogram=data)


def metrics_request(
    metrics: Iterable[Metric], resource: Mapping[str, Any] | None = None
) -> ExportMetricsServiceRequest:
    """A request of one resource and one scope."""
    request = ExportMetricsServiceRequest()
    sent = request.resource_metrics.add()
    sent.resource.attributes.extend(key_values(resource or {}))
    scope = sent.scope_metrics.add()
    scope.scope.name = "tests"
    scope.metrics.extend(metrics)
    return request


def load_metrics(
    store: Store, folder: Path, *requests: ExportMetricsServiceRequest, segment: int = 1, replayed: bool = False
) -> None:
    """Store the requests as one segment."""
    path = folder / f"{segment}.metrics"
    write_segment(path, [request.SerializeToString() for request in requests])
    store.load(Kind.METRICS, path, (segment,), replayed=replayed)


def stored_samples(engine: Engine) -> dict[Series, list[tuple[int, float]]]:
    """Every sample as (milliseconds, value), by series, oldest first; of the same instant the later stored last."""
    rows = engine.query(
        "SELECT metric, toJSONString(labels) AS labels, toUnixTimestamp64Milli(time) AS ms, value FROM samples "
        "ANY LEFT JOIN (SELECT metric, id, labels FROM series) AS known USING (metric, id) "
        "ORDER BY time, segment, value"
    ).to_pylist()
    found: dict[Series, list[tuple[int, float]]] = {}
    for row in rows:
        key = row["metric"], tuple(json.loads(row["labels"]).items())
        found.setdefault(key, []).append((row["ms"], row["value"]))
    return found


def bits(value: float) -> int:
    """A double's bits, by which one NaN differs from another."""
    unpacked: int = struct.unpack("<Q", struct.pack("<d", value))[0]
    return unpacked
