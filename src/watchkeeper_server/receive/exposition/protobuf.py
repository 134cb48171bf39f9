"""Prometheus' protobuf format, the one with native histograms: `MetricFamily` messages, each after its length."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from watchkeeper_server.receive.exposition.client_model import LabelPair, MetricFamily, OpenedFamily
from watchkeeper_server.receive.exposition.exposed import (
    Exemplar,
    Exposed,
    ExpositionError,
    HistogramSample,
    SeriesCache,
    TimedSample,
    WrittenOut,
)
from watchkeeper_server.receive.exposition.grammar import MOST_LABELS, TOO_MANY_LABELS, format_bound, shown
from watchkeeper_server.receive.exposition.histograms import (
    COARSEST,
    FINEST,
    ClassicHistogram,
    NativeHistogram,
    buckets_of,
)

# By MetricType's numbers; what a metric's value is called is its type but for the last
_TYPES = ("counter", "gauge", "summary", "unknown", "histogram", "gaugehistogram")
_VALUES = ("counter", "gauge", "summary", "untyped", "histogram", "histogram")
_HISTOGRAMS = (4, 5)
_GAUGE_HISTOGRAM = 5
_SUMMARY = 2
_SEPARATOR = b"\xff"  # in no UTF-8 text
# Decoded, an empty metric of two bytes takes a hundred; only in large families they are counted before.
_MOST_SAMPLES, _LARGE_BYTES = 2_000_000, 1024 * 1024
# A histogram's labels are those of each of its buckets.
_WRITTEN_BYTES = 256 * 1024 * 1024


def parse_protobuf(body: bytes, cache: SeriesCache) -> Exposed:
    """Read a whole exposition.

    Raises:
        ExpositionError: it is no series of such messages, or holds what the cache's owner refuses.
    """
    reading = _Reading(cache)
    try:
        for content in _messages(body):
            if len(content) > _LARGE_BYTES:
                _require_few(len(OpenedFamily.FromString(content).metric))
            reading.family(MetricFamily.FromString(content))
    except DecodeError as error:
        raise ExpositionError(f"a metric family is not valid protobuf: {error}") from error
    except UnicodeDecodeError as error:
        raise ExpositionError("a label is not valid UTF-8") from error
    exposed = reading.exposed
    exposed.heads, exposed.values = tuple(reading.heads), np.array(reading.values, np.float64)
    cache.forget(reading.texts)
    exposed.kept += len(exposed.heads) + len(exposed.timed) + len(exposed.histograms)
    return exposed


def _messages(body: bytes) -> Iterator[bytes]:
    position, end = 0, len(body)
    while position < end:
        size = shift = 0
        while True:
            if position >= end or shift > 28:  # noqa: PLR2004  lengths have 32 bits
                raise ExpositionError("the body ends within a metric family's length")
            byte = body[position]
            position += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        if position + size > end:
            raise ExpositionError(f"the body ends within a metric family: {size:,} bytes announced")
        yield body[position : position + size]
        position += size


def _require_few(samples: int) -> None:
    if samples > _MOST_SAMPLES:
        raise ExpositionError(f"more than {_MOST_SAMPLES:,} samples, the most; expose fewer metrics at once")


class _Reading:
    """One body on its way through."""

    def __init__(self, cache: SeriesCache) -> None:
        self._cache = cache
        self.exposed = Exposed()
        self.texts: list[bytes] = []
        self.heads: list[bytes] = []
        self.values: list[float] = []
        self._written = WrittenOut(_WRITTEN_BYTES)

    def family(self, family: Any) -> None:
        name, kind = family.name, family.type
        if not name:
            raise ExpositionError("a metric family has no name")
        if not 0 <= kind < len(_TYPES):
            raise ExpositionError(f"unknown metric type {kind} of metric {shown(name)}")
        if family.unit and not name.removesuffix("_total").endswith(f"_{family.unit}"):
            raise ExpositionError(f"unit {shown(family.unit)} not a suffix of metric {shown(name)}")
        self._cache.describe(name, self.exposed, type=_TYPES[kind], help=family.help, unit=family.unit)
        field = _VALUES[kind]
        for metric in family.metric:
            time_ms = metric.timestamp_ms or None
            value = getattr(metric, field)
            if kind in _HISTOGRAMS:
                self._histogram(name, metric.label, value, time_ms, gauge=kind == _GAUGE_HISTOGRAM)
            elif kind == _SUMMARY:
                self._summary(name, metric.label, value, time_ms)
            else:
                head = self._sample(name, metric.label, value.value, time_ms)
                if head and value.HasField("exemplar"):
                    self._exemplar(head, value.exemplar)

    def _summary(self, name: str, labels: Any, summary: Any, time_ms: int | None) -> None:
        self._sample(f"{name}_count", labels, float(summary.sample_count), time_ms)
        self._sample(f"{name}_sum", labels, summary.sample_sum, time_ms)
        for quantile in summary.quantile:
            self._sample(name, labels, quantile.value, time_ms, ("quantile", quantile.quantile))

    def _histogram(self, name: str, labels: Any, histogram: Any, time_ms: int | None, *, gauge: bool) -> None:
        cache = self._cache
        native = _native(name, histogram, gauge=gauge) if cache.native and _is_native(histogram) else None
        classic = native is None or (cache.keep_classic and len(histogram.bucket) > 0)
        if native is None and cache.convert_classic:
            native = _converted(histogram)
            classic = native is None or cache.keep_classic
        if native is not None:
            self.exposed.scraped += 1
            head = self._head(name, labels, None)
            if head:
                self.exposed.histograms.append(HistogramSample(head, native, time_ms))
                buckets = (bucket.exemplar for bucket in histogram.bucket if bucket.HasField("exemplar"))
                for exemplar in histogram.exemplars or buckets:
                    if exemplar.HasField("timestamp"):  # without, a repeated one could not be told from a new one
                        self._exemplar(head, exemplar)
        if classic:
            self._classic(name, labels, histogram, time_ms)

    def _classic(self, name: str, labels: Any, histogram: Any, time_ms: int | None) -> None:
        count = histogram.sample_count_float or float(histogram.sample_count)
        self._sample(f"{name}_count", labels, count, time_ms)
        self._sample(f"{name}_sum", labels, histogram.sample_sum, time_ms)
        last = None
        for bucket in histogram.bucket:
            last = bucket.upper_bound
            head = self._sample(f"{name}_bucket", labels, _cumulative(bucket), time_ms, ("le", last))
            if head and bucket.HasField("exemplar"):
                self._exemplar(head, bucket.exemplar)
        if last != math.inf:
            self._sample(f"{name}_bucket", labels, count, time_ms, ("le", math.inf))

    def _sample(
        self, name: str, labels: Any, value: float, time_ms: int | None, bound: tuple[str, float] | None = None
    ) -> bytes:
        self.exposed.scraped += 1
        head = self._head(name, labels, bound)
        if head:
            if time_ms is None:
                self.heads.append(head)
                self.values.append(value)
            else:
                self.exposed.timed.append(TimedSample(head, value, time_ms))
        return head

    def _head(self, name: str, labels: Any, bound: tuple[str, float] | None) -> bytes:
        if len(labels) > MOST_LABELS:
            raise ExpositionError(TOO_MANY_LABELS)
        text = self._written.with_room(_SEPARATOR.join([name.encode(), repr(bound).encode(), *labels]))
        self.texts.append(text)
        _require_few(len(self.texts))
        head = self._cache.heads.get(text)
        if head is None:
            pairs = [("__name__", name), *(_pair(label) for label in labels)]
            if bound:
                pairs.append((bound[0], format_bound(bound[1])))
            head = self._cache.learn(text, pairs)
        return head

    def _exemplar(self, head: bytes, exemplar: Any) -> None:
        if self._cache.is_new_exemplar(head, exemplar.SerializeToString()):
            time_ms = None
            if exemplar.HasField("timestamp"):
                time_ms = exemplar.timestamp.seconds * 1000 + exemplar.timestamp.nanos // 1_000_000
            pairs = [(label.name, label.value) for label in exemplar.label]
            self.exposed.exemplars.append(Exemplar(self._written.with_room(head), pairs, exemplar.value, time_ms))


def _pair(label: bytes) -> tuple[str, str]:
    pair = LabelPair.FromString(label)
    return pair.name, pair.value


def _cumulative(bucket: Any) -> float:
    return float(bucket.cumulative_count_float or bucket.cumulative_count)


def _is_native(histogram: Any) -> bool:
    """Whether it has native buckets; one without observations says so by a span of no length."""
    return bool(
        histogram.positive_span
        or histogram.negative_span
        or histogram.zero_threshold > 0
        or histogram.zero_count
        or histogram.zero_count_float > 0
    )


def _converted(histogram: Any) -> NativeHistogram | None:
    classic = ClassicHistogram()
    for bucket in histogram.bucket:
        classic.add("bucket", bucket.upper_bound, _cumulative(bucket))
    classic.add("count", 0.0, float(histogram.sample_count_float or histogram.sample_count))
    classic.add("sum", 0.0, histogram.sample_sum)
    return classic.converted()


def _native(name: str, histogram: Any, *, gauge: bool) -> NativeHistogram:
    floating = histogram.sample_count_float > 0 or histogram.zero_count_float > 0
    if not COARSEST <= histogram.schema <= FINEST:
        raise ExpositionError(f"histogram {shown(name)} has the unknown schema {histogram.schema}")
    try:
        return NativeHistogram(
            count=histogram.sample_count_float if floating else histogram.sample_count,
            sum=histogram.sample_sum,
            schema=histogram.schema,
            zero_threshold=histogram.zero_threshold,
            zero_count=histogram.zero_count_float if floating else histogram.zero_count,
            positive=_buckets(histogram.positive_span, histogram.positive_delta, histogram.positive_count, floating),
            negative=_buckets(histogram.negative_span, histogram.negative_delta, histogram.negative_count, floating),
            floating=floating,
            gauge=gauge,
        )
    except ValueError as error:
        raise ExpositionError(f"histogram {shown(name)}: {error}") from error


def _buckets(spans: Any, deltas: Any, counts: Any, floating: bool) -> dict[int, float]:
    if floating:
        absolute = list(counts)
    else:
        absolute, count = [], 0
        for delta in deltas:
            count += delta
            absolute.append(count)
    if any(not number >= 0 for number in absolute):
        raise ValueError("a bucket has a negative count")
    return buckets_of([(span.offset, span.length) for span in spans], absolute)
