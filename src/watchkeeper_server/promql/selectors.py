"""From samples to what selectors see of them at each step: the last sample, or all of a window.

Every look-up of all series at all steps is one binary search, made for all of them at once: its cost grows with series
times steps and with the logarithm of the samples, and no sample is touched that the search does not meet.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from watchkeeper_server.promql import labels as label_sets
from watchkeeper_server.promql.values import STALE_BITS, Bools, Floats, Histograms, Ints, Matrix, Samples, Windows

NO_SAMPLES = Samples([], np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0))
_RESET, _NO_RESET = 1, 2


def counts_until(samples: Samples, times: Ints) -> Ints:
    """For each series and time the place just after its last sample not later than that; int64[series, times]."""
    begin, end = samples.offsets[:-1, None], samples.offsets[1:, None]
    found = np.repeat(begin, len(times), axis=1)
    longest = int((end - begin).max(initial=0))
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
        present &= samples.times[place] > times - lookback
        present &= ~_stale(samples.values[place])
    return place, present


def vector(samples: Samples, times: Ints, lookback: int) -> Matrix:
    """The value of each series at each of the times."""
    place, present = last_samples(samples, times, lookback)
    if not len(samples.times):
        return Matrix(samples.labels, np.zeros(place.shape), present)
    histogram_of = None
    if samples.histogram_of is not None:
        histogram_of = np.where(present, samples.histogram_of[place], -1)
    return Matrix(samples.labels, samples.values[place], present, histogram_of, samples.histograms)


def windows(samples: Samples, times: Ints, length: int) -> Windows:
    """The samples of each series in (time - length, time], stale markers left out."""
    samples = without_stale(samples)
    starts = times - length
    return Windows(samples, counts_until(samples, starts), counts_until(samples, times), starts, times, length)


def cut(window: Windows) -> Samples:
    """Only the samples of the first step's windows; series without any are left out, the others sorted by labels."""
    samples = window.samples
    rows = np.flatnonzero(window.last[:, 0] > window.first[:, 0])
    rows = rows[label_sets.order([samples.labels[row] for row in rows.tolist()])]
    first, last = window.first[rows, 0], window.last[rows, 0]
    offsets = np.concatenate([[0], np.cumsum(last - first)])
    places = np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], last - first)
    return Samples(
        [samples.labels[row] for row in rows.tolist()],
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
    return Samples(
        samples.labels,
        np.concatenate([[0], np.cumsum(kept)])[samples.offsets],
        samples.times[kept],
        samples.values[kept],
        None if samples.histogram_of is None else samples.histogram_of[kept],
        samples.histograms,
    )


def _stale(values: Floats) -> Bools:
    return np.equal(values.view(np.int64), STALE_BITS)
