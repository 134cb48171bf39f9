"""Native histograms: as remote write has them, made smaller where they are too fine, made of classic ones.

Buckets are kept as index → count, absolute and without empty ones; spans and deltas are made when they are encoded.
What the indexes mean: https://prometheus.io/docs/specs/native_histograms/.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from watchkeeper_server.receive.exposition.write_request import double_field, varint, varint_field
from watchkeeper_server.receive.exposition.write_request import field as bytes_field

CUSTOM_BUCKETS = -53
FINEST, COARSEST = 8, -4
_GAUGE = 3  # a "reset hint" that says: no counter


@dataclass(frozen=True, slots=True)
class NativeHistogram:
    """A histogram in one sample.

    Attributes:
        count: of all observations; whole unless `floating`.
        schema: a bucket's upper bound is 2^(index · 2^-schema); `CUSTOM_BUCKETS` takes bounds from `bounds`.
        floating: counts are floating-point numbers.
        gauge: counts may fall.
    """

    count: float
    sum: float
    schema: int
    zero_threshold: float = 0.0
    zero_count: float = 0
    positive: Mapping[int, float] = field(default_factory=dict)
    negative: Mapping[int, float] = field(default_factory=dict)
    bounds: Sequence[float] = ()
    floating: bool = False
    gauge: bool = False

    @property
    def buckets(self) -> int:
        """How many there are, besides that of zero."""
        return len(self.positive) + len(self.negative)

    def encoded(self, time_ms: int) -> bytes:
        """The field of a remote-write series that holds it."""
        number = double_field if self.floating else _whole_field
        content = [
            number(2 if self.floating else 1, self.count),
            double_field(3, self.sum),
            varint_field(4, _zigzag(self.schema)),
            double_field(5, self.zero_threshold),
            number(7 if self.floating else 6, self.zero_count),
            _encoded_buckets(8, self.negative, floating=self.floating),
            _encoded_buckets(11, self.positive, floating=self.floating),
            varint_field(14, _GAUGE) if self.gauge else b"",
            varint_field(15, time_ms),
            bytes_field(16, struct.pack(f"<{len(self.bounds)}d", *self.bounds)) if self.bounds else b"",
        ]
        return bytes_field(4, b"".join(content))

    def coarser(self, schema: int) -> NativeHistogram:
        """The same at a lower resolution, each bucket merged into the one that covers it."""
        steps = self.schema - schema
        return replace(
            self, schema=schema, positive=_merged(self.positive, steps), negative=_merged(self.negative, steps)
        )

    def limited(self, buckets: int) -> NativeHistogram | None:
        """The finest of the same that has at most so many buckets; None if there is none."""
        limited = self
        while limited.buckets > buckets:
            if limited.schema in (CUSTOM_BUCKETS, COARSEST):
                return None
            limited = limited.coarser(limited.schema - 1)
        return limited


def buckets_of(spans: Iterable[tuple[int, int]], counts: Sequence[float]) -> dict[int, float]:
    """Index → count, of spans (offset to the end of the last, length) and each bucket's count.

    Raises:
        ValueError: the spans have another number of buckets than there are counts.
    """
    indexes: list[int] = []
    position = 0
    for offset, length in spans:
        position += offset
        if len(indexes) + length > len(counts):
            break
        indexes.extend(range(position, position + length))
        position += length
    else:
        if len(indexes) == len(counts):
            return {index: count for index, count in zip(indexes, counts, strict=True) if count}
    raise ValueError(f"the spans of a histogram do not cover {len(counts)} buckets")


def finest_schema(least_factor: float) -> int:
    """The finest schema whose buckets grow by at least this factor; any factor up to 1 asks for the finest."""
    if least_factor <= 1:
        return FINEST
    return max(COARSEST, min(FINEST, math.floor(-math.log2(math.log2(least_factor)))))


class ClassicHistogram:
    """The samples of one classic histogram, gathered to become a native one with custom buckets."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._cumulative: dict[float, float] = {}
        self._count: float | None = None
        self._sum = 0.0

    def add(self, kind: str, bound: float, value: float) -> None:
        """Take a sample in: of a `bucket` by its upper bound, the `count` or the `sum`."""
        match kind:
            case "bucket":
                self._cumulative.setdefault(bound, value)
            case "count":
                self._count = value
            case _:
                self._sum = value

    def converted(self) -> NativeHistogram | None:
        """The native histogram; None if the samples contradict each other."""
        bounds = sorted(self._cumulative)
        cumulative = [self._cumulative[bound] for bound in bounds]
        count = self._count if self._count is not None else (cumulative[-1] if cumulative else None)
        if count is None or any(map(math.isnan, bounds)):
            return None
        if not bounds or bounds[-1] != math.inf:
            bounds.append(math.inf)
            cumulative.append(count)
        counts = [after - before for before, after in zip([0.0, *cumulative], cumulative, strict=False)]
        if cumulative[-1] != count or not all(number >= 0 for number in counts):
            return None
        floating = not all(float(number).is_integer() for number in cumulative)
        return NativeHistogram(
            count=count,
            sum=self._sum,
            schema=CUSTOM_BUCKETS,
            positive={index: number for index, number in enumerate(counts) if number},
            bounds=tuple(bounds[:-1]),
            floating=floating,
        )


def _merged(buckets: Mapping[int, float], steps: int) -> dict[int, float]:
    merged: dict[int, float] = {}
    for index, count in buckets.items():
        into = ((index - 1) >> steps) + 1
        merged[into] = merged.get(into, 0) + count
    return merged


def _encoded_buckets(first_field: int, buckets: Mapping[int, float], *, floating: bool) -> bytes:
    """Three fields in a row: spans, whole deltas, floating counts."""
    if not buckets:
        return b""
    indexes = sorted(buckets)
    spans: list[list[int]] = []
    end = 0
    for index in indexes:
        if spans and index == end:
            spans[-1][1] += 1
        else:
            spans.append([index - end, 1])
        end = index + 1
    encoded = [
        bytes_field(first_field, varint_field(1, _zigzag(offset)) + varint_field(2, length)) for offset, length in spans
    ]
    counts = [buckets[index] for index in indexes]
    if floating:
        encoded.append(bytes_field(first_field + 2, struct.pack(f"<{len(counts)}d", *counts)))
    else:
        whole = list(map(int, counts))
        deltas = (after - before for before, after in zip([0, *whole], whole, strict=False))
        encoded.append(bytes_field(first_field + 1, b"".join(map(varint, map(_zigzag, deltas)))))
    return b"".join(encoded)


def _whole_field(number: int, value: float) -> bytes:
    return varint_field(number, int(value))


def _zigzag(number: int) -> int:
    return number << 1 if number >= 0 else (-number << 1) - 1
