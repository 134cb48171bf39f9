"""Sums of windows of whole numbers: differences of running sums, at a cost that does not grow with the windows.

Most of what is measured is counted. Running sums of whole numbers are exact, and so is the difference of two: nothing
is lost that compensated summation would have to keep, and both have the same answer to the last bit.
"""

from __future__ import annotations

import numpy as np

from watchkeeper_server.promql.values import Bools, Floats, Windows

# Whole numbers up to twice as much are floats, and a difference is at most so much.
_MOST = 2.0**52
# Running sums are worth their cost if windows hold all samples so many times, and so many are not made up for gaps.
_TIMES = 2


def whole_sums(windows: Windows) -> tuple[Floats, Bools]:
    """The sum of each window, float64[series, steps], and of which series it is known in this way."""
    samples, count = windows.samples, len(windows.samples.values)
    begins, lengths = samples.offsets[:-1, None], np.diff(samples.offsets)[:, None]
    longest = int(lengths.max(initial=0))
    nothing = np.zeros(windows.first.shape), np.zeros(len(lengths), np.bool_)
    if longest * len(lengths) > _TIMES * count or int((windows.last - windows.first).sum()) < _TIMES * count:
        return nothing
    place = np.arange(longest)
    values = samples.values.take(begins + place, mode="clip")
    np.copyto(values, 0.0, where=place >= lengths)
    known = (values == np.trunc(values)).all(axis=1)
    if not known.any():
        return nothing
    running = np.zeros((len(lengths), longest + 1))
    np.add.accumulate(values, axis=1, out=running[:, 1:])
    known &= (np.abs(running) <= _MOST).all(axis=1)
    to_running = np.arange(len(lengths))[:, None] * (longest + 1) - begins
    sums = running.take(windows.last + to_running) - running.take(windows.first + to_running)
    return sums, known
