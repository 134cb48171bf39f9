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
from watchkeeper_server.promql.functions.windows import Block, answer, blocks, kinds, with_histograms
from watchkeeper_server.promql.values import Floats, Histograms, Ints, Matrix, Scalar, Text, Windows

# Windows at a time: with what is computed on the way, they stay in the processor's cache.
_WINDOWS = 1 << 15
# An edge is near if it is less than this many times the mean distance of samples away.
_NEAR = 1.1

OfHistograms = Callable[[Windows, Context], tuple[Ints, Histograms]]


def _extrapolated(of_histograms: OfHistograms, *, counter: bool, per_second: bool) -> OverRange:
    def function(context: Context, windows: Windows, _arguments: Sequence[Scalar | Text]) -> Matrix:
        of = kinds(windows)
        present = of.float_counts > 1
        if of.histogram_counts is not None:
            present &= ~of.mixed
        seconds = windows.range / 1000 if per_second else 1.0
        values = np.zeros(present.shape)
        rows = max(1, _WINDOWS // max(1, present.shape[1]))
        change_of = _Change(of.floats, seconds, _Resets(of.floats) if counter else None)
        for start in range(0, len(values), rows):
            part = slice(start, start + rows)
            values[part] = change_of(part)
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
        values, offsets = floats.samples.values, floats.samples.offsets
        drops = values[1:] < values[:-1]
        # a drop from one series to the next is none
        drops[offsets[(offsets > 0) & (offsets < len(values))] - 1] = False
        places = np.flatnonzero(drops)
        self._reached = values[places]
        self._series = np.zeros(len(offsets) - 1, np.bool_)
        if len(places):
            self._series[np.searchsorted(offsets, places, "right") - 1] = True
            # for each sample how many drops there are up to it
            self._until = np.cumsum(np.append(False, drops))

    def correct(self, change: Floats, part: slice, first: Ints, last: Ints) -> None:
        """Add to the changes of a part of the series what was reached before each of the resets, in their order."""
        rows = np.flatnonzero(self._series[part])
        if not len(rows):
            return
        begin = self._until.take(first[rows], mode="clip")
        counts = np.maximum(self._until.take(last[rows] - 1, mode="clip") - begin, 0)
        row, step = np.nonzero(counts)
        begins, counts, rows = begin[row, step], counts[row, step], rows[row]
        for block in blocks(begins, counts):
            cells = rows[block.cells], step[block.cells]
            change[cells] = self._added(change[cells], block)

    def _added(self, change: Floats, block: Block) -> Floats:
        summands = np.concatenate([change[None], block.take(self._reached, 0.0)])
        added: Floats = np.add.accumulate(summands, axis=0)[-1]
        return added


class _Change:
    """From edge to edge, for `seconds` of it; of windows with fewer than two samples it means nothing."""

    def __init__(self, floats: Windows, seconds: float, resets: _Resets | None) -> None:
        self._floats, self._seconds, self._resets = floats, seconds, resets
        # milliseconds are exact as floats, and need not be converted for each window
        self._times, self._starts, self._ends = (
            each.astype(np.float64) for each in (floats.samples.times, floats.starts, floats.ends)
        )

    def __call__(self, part: slice) -> Floats:
        """Of some series, at all steps."""
        first, last = self._floats.first[part], self._floats.last[part]
        times, values = self._times, self._floats.samples.values
        if not len(values):
            return np.zeros(first.shape)
        place = last - 1
        first_time, last_time = times.take(first, mode="clip"), times.take(place, mode="clip")
        first_value = values.take(first, mode="clip")
        change = values.take(place, mode="clip") - first_value
        seen = (last_time - first_time) / 1000
        distance = seen / (place - first)
        near, half = distance * _NEAR, distance / 2
        to_start = (first_time - self._starts) / 1000
        np.copyto(to_start, half, where=to_start >= near)
        to_end = (self._ends - last_time) / 1000
        np.copyto(to_end, half, where=to_end >= near)
        if self._resets is not None:
            self._resets.correct(change, part, first, last)
            to_zero = seen * (first_value / change)
            nearer = (change > 0) & (first_value >= 0) & (to_zero < to_start)
            np.copyto(to_start, to_zero, where=nearer)
        return change * ((seen + to_start + to_end) / seen / self._seconds)


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
