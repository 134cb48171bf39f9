"""`…_over_time` functions that order or add up the samples of a window, or pick one of them; `changes` and `resets`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from watchkeeper_server.promql import histograms as native
from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.functions import remarks
from watchkeeper_server.promql.functions.arguments import OverRange
from watchkeeper_server.promql.functions.whole_sums import whole_sums
from watchkeeper_server.promql.functions.windows import (
    Block,
    answer,
    kinds,
    per_window,
    sums,
    total,
    with_histograms,
)
from watchkeeper_server.promql.values import Floats, Histograms, Ints, Matrix, Scalar, Text, Windows


def over_floats(compute: Callable[[Windows], Floats]) -> OverRange:
    """A function of a window's floats, absent where there are none; that histograms are ignored is remarked."""

    def function(context: Context, windows: Windows, _arguments: Sequence[Scalar | Text]) -> Matrix:
        of = kinds(windows)
        remarks.histograms_ignored(context, windows.samples.labels, of.mixed)
        return answer(windows.samples.labels, compute(of.floats), of.float_counts > 0)

    return function


def _extreme(windows: Windows, ufunc: np.ufunc) -> Floats:
    """The greatest or least of each window; NaN only where there is nothing else."""
    lengths = windows.last - windows.first
    longest = int(lengths.max(initial=0))
    if int(lengths.sum()) > len(windows.samples.values) * longest.bit_length():
        return _extreme_of_two(windows, lengths, ufunc)
    column = np.append(windows.samples.values, np.nan)
    # every second segment is a window, those between lead from one window to the next
    ends = np.stack([windows.first, windows.last], axis=-1)
    result: Floats = ufunc.reduceat(column, ends.reshape(-1))[::2]
    return result.reshape(windows.first.shape)


def _extreme_of_two(windows: Windows, lengths: Ints, ufunc: np.ufunc) -> Floats:
    """The same, of windows that overlap: each is the extreme of two spans, its first and its last 2^n samples."""
    # the extreme of so many samples from each on
    spans, width = windows.samples.values, 1
    result = np.zeros(lengths.shape)
    longest = int(lengths.max())
    while width <= longest:
        here = (lengths >= width) & (lengths < 2 * width)
        if here.any():
            cells = ... if here.all() else here
            result[cells] = ufunc(spans.take(windows.first[cells]), spans.take(windows.last[cells] - width))
        spans = ufunc(spans[:-width], spans[width:])
        width *= 2
    return result


def _time_of_extreme(windows: Windows, ufunc: np.ufunc) -> Floats:
    """When the greatest or least of each window was last seen, Unix seconds."""
    samples = windows.samples

    def compute(block: Block) -> Floats:
        values = block.take(samples.values, np.nan)
        extreme = ufunc.reduce(values, axis=0)
        last = block.longest - 1 - np.argmax(values[::-1] == extreme, axis=0)
        place = block.first + np.where(np.isnan(extreme), block.lengths - 1, last)
        return samples.times[place] / 1000

    return per_window(windows, compute)


max_over_time = over_floats(lambda windows: _extreme(windows, np.fmax))
min_over_time = over_floats(lambda windows: _extreme(windows, np.fmin))
ts_of_max_over_time = over_floats(lambda windows: _time_of_extreme(windows, np.fmax))
ts_of_min_over_time = over_floats(lambda windows: _time_of_extreme(windows, np.fmin))


def _sum_or_mean(
    compute: Callable[[Floats, Ints], Floats],
    whole: Callable[[Floats, Ints], Floats],
    of_histograms: Callable[[Windows, Context], tuple[Ints, Histograms]],
) -> OverRange:
    """A function of a window of floats, or of histograms, but not of both; `whole` is that of an exact sum."""

    def function(context: Context, windows: Windows, _arguments: Sequence[Scalar | Text]) -> Matrix:
        of = kinds(windows)
        column = of.floats.samples.values
        values, known = whole_sums(of.floats)
        values = whole(values, of.float_counts)
        if not known.all():
            rest = replace(of.floats, first=of.floats.first[~known], last=of.floats.last[~known])
            values[~known] = per_window(rest, lambda block: compute(block.take(column, 0.0), block.lengths))
        result = answer(windows.samples.labels, values, (of.float_counts > 0) & ~of.mixed)
        if of.histogram_counts is None:
            return result
        return with_histograms(result, *of_histograms(windows, context))

    return function


def _mean(values: Floats, lengths: Ints) -> Floats:
    """The mean of each column's first entries; the rest is 0."""
    sum_, lost = sums(values)
    mean = sum_ / lengths + lost / lengths
    off = np.flatnonzero(~np.isfinite(sum_))
    if len(off):
        mean[off] = _mean_without_overflow(values[:, off], lengths[off])
    return mean


def _mean_without_overflow(values: Floats, lengths: Ints) -> Floats:
    """The same where a sum overflows or something is not finite: from the overflow on, mean is added to mean."""
    sum_, lost = values[0].copy(), np.zeros(len(lengths))
    mean, by_means = np.zeros(len(lengths)), np.zeros(len(lengths), np.bool_)
    for count, row in enumerate(values[1:], 2):
        inside = count <= lengths
        next_sum, next_lost = _add(row, sum_, lost)
        overflow = inside & ~by_means & np.isinf(next_sum)
        direct = inside & ~by_means & ~overflow
        sum_, lost = np.where(direct, next_sum, sum_), np.where(direct, next_lost, lost)
        mean = np.where(overflow, sum_ / (count - 1), mean)
        lost = np.where(overflow, lost / (count - 1), lost)
        by_means |= overflow
        part = (count - 1) / count
        next_mean, next_lost = _add(row / count, part * mean, part * lost)
        mean = np.where(inside & by_means, next_mean, mean)
        lost = np.where(inside & by_means, next_lost, lost)
    return np.where(by_means, mean + lost, sum_ / lengths + lost / lengths)


def _add(value: Floats, sum_: Floats, lost: Floats) -> tuple[Floats, Floats]:
    """One step of Neumaier's sum."""
    next_ = sum_ + value
    of_this = np.where(np.abs(sum_) >= np.abs(value), (sum_ - next_) + value, (value - next_) + sum_)
    return next_, np.where(np.isinf(next_), 0.0, lost + of_this)


sum_over_time = _sum_or_mean(lambda values, _lengths: total(values), lambda sums, _lengths: sums, native.sum_over_time)
avg_over_time = _sum_or_mean(_mean, np.divide, native.avg_over_time)


def count_over_time(_context: Context, windows: Windows, _arguments: Sequence[Scalar | Text]) -> Matrix:
    """How many samples there are."""
    counts = windows.last - windows.first
    return answer(windows.samples.labels, counts.astype(np.float64), counts > 0)


def present_over_time(_context: Context, windows: Windows, _arguments: Sequence[Scalar | Text]) -> Matrix:
    """1 if there is a sample."""
    return answer(windows.samples.labels, np.ones(windows.first.shape), windows.last > windows.first)


def _picked(windows: Windows, place: Ints) -> Matrix:
    """The samples at these places of the windows that are not empty; they keep their name."""
    samples, present = windows.samples, windows.last > windows.first
    place = np.where(present, place, 0)
    if not len(samples.values):
        return Matrix(samples.labels, np.zeros(place.shape), present)
    histogram_of = None
    if samples.histogram_of is not None:
        histogram_of = np.where(present, samples.histogram_of[place], -1)
    return Matrix(samples.labels, samples.values[place], present, histogram_of, samples.histograms)


def first_over_time(_context: Context, windows: Windows, _arguments: Sequence[Scalar | Text]) -> Matrix:
    """The oldest sample."""
    return _picked(windows, windows.first)


def last_over_time(_context: Context, windows: Windows, _arguments: Sequence[Scalar | Text]) -> Matrix:
    """The newest sample."""
    return _picked(windows, windows.last - 1)


def _time_at(windows: Windows, place: Ints) -> Matrix:
    present = windows.last > windows.first
    times = np.append(windows.samples.times, 0)
    return answer(windows.samples.labels, times[np.where(present, place, -1)] / 1000, present)


def ts_of_first_over_time(_context: Context, windows: Windows, _arguments: Sequence[Scalar | Text]) -> Matrix:
    """When the oldest sample is of, Unix seconds."""
    return _time_at(windows, windows.first)


def ts_of_last_over_time(_context: Context, windows: Windows, _arguments: Sequence[Scalar | Text]) -> Matrix:
    """When the newest sample is of, Unix seconds."""
    return _time_at(windows, windows.last - 1)


def changes(_context: Context, windows: Windows, _arguments: Sequence[Scalar | Text]) -> Matrix:
    """How often a sample differs from the one before it."""
    return answer(windows.samples.labels, native.changes(windows), windows.last > windows.first)


def resets(_context: Context, windows: Windows, _arguments: Sequence[Scalar | Text]) -> Matrix:
    """How often a sample is less than the one before it."""
    return answer(windows.samples.labels, native.resets(windows), windows.last > windows.first)
