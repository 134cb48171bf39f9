"""Prometheus metric families in OTLP: field numbers of opentelemetry-proto `metrics.proto`.

The registry counts from the process's start, so everything is cumulative. Names are chosen so that a receiver that
follows the OpenTelemetry-to-Prometheus rules ends with the very names `/metrics` shows: a counter loses `_total`,
which the receiver adds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from watchkeeper.export.otlp.resource import request, scope_field
from watchkeeper.export.otlp.wire import delimited, double, fixed64, key_value, text

if TYPE_CHECKING:
    from prometheus_client import Metric
    from prometheus_client.samples import Sample

SCOPE = "watchkeeper"
_CUMULATIVE = b"\x10\x02"
_MONOTONIC = b"\x18\x01"
_UNITS = {"seconds": "s", "bytes": "By", "ratio": "1", "celsius": "Cel", "volts": "V", "meters": "m"}
_NUMBER_LABEL, _HISTOGRAM_LABEL = 0x3A, 0x4A

_EXEMPLAR_IDS = (("span_id", 0x22, 16), ("trace_id", 0x2A, 32))
_HEX = frozenset("0123456789abcdefABCDEF")

Labels = tuple[tuple[str, str], ...]


class MetricEncoder:
    """Encodes the whole registry for one resource. `start_ns` stands in where a series does not know when it began."""

    def __init__(self, resource: bytes, start_ns: int, cache_size: int = 20_000) -> None:
        self._resource = resource
        self._start_ns = start_ns
        self._cache_size = cache_size  # label sets
        self._labels: dict[tuple[int, Labels], bytes] = {}
        self._told_ns = 0  # exemplars up to here have been encoded: each is pushed once

    def encode(self, families: Iterable[Metric], now_ns: int) -> bytes:
        """An ExportMetricsServiceRequest, empty if there is nothing to say."""
        metrics = [encoded for family in families for encoded in self._family(family, now_ns)]
        self._told_ns = now_ns
        return request(self._resource, [scope_field(SCOPE) + b"".join(metrics)]) if metrics else b""

    def _family(self, family: Metric, now_ns: int) -> Iterable[bytes]:
        name, help_text, unit = family.name, family.documentation, unit_of(family)
        if family.type == "counter":
            points = self._numbers(family, f"{name}_total", now_ns, cumulative=True)
            if points:
                yield _metric(name, help_text, unit, delimited(0x3A, points + _CUMULATIVE + _MONOTONIC))
        elif family.type == "histogram":
            points = self._histograms(family, now_ns)
            if points:
                yield _metric(name, help_text, unit, delimited(0x4A, points + _CUMULATIVE))
        elif family.type == "summary":
            points = self._summaries(family, now_ns)
            if points:
                yield _metric(name, help_text, unit, delimited(0x5A, points))
        else:  # gauge, info, stateset, unknown: a value each, under the sample's own name
            for sample_name in dict.fromkeys(sample.name for sample in family.samples):
                points = self._numbers(family, sample_name, now_ns, cumulative=False)
                yield _metric(sample_name, help_text, unit, delimited(0x2A, points))

    def _numbers(self, family: Metric, sample_name: str, now_ns: int, *, cumulative: bool) -> bytes:
        created = _created(family)
        points = []
        for sample in family.samples:
            if sample.name != sample_name:
                continue
            labels = tuple(sample.labels.items())
            start = b"\x11" + fixed64(created.get(labels, self._start_ns)) if cumulative else b""
            value = b"\x19" + fixed64(now_ns) + b"\x21" + double(float(sample.value))
            exemplar = self._exemplar(0x2A, sample)
            points.append(delimited(0x0A, self._encoded(_NUMBER_LABEL, labels) + start + value + exemplar))
        return b"".join(points)

    def _histograms(self, family: Metric, now_ns: int) -> bytes:
        created = _created(family)
        points = []
        for labels, parts in _grouped(family, "le").items():
            buckets = sorted((float(le), int(sample.value)) for le, sample in parts["_bucket"].items())
            bounds = [bound for bound, _ in buckets if bound != float("inf")]
            cumulative = [count for _, count in buckets]
            counts = [high - low for high, low in zip(cumulative, [0, *cumulative], strict=False)]
            total = parts["_sum"].get("")
            points.append(
                delimited(
                    0x0A,
                    self._encoded(_HISTOGRAM_LABEL, labels)
                    + b"\x11"
                    + fixed64(created.get(labels, self._start_ns))
                    + b"\x19"
                    + fixed64(now_ns)
                    + b"\x21"
                    + fixed64(cumulative[-1] if cumulative else 0)
                    + (b"\x29" + double(float(total.value)) if total is not None else b"")
                    + delimited(0x32, b"".join(map(fixed64, counts)))
                    + delimited(0x3A, b"".join(map(double, bounds)))
                    + b"".join([self._exemplar(0x42, sample) for sample in parts["_bucket"].values()]),
                )
            )
        return b"".join(points)

    def _summaries(self, family: Metric, now_ns: int) -> bytes:
        created = _created(family)
        points = []
        for labels, parts in _grouped(family, "quantile").items():
            quantiles = [
                delimited(0x32, b"\x09" + double(float(quantile)) + b"\x11" + double(float(sample.value)))
                for quantile, sample in parts[""].items()
            ]
            count, total = parts["_count"].get(""), parts["_sum"].get("")
            points.append(
                delimited(
                    0x0A,
                    self._encoded(_NUMBER_LABEL, labels)
                    + b"\x11"
                    + fixed64(created.get(labels, self._start_ns))
                    + b"\x19"
                    + fixed64(now_ns)
                    + b"\x21"
                    + fixed64(int(count.value) if count is not None else 0)
                    + b"\x29"
                    + double(float(total.value) if total is not None else 0.0)
                    + b"".join(quantiles),
                )
            )
        return b"".join(points)

    def _exemplar(self, tag: int, sample: Sample) -> bytes:
        """The sample's exemplar as a field, empty if it has none, or none since the last time."""
        exemplar = sample.exemplar
        if exemplar is None or exemplar.timestamp is None:
            return b""
        at_ns = int(float(exemplar.timestamp) * 1e9)
        if at_ns <= self._told_ns:
            return b""
        others = dict(exemplar.labels)
        ids = b"".join(
            delimited(tag_of_id, bytes.fromhex(others.pop(name)))
            for name, tag_of_id, digits in _EXEMPLAR_IDS
            if _is_hex(others.get(name, ""), digits)
        )
        rest = b"".join(key_value(0x3A, key, value) for key, value in others.items())
        return delimited(tag, b"\x11" + fixed64(at_ns) + b"\x19" + double(float(exemplar.value)) + ids + rest)

    def _encoded(self, tag: int, labels: Labels) -> bytes:
        encoded = self._labels.get((tag, labels))
        if encoded is None:
            if len(self._labels) >= self._cache_size:
                self._labels.clear()
            encoded = b"".join([key_value(tag, key, value) for key, value in labels])
            self._labels[tag, labels] = encoded
        return encoded


def _is_hex(value: str, digits: int) -> bool:
    return len(value) == digits and set(value) <= _HEX


def unit_of(family: Metric) -> str:
    """The UCUM unit that the metric's declared unit, or the end of its name, stands for."""
    return _UNITS.get(family.unit or family.name.rpartition("_")[2], "")


def _metric(name: str, help_text: str, unit: str, data: bytes) -> bytes:
    return delimited(0x12, text(0x0A, name) + text(0x12, help_text) + text(0x1A, unit) + data)


def _created(family: Metric) -> dict[Labels, int]:
    """When each series began, in nanoseconds."""
    name = f"{family.name}_created"
    return {tuple(s.labels.items()): int(s.value * 1e9) for s in family.samples if s.name == name}


def _grouped(family: Metric, own_label: str) -> dict[Labels, dict[str, dict[str, Sample]]]:
    """Samples by series, then by suffix, then by the label that the type itself adds."""
    suffixes = ("_bucket", "_count", "_sum", "")
    series: dict[Labels, dict[str, dict[str, Sample]]] = {}
    for sample in family.samples:
        suffix = sample.name[len(family.name) :]
        if suffix not in suffixes:
            continue
        labels = tuple((key, value) for key, value in sample.labels.items() if key != own_label)
        parts = series.setdefault(labels, {suffix: {} for suffix in suffixes})
        parts[suffix][sample.labels.get(own_label, "")] = sample
    return series
