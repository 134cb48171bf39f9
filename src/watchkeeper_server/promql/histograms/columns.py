"""Columns of native histograms, taken apart and put together; each row is left as it is.

Bucket lists are ragged: those of a row need not be as long as another's. A bucket outside of a row's list is empty, so
lists that differ only in empty buckets at their ends say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from watchkeeper_server.promql.values import Bools, Floats, Histograms, Ints

CUSTOM = -53
"""The schema that says that a row has bounds of its own."""
UNKNOWN, RESET, NOT_RESET, GAUGE = range(4)
"""What `counter_reset` says."""

Rows: TypeAlias = Ints | Bools | Sequence[int]


def entries(starts: Ints, lengths: Ints) -> Ints:
    """The places of ragged lists, one list after the other: `starts[i]`, `starts[i] + 1`, … `lengths[i]` of them."""
    ends = np.cumsum(lengths)
    places: Ints = np.arange(ends[-1] if len(ends) else 0)
    places += np.repeat(starts - (ends - lengths), lengths)
    return places


def splits_of(lengths: Ints) -> Ints:
    """Where lists of these lengths start and end when they lie one after the other, int64[n + 1]."""
    splits = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=splits[1:])
    return splits


def from_rows(rows: Iterable[Mapping[str, Any]]) -> Histograms:
    """Rows written one by one; what is left out is empty, and zero for numbers.

    Keys: `count`, `sum`, `schema`, `zero_threshold`, `zero_count`, `counter_reset`, `positive_offset`, `positive` (the
    list of counts), `negative_offset`, `negative`, `custom_values`.
    """
    given = list(rows)

    def numbers(key: str, kind: type[np.float64 | np.int64]) -> Any:
        return np.array([row.get(key, 0) for row in given], kind)

    def lists(key: str) -> tuple[Ints, Floats]:
        parts = [row.get(key, ()) for row in given]
        flat = [value for part in parts for value in part]
        return splits_of(np.array([len(part) for part in parts], np.int64)), np.array(flat, np.float64)

    positive_splits, positive_counts = lists("positive")
    negative_splits, negative_counts = lists("negative")
    custom_splits, custom_values = lists("custom_values")
    return Histograms(
        count=numbers("count", np.float64),
        sum=numbers("sum", np.float64),
        schema=numbers("schema", np.int64),
        zero_threshold=numbers("zero_threshold", np.float64),
        zero_count=numbers("zero_count", np.float64),
        positive_offset=numbers("positive_offset", np.int64),
        positive_splits=positive_splits,
        positive_counts=positive_counts,
        negative_offset=numbers("negative_offset", np.int64),
        negative_splits=negative_splits,
        negative_counts=negative_counts,
        custom_splits=custom_splits,
        custom_values=custom_values,
        counter_reset=numbers("counter_reset", np.int64),
    )


EMPTY = from_rows([])
"""No rows."""


def _taken(splits: Ints, values: Floats, rows: Ints) -> tuple[Ints, Floats]:
    lengths = splits[rows + 1] - splits[rows]
    return splits_of(lengths), values[entries(splits[rows], lengths)]


def take(h: Histograms, rows: Rows) -> Histograms:
    """Some rows, in this order; a mask takes those it marks."""
    chosen = np.asarray(rows)
    places = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen.astype(np.int64, copy=False)
    positive_splits, positive_counts = _taken(h.positive_splits, h.positive_counts, places)
    negative_splits, negative_counts = _taken(h.negative_splits, h.negative_counts, places)
    custom_splits, custom_values = _taken(h.custom_splits, h.custom_values, places)
    return Histograms(
        count=h.count[places],
        sum=h.sum[places],
        schema=h.schema[places],
        zero_threshold=h.zero_threshold[places],
        zero_count=h.zero_count[places],
        positive_offset=h.positive_offset[places],
        positive_splits=positive_splits,
        positive_counts=positive_counts,
        negative_offset=h.negative_offset[places],
        negative_splits=negative_splits,
        negative_counts=negative_counts,
        custom_splits=custom_splits,
        custom_values=custom_values,
        counter_reset=h.counter_reset[places],
    )


_RAGGED = ("positive_splits", "negative_splits", "custom_splits")


def concat(parts: Iterable[Histograms]) -> Histograms:
    """All rows, one part after the other."""
    given = list(parts)
    if len(given) == 1:
        return given[0]
    if not given:
        return EMPTY
    joined: dict[str, Any] = {}
    for name in Histograms.__slots__:
        columns = [getattr(part, name) for part in given]
        if name in _RAGGED:
            joined[name] = splits_of(np.concatenate([np.diff(column) for column in columns]))
        else:
            joined[name] = np.concatenate(columns)
    return Histograms(**joined)


def _ends(splits: Ints, counts: Floats) -> tuple[Ints, Ints]:
    """For each row the place of its first filled bucket, and the place after its last; equal if there is none."""
    filled = np.flatnonzero(counts)
    low, high = np.searchsorted(filled, splits[:-1]), np.searchsorted(filled, splits[1:])
    some = low < high
    if not some.any():
        return splits[:-1], splits[:-1]
    first = np.where(some, filled[np.minimum(low, len(filled) - 1)], splits[:-1])
    last = np.where(some, filled[np.maximum(high, 1) - 1] + 1, splits[:-1])
    return first, last


def _compacted(offset: Ints, splits: Ints, counts: Floats) -> tuple[Ints, Ints, Floats]:
    first, last = _ends(splits, counts)
    lengths = last - first
    if lengths.sum() == len(counts):
        return np.where(lengths > 0, offset, 0), splits, counts
    return np.where(lengths > 0, offset + first - splits[:-1], 0), splits_of(lengths), counts[entries(first, lengths)]


def compact(h: Histograms) -> Histograms:
    """Without the empty buckets at the ends; a row with none left has offset 0."""
    positive_offset, positive_splits, positive_counts = _compacted(
        h.positive_offset, h.positive_splits, h.positive_counts
    )
    negative_offset, negative_splits, negative_counts = _compacted(
        h.negative_offset, h.negative_splits, h.negative_counts
    )
    return replace(
        h,
        positive_offset=positive_offset,
        positive_splits=positive_splits,
        positive_counts=positive_counts,
        negative_offset=negative_offset,
        negative_splits=negative_splits,
        negative_counts=negative_counts,
    )


def _same(a: Floats, b: Floats) -> Bools:
    return np.asarray((a == b) | (np.isnan(a) & np.isnan(b)))


def _same_lists(a_splits: Ints, a_values: Floats, b_splits: Ints, b_values: Floats) -> Bools:
    """Which ragged lists have the same length and values."""
    lengths = np.diff(a_splits)
    same = np.asarray(lengths == np.diff(b_splits))
    rows = np.flatnonzero(same)
    lengths = lengths[rows]
    differ = ~_same(a_values[entries(a_splits[rows], lengths)], b_values[entries(b_splits[rows], lengths)])
    same[np.repeat(rows, lengths)[differ]] = False
    return same


def same_bounds(a: Histograms, b: Histograms) -> Bools:
    """Row by row: whether the custom bounds are the same."""
    return _same_lists(a.custom_splits, a.custom_values, b.custom_splits, b.custom_values)


def equal(a: Histograms, b: Histograms) -> Bools:
    """Row by row: whether they hold the same; NaN is equal to itself.

    Empty buckets do not count, nor does what is known of counter resets.
    """
    a, b = compact(a), compact(b)
    same = (a.schema == b.schema) & (a.zero_threshold == b.zero_threshold)
    same &= _same(a.count, b.count) & _same(a.sum, b.sum) & _same(a.zero_count, b.zero_count)
    same &= (a.positive_offset == b.positive_offset) & (a.negative_offset == b.negative_offset)
    same &= _same_lists(a.positive_splits, a.positive_counts, b.positive_splits, b.positive_counts)
    same &= _same_lists(a.negative_splits, a.negative_counts, b.negative_splits, b.negative_counts)
    return np.asarray(same & same_bounds(a, b))
