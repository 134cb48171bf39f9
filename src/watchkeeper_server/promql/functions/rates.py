"""How fast values change: `rate`, `increase`, `delta` over a window, `irate`, `idelta` over its last two samples.

What is seen of a window, its first sample to its last, is extended to the window's edges where samples are near enough
to them, otherwise by half the distance of samples; a counter's not to below zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from watchkeeper_server.promql import histograms as native
from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.functions import remarks
from watchkeeper_server.promql.functions.arguments import OverRange
from watchkeeper_server.promql.functions.windows import (
    BLOCK_ENTRIES,
    Block,
    answer,
    blocks,
    kinds,
    with_histograms,
)
from watchkeeper_server.promql.values import Floats, Histograms, Ints, Matrix, Scalar, Text, Windows

# An edge is near if it is less than this many times the mean distance of samples away.
_NEAR = 1.1

OfHistograms = Callable[[Windows, Context], tuple[Ints, Histograms]]


def _extrapolated(of_histograms: OfHistograms, *, counter: bool, per_second: bool) -> OverRange:
    def function(context: Context, windows: Windows, _arguments: Sequence[Scalar | Text]) -> Matrix:
        of = kinds(windows)
        present = (of.float_counts > 1) & ~of.mixed
        seconds = windows.range / 1000 if per_second else 1.0
        values = np.zeros(present.shape)
        rows = max(1, BLOCK_ENTRIES // max(1, present.shape[1]))
        resets = _Resets(of.floats) if counter else None
        for start in range(0, len(values), rows):
            part = slice(start, start + rows)
            values[part] = _change(of.floats, part, resets, seconds)
        if counter:
            remarks.maybe_no_counter(context, windows.samples.labels, present)
        result = answer(windows.samples.labels, values, present)
        if of.histogram_counts is None:
            return result
        return with_histograms(result, *of_histograms(windows, context))

    return function


class _Resets:
    """Where in a column of samples values drop: counters that started again from 0."""

    def __init__(self, floats: Windows) -> None:
        values = floats.samples.values
        # a drop from one series to the next is in no window
        self._places = np.flatnonzero(values[1:] < values[:-1]) + 1
        self._reached = values[self._places - 1]

    def correct(self, change: Floats, first: Ints, last: Ints) -> None:
        """Add to each window's change what was reached before each of its resets, in their order."""
        if not len(self._places):
            return
        begin = np.searchsorted(self._places, first.reshape(-1), "right")
        counts = np.maximum(np.searchsorted(self._places, last.reshape(-1)) - begin, 0)
        windows = np.flatnonzero(counts)
        flat = change.reshape(-1)
        for block in blocks(begin[windows], counts[windows]):
            cells = windows[block.cells]
            flat[cells] = self._added(flat[cells], block)

    def _added(self, change: Floats, block: Block) -> Floats:
        summands = np.concatenate([change[None], block.take(self._reached, 0.0)])
        added: Floats = np.add.accumulate(summands, axis=0)[-1]
        return added


def _change(floats: Windows, part: slice, resets: _Resets | None, seconds: float) -> Floats:
    """From edge to edge, for `seconds` of it; of windows with fewer than two samples it means nothing."""
    times, values = floats.samples.times, floats.samples.values
    first, last = floats.first[part], floats.last[part]
    if not len(values):
        return np.zeros(first.shape)
    first_time, last_time = times.take(first, mode="clip"), times.take(last - 1, mode="clip")
    first_value = values.take(first, mode="clip")
    change = values.take(last - 1, mode="clip") - first_value
    seen = (last_time - first_time) / 1000
    distance = seen / (last - first - 1)
    near, half = distance * _NEAR, distance / 2
    to_start = (first_time - floats.starts) / 1000
    to_start = np.where(to_start >= near, half, to_start)
    to_end = (floats.ends - last_time) / 1000
    to_end = np.where(to_end >= near, half, to_end)
    if resets is not None:
        resets.correct(change, first, last)
        rising = (change > 0) & (first_value >= 0)
        to_zero = np.where(rising, seen * (first_value / change), to_start)
        to_start = np.where(to_zero < to_start, to_zero, to_start)
    return change * ((seen + to_start + to_end) / seen / seconds)


rate = _extrapolated(native.rate, counter=True, per_second=True)
increase = _extrapolated(native.increase, counter=True, per_second=False)
delta = _extrapolated(native.delta, counter=False, per_second=False)


def _of_last_two(of_histograms: OfHistograms, *, counter: bool) -> OverRange:
    """From the last sample but one to the last; for counters per second, and from 0 if they were reset."""

    def function(context: Context, windows: Windows, _arguments: Sequence[Scalar | Text]) -> Matrix:
        samples = windows.samples
        place = np.maximum(windows.last - 1, 1)
        present = windows.last - windows.first > 1
        if not present.any():
            return answer(samples.labels, np.zeros(present.shape), present)
        before, after = samples.values.take(place - 1), samples.values.take(place, mode="clip")
        change = after - before
        if counter:
            seconds = (samples.times.take(place, mode="clip") - samples.times[place - 1]) / 1000
            change = np.where(after < before, after, change) / seconds
        if samples.histogram_of is None:
            return answer(samples.labels, change, present)
        floats = (samples.histogram_of[place - 1] < 0) & (samples.histogram_of.take(place, mode="clip") < 0)
        result = answer(samples.labels, change, present & floats)
        return with_histograms(result, *of_histograms(windows, context))

    return function


irate = _of_last_two(native.irate, counter=True)
idelta = _of_last_two(native.idelta, counter=False)
