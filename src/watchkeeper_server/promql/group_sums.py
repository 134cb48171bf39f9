"""Sums, means and variances of groups of rows, as exact as Kahan's summation."""

from __future__ import annotations

import numpy as np

from watchkeeper_server.promql.functions.windows import rounding
from watchkeeper_server.promql.groups import Groups
from watchkeeper_server.promql.values import Bools, Floats, Ints

# A pass over rows costs as much as it takes to pair so many values.
_PASS_ENTRIES = 500


def _sums(values: Floats, groups: Groups) -> tuple[Floats, Floats]:
    """The sum of each group of rows and what rounding lost of it, to be added last; both float64[groups, steps].

    Rows are added one after the other, of all groups at once; where that were many passes over little, parts of groups
    are added up like this, and then in pairs.
    """
    most = max(1, values.size // _PASS_ENTRIES)
    parts = -(-groups.sizes // most)
    begins = np.cumsum(parts) - parts
    nth = np.arange(parts.sum()) - np.repeat(begins, parts)
    sizes = np.minimum(np.repeat(groups.sizes, parts) - nth * most, most)
    sums, lost = _in_turn(values, groups.rows, np.repeat(groups.starts, parts) + nth * most, sizes)
    sums, lost = _in_pairs(sums, lost, begins, parts)
    lost[~np.isfinite(sums)] = 0
    return sums, lost


def _in_turn(values: Floats, rows: Ints, starts: Ints, sizes: Ints) -> tuple[Floats, Floats]:
    """The first row of each part, then the second of those that have one."""
    descending = np.argsort(-sizes, kind="stable")
    starts, sizes = starts[descending], sizes[descending]
    sums = values.take(rows[starts], axis=0)
    lost = np.zeros_like(sums)
    places = np.arange(1, sizes[0])
    for place, count in zip(places.tolist(), np.searchsorted(-sizes, -places).tolist(), strict=True):
        so_far, row = sums[:count], values.take(rows[starts[:count] + place], axis=0)
        next_ = so_far + row
        lost[:count] += rounding(so_far, row, next_)
        sums[:count] = next_
    back = np.empty_like(descending)
    back[descending] = np.arange(len(back))
    return sums[back], lost[back]


def _in_pairs(sums: Floats, lost: Floats, starts: Ints, sizes: Ints) -> tuple[Floats, Floats]:
    """Two and two, until each group is one row: only log2(rows) deep."""
    while sizes.max() > 1:
        halves = (sizes + 1) // 2
        next_starts = np.cumsum(halves) - halves
        pair = 2 * (np.arange(halves.sum()) - np.repeat(next_starts, halves))
        left = np.repeat(starts, halves) + pair
        single = pair + 1 == np.repeat(sizes, halves)
        right = np.where(single, left, left + 1)
        first, second = sums[left], sums[right]
        second[single] = 0
        sums = first + second
        error = rounding(first, second, sums)
        error += lost[left]
        error[~single] += lost[right[~single]]
        lost, starts, sizes = error, next_starts, halves
    return sums, lost


def mean_of(values: Floats, counts: Ints, groups: Groups) -> Floats:
    """The mean of each group; `values` are 0 where they do not count."""
    sums, lost = _sums(values, groups)
    if np.isfinite(sums).all():
        return sums / counts + lost / counts
    parts, lost_of_parts = _sums(values / groups.spread(counts), groups)
    return np.where(np.isfinite(sums), sums / counts + lost / counts, parts + lost_of_parts)


def sum_of(values: Floats, groups: Groups) -> Floats:
    """The sum of each group, likewise; infinite where it overflows on its way, as in Prometheus."""
    sums, lost = _sums(values, groups)
    finite = np.isfinite(sums)
    if not finite.all():
        odd = np.logical_or.reduceat(~np.isfinite(values)[groups.rows], groups.starts, axis=0)
        overflown = np.flatnonzero((~finite & ~odd).any(axis=1))
        if len(overflown):  # whether it does depends on the order: here that of the rows
            starts, sizes = groups.starts[overflown], groups.sizes[overflown]
            sums[overflown], lost[overflown] = _in_turn(values, groups.rows, starts, sizes)
            lost[~np.isfinite(sums)] = 0
    return sums + lost


def variance(values: Floats, present: Bools, counts: Ints, groups: Groups) -> Floats:
    """The mean squared distance from the mean, of what is present of each group."""
    mean = mean_of(np.where(present, values, 0.0), counts, groups)
    distance = np.where(present, values - groups.spread(mean), 0.0)[groups.rows]
    return np.add.reduceat(distance * distance, groups.starts, axis=0) / counts
