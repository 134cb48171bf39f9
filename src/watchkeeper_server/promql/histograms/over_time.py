"""Sums, means, changes and resets of windows that hold native histograms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.histograms.algebra import avg_members, sum_members
from watchkeeper_server.promql.histograms.columns import concat, entries, equal, take
from watchkeeper_server.promql.histograms.members import Members
from watchkeeper_server.promql.histograms.resets import is_reset
from watchkeeper_server.promql.histograms.windows import MIXED_BUCKETS, Chosen, nothing
from watchkeeper_server.promql.values import Bools, Floats, Histograms, Ints, Windows

_BLOCK = 1 << 18


def sum_over_time(windows: Windows, context: Context) -> tuple[Ints, Histograms]:
    """The sum of each window's histograms."""
    return _aggregated(sum_members, windows, context)


def avg_over_time(windows: Windows, context: Context) -> tuple[Ints, Histograms]:
    """The mean of each window's histograms."""
    return _aggregated(avg_members, windows, context)


def _aggregated(
    aggregate: Callable[[Histograms, Members, Context], tuple[Histograms, Bools]], windows: Windows, context: Context
) -> tuple[Ints, Histograms]:
    h, row = windows.samples.histograms, windows.samples.histogram_of
    if h is None or row is None:
        return nothing(windows)
    chosen = Chosen(windows, 1, context)
    lengths = chosen.last + 1 - chosen.first
    parts, possible = [], []
    for block in _blocks(lengths):
        members = Members.of(
            row[entries(chosen.first[block], lengths[block])],
            np.repeat(np.arange(len(lengths[block])), lengths[block]),
            len(lengths[block]),
        )
        part, can_be = aggregate(h, members, context)
        parts.append(part)
        possible.append(can_be)
    all_possible = np.concatenate([np.zeros(0, np.bool_), *possible])
    chosen.warn(~all_possible, MIXED_BUCKETS)
    return chosen.answer(concat(parts), all_possible)


def _blocks(lengths: Ints) -> Iterator[slice]:
    """Windows of about `_BLOCK` samples at a time, as overlapping windows hold many times what there is."""
    ends = np.cumsum(lengths)
    cuts = np.searchsorted(ends, np.arange(_BLOCK, ends[-1], _BLOCK)) if len(ends) else ends
    return (slice(low, high) for low, high in pairwise(dict.fromkeys([0, *cuts.tolist(), len(lengths)])))


def changes(windows: Windows) -> Floats:
    """How often samples differ from the one before, floats, histograms or both; 0 for an empty window."""

    def differ(before: Floats, after: Floats) -> Bools:
        return np.asarray((before != after) & ~(np.isnan(before) & np.isnan(after)))

    return _counted(windows, differ, lambda h, before, after: ~equal(take(h, before), take(h, after)))


def resets(windows: Windows) -> Floats:
    """How often counters were reset, floats, histograms or both; 0 for an empty window."""
    return _counted(windows, lambda before, after: np.asarray(after < before), is_reset)


def _counted(
    windows: Windows,
    of_floats: Callable[[Floats, Floats], Bools],
    of_histograms: Callable[[Histograms, Ints, Ints], Bools],
) -> Floats:
    """How often something is so of two neighbours in each window; from a float to a histogram and back it always is."""
    samples = windows.samples
    marks = of_floats(samples.values[:-1], samples.values[1:])
    if samples.histograms is not None and samples.histogram_of is not None:
        row = samples.histogram_of
        kinds = (row[:-1] >= 0).astype(np.int64) + (row[1:] >= 0)
        both = np.flatnonzero(kinds == 2)  # noqa: PLR2004  both
        marks[kinds == 1] = True
        marks[both] = of_histograms(samples.histograms, row[both], row[both + 1])
    # marked[i] is how many of the first i samples are marked; a window's first is not compared within it
    marked = np.concatenate([[0, 0], np.cumsum(marks)])[: len(samples.times) + 1]
    after_first = np.minimum(windows.first + 1, len(samples.times))
    return np.where(windows.last > windows.first, marked[windows.last] - marked[after_first], 0).astype(np.float64)
