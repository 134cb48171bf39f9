"""From samples to what selectors see of them at each step: the last sample, or all of a window.

All look-ups of all series at all steps are made together: by counting the samples between steps, whose cost grows with
the samples, or, where these are many, by one binary search, which touches no sample that it does not meet.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from watchkeeper_server.promql import labels as label_sets
from watchkeeper_server.promql.matrices import dropped, raise_duplicate
from watchkeeper_server.promql.values import STALE_BITS, Bools, Floats, Histograms, Ints, Matrix, Samples, Windows

NO_SAMPLES = Samples([], np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0))
_RESET, _NO_RESET = 1, 2


def counts_until(samples: Samples, times: Ints) -> Ints:
    """For each series and time the place just after its last sample not later than that; int64[series, times].

    Fastest for times at equal distances, as steps are.
    """
    longest = int(np.diff(samples.offsets).max(initial=0))
    if len(samples.times) < len(samples.labels) * len(times) * longest.bit_length() and (step := _distance(times)):
        return _counted(samples, int(times[0]), step, len(times))
    return _searched(samples, times, longest)


def _distance(times: Ints) -> int:
    """How far each is behind the one before it; 0 if they do not ascend evenly."""
    distances = np.diff(times)
    even = len(distances) and distances[0] > 0 and (distances == distances[0]).all()
    return int(distances[0]) if even else 0


def _counted(samples: Samples, start: int, step: int, count: int) -> Ints:
    """By how many samples lie between each two steps: 3 ns a sample."""
    # for each sample the first step that is not before it; there is one more column for those behind the last step
    cells = samples.times - (start - step + 1)
    cells //= step
    np.clip(cells, 0, count, out=cells)
    rows = len(samples.labels)
    cells += np.repeat(np.arange(rows) * (count + 1), np.diff(samples.offsets))
    until = np.cumsum(np.bincount(cells, minlength=rows * (count + 1)))
    return until.reshape(rows, count + 1)[:, :count]


def _searched(samples: Samples, times: Ints, longest: int) -> Ints:
    """By binary search: 3 ns for each series, time, and doubling of the samples of the longest series."""
    begin, end = samples.offsets[:-1, None], samples.offsets[1:, None]
    found = np.repeat(begin, len(times), axis=1)
    if not longest:
        return found
    width = 1 << (longest.bit_length() - 1)
    while width:
        probe = np.minimum(found + width, end)
        np.copyto(found, probe, where=samples.times.take(probe - 1, mode="wrap") <= times)
        width >>= 1
    return found


def last_samples(samples: Samples, times: Ints, lookback: int) -> tuple[Ints, Bools]:
    """For each series and time the place of its last sample in (time - lookback, time], and whether there is one.

    There is none where the last one is a stale marker. Both have the shape [series, times].
    """
    place = counts_until(samples, times)
    present = place > samples.offsets[:-1, None]
    place -= 1
    np.maximum(place, 0, out=place)
    if len(samples.times):
        present &= samples.times.take(place) > times - lookback
        present &= ~_stale(samples.values.take(place))
    return place, present


def vector(samples: Samples, times: Ints, lookback: int) -> Matrix:
    """The value of each series at each of the times."""
    place, present = last_samples(samples, times, lookback)
    if not len(samples.times):
        return Matrix(samples.labels, np.zeros(place.shape), present)
    histogram_of = None
    if samples.histogram_of is not None:
        histogram_of = np.where(present, samples.histogram_of[place], -1)
    return Matrix(samples.labels, samples.values.take(place), present, histogram_of, samples.histograms)


def windows(samples: Samples, times: Ints, length: int) -> Windows:
    """The samples of each series in (time - length, time], stale markers left out."""
    samples = without_stale(samples)
    starts = times - length
    step = _distance(times)
    if not step or length % step or length > step * len(times):
        return Windows(samples, counts_until(samples, starts), counts_until(samples, times), starts, times, length)
    # a window starts where an earlier one ends
    until = counts_until(samples, np.concatenate([starts[: length // step], times]))
    return Windows(samples, until[:, : len(times)], until[:, length // step :], starts, times, length)


def cut(window: Windows) -> Samples:
    """Only the samples of the first step's windows; series without any are left out, the others sorted by labels.

    Names that were to be dropped at the end are.

    Raises:
        ExecutionError: two series become the same.
    """
    samples = window.samples
    rows = np.flatnonzero(window.last[:, 0] > window.first[:, 0])
    labels = [samples.labels[row] for row in rows.tolist()]
    if samples.drop_name is not None:
        labels = dropped(labels, samples.drop_name[rows])
        if len({*map(label_sets.key, labels)}) < len(labels):
            raise_duplicate()
    order = label_sets.order(labels)
    rows = rows[order]
    first, last = window.first[rows, 0], window.last[rows, 0]
    offsets = np.concatenate([[0], np.cumsum(last - first)])
    places = np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], last - first)
    return Samples(
        [labels[place] for place in order],
        offsets,
        samples.times[places],
        samples.values[places],
        None if samples.histogram_of is None else samples.histogram_of[places],
        samples.histograms,
    )


def as_samples(matrix: Matrix, times: Ints) -> Samples:
    """A subquery's values as samples at its own times.

    What histograms say of counter resets is forgotten: samples may have been skipped, or be there twice.
    """
    present = matrix.present
    rows, steps = np.nonzero(present)
    histograms = matrix.histograms
    return Samples(
        matrix.labels,
        np.concatenate([[0], np.cumsum(present.sum(axis=1))]),
        times[steps],
        matrix.values[rows, steps],
        None if matrix.histogram_of is None else matrix.histogram_of[rows, steps],
        None if histograms is None else _forget_resets(histograms),
        matrix.drop_name,
    )


def _forget_resets(histograms: Histograms) -> Histograms:
    hint = histograms.counter_reset
    return replace(histograms, counter_reset=np.where((hint == _RESET) | (hint == _NO_RESET), 0, hint))


def without_stale(samples: Samples) -> Samples:
    """The samples but for stale markers."""
    stale = _stale(samples.values)
    if not stale.any():
        return samples
    kept = ~stale
    return replace(
        samples,
        offsets=np.concatenate([[0], np.cumsum(kept)])[samples.offsets],
        times=samples.times[kept],
        values=samples.values[kept],
        histogram_of=None if samples.histogram_of is None else samples.histogram_of[kept],
    )


def _stale(values: Floats) -> Bools:
    return np.equal(values.view(np.int64), STALE_BITS)
