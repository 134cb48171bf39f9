"""One native histogram as plain Python, naively added, compared and asked: what the columns are tested against."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from hypothesis import strategies as st

from watchkeeper_server.promql.annotations import Annotations
from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.histograms import from_rows
from watchkeeper_server.promql.tree import Span
from watchkeeper_server.promql.values import Histograms, Ints, Samples, Steps, Windows

CUSTOM = -53


@dataclass(frozen=True)
class Plain:
    """One histogram; buckets are counts by index, none zero."""

    count: float = 0
    sum: float = 0
    schema: int = 0
    zero_threshold: float = 0
    zero_count: float = 0
    positive: dict[int, float] = field(default_factory=dict)
    negative: dict[int, float] = field(default_factory=dict)
    custom: tuple[float, ...] = ()
    hint: int = 0

    def span(self, index: int) -> tuple[float, float]:
        """The bounds of a positive bucket."""
        if self.schema == CUSTOM:
            bounds = (-math.inf, *self.custom, math.inf)
            return bounds[index], bounds[index + 1]
        return power(index - 1, self.schema), power(index, self.schema)

    def ladder(self) -> list[tuple[float, float, float]]:
        """All filled buckets in order: lower and upper bound and count."""
        threshold = self.zero_threshold
        clip = (lambda bound: bound) if self.schema == CUSTOM else (lambda bound: max(bound, threshold))
        negative = [
            (-self.span(index)[1], -clip(self.span(index)[0]), count) for index, count in sorted(self.negative.items())
        ]
        zero = [(-threshold, threshold, self.zero_count)] if self.zero_count > 0 else []
        positive = [(clip(self.span(index)[0]), self.span(index)[1], n) for index, n in sorted(self.positive.items())]
        return [*reversed(negative), *zero, *positive]


def power(index: int, schema: int) -> float:
    """2^(index 2^-schema)."""
    exponent = index * 2.0**-schema
    whole = math.floor(exponent)
    return math.inf if exponent > 1024 else math.ldexp(2.0 ** (exponent - whole), whole)


def columns(rows: Iterable[Plain]) -> Histograms:
    """As the engine has them."""
    return from_rows(_row(row) for row in rows)


def _row(row: Plain) -> dict[str, Any]:
    return {
        "count": row.count,
        "sum": row.sum,
        "schema": row.schema,
        "zero_threshold": row.zero_threshold,
        "zero_count": row.zero_count,
        "counter_reset": row.hint,
        "positive_offset": min(row.positive, default=0),
        "positive": _dense(row.positive),
        "negative_offset": min(row.negative, default=0),
        "negative": _dense(row.negative),
        "custom_values": row.custom,
    }


def _dense(buckets: dict[int, float]) -> list[float]:
    return [buckets.get(index, 0.0) for index in range(min(buckets), max(buckets) + 1)] if buckets else []


def plain(h: Histograms, row: int = 0) -> Plain:
    """One row of the engine's."""

    def buckets(offset: Any, splits: Any, counts: Any) -> dict[int, float]:
        held = counts[splits[row] : splits[row + 1]].tolist()
        return {int(offset[row]) + place: count for place, count in enumerate(held) if count}

    return Plain(
        float(h.count[row]),
        float(h.sum[row]),
        int(h.schema[row]),
        float(h.zero_threshold[row]),
        float(h.zero_count[row]),
        buckets(h.positive_offset, h.positive_splits, h.positive_counts),
        buckets(h.negative_offset, h.negative_splits, h.negative_counts),
        tuple(h.custom_values[h.custom_splits[row] : h.custom_splits[row + 1]].tolist()),
        int(h.counter_reset[row]),
    )


def reduced(one: Plain, schema: int) -> Plain:
    """In a coarser schema, found by where each bucket's upper bound is."""

    def merged(buckets: dict[int, float]) -> dict[int, float]:
        result: dict[int, float] = {}
        for index, count in buckets.items():
            wider = math.ceil(index * 2.0 ** (schema - one.schema))
            result[wider] = result.get(wider, 0) + count
        return result

    return replace(one, schema=schema, positive=merged(one.positive), negative=merged(one.negative))


def rebound(one: Plain, bounds: Sequence[float]) -> Plain:
    """With only some of the custom bounds."""
    buckets: dict[int, float] = {}
    for index, count in one.positive.items():
        upper = one.span(index)[1]
        wider = next((place for place, bound in enumerate(bounds) if bound >= upper), len(bounds))
        buckets[wider] = buckets.get(wider, 0) + count
    return replace(one, custom=tuple(bounds), positive=buckets)


def widened(one: Plain, threshold: float) -> Plain:
    """With a wider zero bucket, wider still if that would cut a filled bucket."""
    if threshold <= one.zero_threshold:
        return one
    reach = threshold
    for buckets in (one.positive, one.negative):
        for index in buckets:
            lower, upper = one.span(index)
            if lower < threshold < upper:
                reach = max(reach, upper)
    if reach > threshold:
        return widened(one, reach)

    def outside(buckets: dict[int, float]) -> dict[int, float]:
        return {index: count for index, count in buckets.items() if one.span(index)[0] >= threshold}

    positive, negative = outside(one.positive), outside(one.negative)
    moved = sum(one.positive.values()) + sum(one.negative.values()) - sum(positive.values()) - sum(negative.values())
    zero_count = one.zero_count + moved
    return replace(one, zero_threshold=threshold, zero_count=zero_count, positive=positive, negative=negative)


def added(rows: Sequence[Plain], weights: Sequence[float] | None = None) -> Plain:
    """The weighted sum of histograms that go together."""
    rows = list(rows)
    if rows[0].schema == CUSTOM:
        common = [bound for bound in rows[0].custom if all(bound in row.custom for row in rows)]
        rows = [rebound(row, common) for row in rows]
    else:
        threshold = 0.0
        while any(row.zero_threshold != threshold for row in rows):
            threshold = max(row.zero_threshold for row in rows)
            rows = [widened(row, threshold) for row in rows]
        rows = [reduced(row, min(one.schema for one in rows)) for row in rows]
    weighted = list(zip(rows, weights or [1.0] * len(rows), strict=True))

    def total(name: str) -> dict[int, float]:
        result: dict[int, float] = {}
        for row, weight in weighted:
            for index, count in getattr(row, name).items():
                result[index] = result.get(index, 0) + weight * count
        return {index: count for index, count in result.items() if count}

    return Plain(
        sum(weight * row.count for row, weight in weighted),
        sum(weight * row.sum for row, weight in weighted),
        rows[0].schema,
        rows[0].zero_threshold,
        sum(weight * row.zero_count for row, weight in weighted),
        total("positive"),
        total("negative"),
        rows[0].custom,
    )


def context(query: str = "") -> Context:
    """One in which remarks can be looked at."""
    return Context(Steps(0, 0, 0), Annotations(query), Span(0, 0))


COUNTS = st.integers(1, 1000).map(float)


@st.composite
def exponential(draw: st.DrawFn) -> Plain:
    """A histogram with exponential buckets; its count is that of its buckets."""
    schema = draw(st.integers(-4, 8))
    threshold = draw(st.sampled_from([0.0, 0.001, 0.5, 0.7, 1.0, 3.0]))
    lowest = 1 if threshold == 0 else math.ceil(math.log2(threshold) * 2.0**schema) + 1
    indices = st.integers(lowest, lowest + 12)
    positive = draw(st.dictionaries(indices, COUNTS, max_size=6))
    negative = draw(st.dictionaries(indices, COUNTS, max_size=6))
    zero_count = draw(st.sampled_from([0.0, 1.0, 7.0]))
    count = zero_count + sum(positive.values()) + sum(negative.values())
    return Plain(count, draw(st.integers(-100, 100)), schema, threshold, zero_count, positive, negative)


@st.composite
def custom(draw: st.DrawFn) -> Plain:
    """A histogram with custom bounds; its count is that of its buckets."""
    bounds = tuple(sorted(draw(st.sets(st.sampled_from([-5.0, -1.0, 0.0, 1.0, 2.5, 5.0, 10.0]), min_size=1))))
    positive = draw(st.dictionaries(st.integers(0, len(bounds)), COUNTS, max_size=5))
    return Plain(sum(positive.values()), draw(st.integers(-100, 100)), CUSTOM, positive=positive, custom=bounds)


def alike(most: int = 5) -> st.SearchStrategy[list[Plain]]:
    """Histograms that can be added."""
    return st.one_of(*(st.lists(kind(), min_size=1, max_size=most) for kind in (exponential, custom)))


def quantile_of(q: float, one: Plain) -> float:
    """The q-quantile, found by walking up or down the buckets; without NaN observations."""
    if not 0 <= q <= 1:
        return math.copysign(math.inf, q)
    if one.count == 0:
        return math.nan
    upwards = q < 0.5
    rank = (q if upwards else 1 - q) * one.count
    steps = one.ladder() if upwards else one.ladder()[::-1]
    passed = list(accumulate(count for _, _, count in steps))
    place = next((place for place, total in enumerate(passed) if total >= rank), len(steps) - 1)
    lower, upper, count = steps[place]
    part = (rank - passed[place] + count if upwards else passed[place] - rank) / count
    if one.schema == CUSTOM:
        if lower == -math.inf and upper <= 0:
            return upper
        lower = max(lower, 0.0) if lower == -math.inf else lower
        return lower if upper == math.inf else lower + (upper - lower) * part
    lower, upper = one_sided(one, lower, upper)
    if lower <= 0 <= upper:
        return lower + (upper - lower) * part
    return lower * (upper / lower) ** part


def one_sided(one: Plain, lower: float, upper: float) -> tuple[float, float]:
    """A bucket's bounds, which end at zero if it is about that and all other buckets are on one side."""
    if not lower <= 0 <= upper:
        return lower, upper
    return (0.0 if one.positive and not one.negative else lower, 0.0 if one.negative and not one.positive else upper)


def below(value: float, one: Plain) -> float:
    """How many observations are estimated to be below a value."""
    passed = 0.0
    for low, high, count in one.ladder():
        lower, upper = one_sided(one, low, high)
        if lower < value < upper:
            if lower == -math.inf:
                return count
            if low <= 0 <= high or one.schema == CUSTOM:
                return passed + count * (value - lower) / (upper - lower)
            return passed + count * math.log(value / lower) / math.log(upper / lower)
        if lower >= value:
            return passed
        passed += count
    return one.count


def was_reset(before: Plain, after: Plain) -> bool:
    """Whether a counter was reset between the two."""
    if after.hint in {1, 2}:
        return after.hint == 1
    kinds = (before.schema == CUSTOM, after.schema == CUSTOM)
    if after.count < before.count or kinds[0] != kinds[1]:
        return True
    if all(kinds):
        common = [bound for bound in before.custom if bound in after.custom]
        before, after = rebound(before, common), rebound(after, common)
    else:
        if after.schema > before.schema or after.zero_threshold < before.zero_threshold:
            return True
        before = reduced(widened(before, after.zero_threshold), after.schema)
        if before.zero_threshold != after.zero_threshold or after.zero_count < before.zero_count:
            return True
    return any(
        after_buckets.get(index, 0) < count
        for buckets, after_buckets in ((before.positive, after.positive), (before.negative, after.negative))
        for index, count in buckets.items()
    )


def windows(
    series: Mapping[str, Sequence[tuple[int, float | Plain]]], starts: Sequence[int], ends: Sequence[int]
) -> Windows:
    """Windows later than each start and not later than each end, seconds, over series of points in time."""
    points = [point for of in series.values() for point in of]
    offsets = np.cumsum([0, *map(len, series.values())], dtype=np.int64)
    times = np.array([time * 1000 for time, _ in points], np.int64)
    rows = [value for _, value in points if isinstance(value, Plain)]
    is_histogram = np.array([isinstance(value, Plain) for _, value in points], np.bool_)
    samples = Samples(
        [{"__name__": name} for name in series],
        offsets,
        times,
        np.array([math.nan if isinstance(value, Plain) else value for _, value in points], np.float64),
        np.where(is_histogram, np.cumsum(is_histogram) - 1, -1),
        columns(rows),
    )
    low, high = np.array(starts, np.int64) * 1000, np.array(ends, np.int64) * 1000
    parts = [(first, times[first:last]) for first, last in pairwise(offsets.tolist())]
    return Windows(
        samples,
        np.array([first + np.searchsorted(part, low, "right") for first, part in parts]),
        np.array([first + np.searchsorted(part, high, "right") for first, part in parts]),
        low,
        high,
        int(high[0] - low[0]),
    )


def answers(answer: tuple[Ints, Histograms]) -> list[list[Plain | None]]:
    """What a function of windows says for each series and step; None for nothing."""
    histogram_of, h = answer
    return [[plain(h, row) if row >= 0 else None for row in rows] for rows in histogram_of.tolist()]


@st.composite
def counters(draw: st.DrawFn) -> list[Plain]:
    """A counter at several times, which grows, and sometimes starts again, perhaps in another layout."""
    kind = draw(st.sampled_from([exponential, custom]))
    now = draw(kind())
    samples = [now]
    for growth in draw(st.lists(kind(), max_size=7)):
        again = draw(st.integers(0, 3)) == 0
        now = growth if again else added([now, growth])
        samples.append(replace(now, hint=draw(st.sampled_from([0, 0, 0, 3])) if not again else draw(st.integers(0, 1))))
    return samples
