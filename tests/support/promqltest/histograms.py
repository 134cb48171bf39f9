"""Native histograms one by one, as the test language writes them; columns are made of them and they of columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from typing import Any, Literal

import numpy as np

from support.promqltest.cursor import Cursor, NotationError
from watchkeeper_server.promql.values import Histograms

CUSTOM = -53
HINTS = ("unknown", "reset", "not_reset", "gauge")
UNKNOWN, RESET, NOT_RESET, GAUGE = range(4)


@dataclass(frozen=True, slots=True)
class Histogram:
    """One sample; buckets are counts by index, in Prometheus' numbering, none zero.

    `hint` is an index into `HINTS`; None if it was not written, which expects any.
    """

    schema: int = 0
    count: float = 0
    sum: float = 0
    zero_count: float = 0
    zero_threshold: float = 0
    positive: dict[int, float] = field(default_factory=dict)
    negative: dict[int, float] = field(default_factory=dict)
    custom_values: tuple[float, ...] = ()
    hint: int | None = None

    def __str__(self) -> str:
        """As the language writes it."""
        parts = [f"schema:{self.schema}"] if self.schema else []
        parts += [
            f"{key}:{value:.17g}"
            for key, value in (
                ("count", self.count),
                ("sum", self.sum),
                ("z_bucket", self.zero_count),
                ("z_bucket_w", self.zero_threshold),
            )
            if value
        ]
        for prefix, buckets in (("", self.positive), ("n_", self.negative)):
            if buckets:
                first = min(buckets)
                counts = (f"{buckets.get(index, 0):.17g}" for index in range(first, max(buckets) + 1))
                parts += [f"{prefix}offset:{first}"] if first else []
                parts.append(f"{prefix}buckets:[{' '.join(counts)}]")
        if self.custom_values:
            parts.append(f"custom_values:[{' '.join(f'{bound:.17g}' for bound in self.custom_values)}]")
        if self.hint:
            parts.append(f"counter_reset_hint:{HINTS[self.hint]}")
        return "{{" + " ".join(parts) + "}}"


def plus(left: Histogram, right: Histogram, sign: Literal[1, -1]) -> Histogram:
    """The first with the second added or taken away, at the first's resolution.

    Raises:
        NotationError: they do not go together.
    """
    comparable = left.schema <= right.schema and left.zero_threshold == right.zero_threshold
    if not comparable or (CUSTOM in {left.schema, right.schema} and left.custom_values != right.custom_values):
        raise NotationError(
            f"a series cannot step from {left} by {right}: schema, width of the zero bucket or bounds differ"
        )
    return replace(
        left,
        count=left.count + sign * right.count,
        sum=left.sum + sign * right.sum,
        zero_count=left.zero_count + sign * right.zero_count,
        positive=_added(left.positive, right.positive, right.schema - left.schema, sign),
        negative=_added(left.negative, right.negative, right.schema - left.schema, sign),
    )


def _added(left: dict[int, float], right: dict[int, float], halvings: int, sign: int) -> dict[int, float]:
    total = dict(left)
    for index, count in right.items():
        merged = ((index - 1) >> halvings) + 1 if halvings else index
        total[merged] = total.get(merged, 0) + sign * count
    return {index: count for index, count in total.items() if count}


_NUMBERS = {"schema", "count", "sum", "z_bucket", "z_bucket_w", "offset", "n_offset"}
_LISTS = {"buckets", "n_buckets", "custom_values"}


def read_histogram(cursor: Cursor) -> Histogram:
    """`{{schema:1 count:3 buckets:[1 2] …}}`, which the cursor is at.

    Raises:
        NotationError: it is not well written.
    """
    cursor.expect("{{")
    given: dict[str, Any] = {}
    cursor.spaces()
    while not cursor.take("}}"):
        key = cursor.word()
        cursor.expect(":")
        if key in given:
            raise NotationError(f"{key} is given twice in a histogram")
        given[key] = _value_of(key, cursor)
        cursor.spaces()
    schema = int(given.get("schema", 0))
    return Histogram(
        schema=schema,
        count=given.get("count", 0.0),
        sum=given.get("sum", 0.0),
        zero_count=given.get("z_bucket", 0.0),
        zero_threshold=given.get("z_bucket_w", 0.0),
        positive=_buckets(given.get("buckets", ()), int(given.get("offset", 0))),
        negative=_buckets(given.get("n_buckets", ()), int(given.get("n_offset", 0))),
        custom_values=tuple(given.get("custom_values", ())),
        hint=given.get("counter_reset_hint"),
    )


def _buckets(counts: Sequence[float], first: int) -> dict[int, float]:
    return {first + place: count for place, count in enumerate(counts) if count}


def _value_of(key: str, cursor: Cursor) -> float | list[float] | int:
    if key in _NUMBERS:
        return cursor.number()
    if key == "counter_reset_hint":
        word = cursor.word()
        if word not in HINTS:
            raise NotationError(f"counter_reset_hint is one of {', '.join(HINTS)}, not {word!r}")
        return HINTS.index(word)
    if key not in _LISTS:
        raise NotationError(
            f"a histogram has no {key!r}; it has {', '.join(sorted(_NUMBERS | _LISTS))}, counter_reset_hint"
        )
    cursor.expect("[")
    numbers = []
    cursor.spaces()
    while not cursor.take("]"):
        numbers.append(cursor.number())
        cursor.spaces()
    return numbers


def as_columns(rows: Sequence[Histogram]) -> Histograms:
    """What the engine is given."""
    positive = [_dense(row.positive) for row in rows]
    negative = [_dense(row.negative) for row in rows]
    return Histograms(
        count=np.array([row.count for row in rows], np.float64),
        sum=np.array([row.sum for row in rows], np.float64),
        schema=np.array([row.schema for row in rows], np.int64),
        zero_threshold=np.array([row.zero_threshold for row in rows], np.float64),
        zero_count=np.array([row.zero_count for row in rows], np.float64),
        positive_offset=np.array([first for first, _ in positive], np.int64),
        positive_splits=_splits([counts for _, counts in positive]),
        positive_counts=_joined([counts for _, counts in positive]),
        negative_offset=np.array([first for first, _ in negative], np.int64),
        negative_splits=_splits([counts for _, counts in negative]),
        negative_counts=_joined([counts for _, counts in negative]),
        custom_splits=_splits([row.custom_values for row in rows]),
        custom_values=_joined([row.custom_values for row in rows]),
        counter_reset=np.array([row.hint or UNKNOWN for row in rows], np.int64),
    )


def _dense(buckets: dict[int, float]) -> tuple[int, list[float]]:
    if not buckets:
        return 0, []
    first = min(buckets)
    return first, [buckets.get(index, 0.0) for index in range(first, max(buckets) + 1)]


def _splits(lists: Sequence[Sequence[float]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.cumsum([0, *map(len, lists)], dtype=np.int64)


def _joined(lists: Sequence[Sequence[float]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array(list(chain.from_iterable(lists)), np.float64)


def from_columns(columns: Histograms, row: int) -> Histogram:
    """What the engine gave."""

    def part(splits: Any, values: Any) -> list[float]:
        return values[splits[row] : splits[row + 1]].tolist()  # type: ignore[no-any-return]

    return Histogram(
        schema=int(columns.schema[row]),
        count=float(columns.count[row]),
        sum=float(columns.sum[row]),
        zero_count=float(columns.zero_count[row]),
        zero_threshold=float(columns.zero_threshold[row]),
        positive=_buckets(part(columns.positive_splits, columns.positive_counts), int(columns.positive_offset[row])),
        negative=_buckets(part(columns.negative_splits, columns.negative_counts), int(columns.negative_offset[row])),
        custom_values=tuple(part(columns.custom_splits, columns.custom_values)),
        hint=int(columns.counter_reset[row]),
    )


def with_hints(samples: Sequence[float | Histogram]) -> list[float | Histogram]:
    """A series as a store hands it out: what is known of counter resets is said of each histogram.

    A gauge stays one. Otherwise the first of a run of like histograms is unknown, and so is one before which there was
    a reset or whose layout is another; the rest have none before them.
    """
    hinted: list[float | Histogram] = []
    previous: float | Histogram | None = None
    for sample in samples:
        if isinstance(sample, Histogram) and sample.hint != GAUGE:
            continued = isinstance(previous, Histogram) and previous.hint != GAUGE and _continues(previous, sample)
            hinted.append(replace(sample, hint=NOT_RESET if continued else UNKNOWN))
        else:
            hinted.append(sample)
        previous = sample
    return hinted


def _continues(before: Histogram, after: Histogram) -> bool:
    """Whether no counter was reset and the layout is the same."""
    return (
        after.hint != RESET
        and before.schema == after.schema
        and before.zero_threshold == after.zero_threshold
        and before.custom_values == after.custom_values
        and before.count <= after.count
        and before.zero_count <= after.zero_count
        and all(count <= after.positive.get(index, 0) for index, count in before.positive.items())
        and all(count <= after.negative.get(index, 0) for index, count in before.negative.items())
    )


def of_classic(cumulative: dict[float, float], total: float | None, sum_: float | None) -> Histogram:
    """A histogram with custom bounds from a classic one: cumulative counts by upper bound.

    Raises:
        NotationError: the counts fall, or there are more than the total.
    """
    bounds = sorted(cumulative)
    counts = [cumulative[bound] for bound in bounds]
    count = total if total is not None else (counts[-1] if counts else 0.0)
    if math.inf not in cumulative:
        bounds, counts = [*bounds, math.inf], [*counts, count]
    if any(later < earlier for earlier, later in pairwise(counts)) or counts[-1] > count:
        raise NotationError(f"the buckets {dict(zip(bounds, counts, strict=True))} of a classic histogram fall")
    differences = [later - earlier for earlier, later in zip([0.0, *counts], counts, strict=False)]
    return Histogram(
        schema=CUSTOM,
        count=count,
        sum=sum_ or 0.0,
        positive=_buckets(differences, 0),
        custom_values=tuple(bounds[:-1]),
    )
