"""Selectors that know values at the very ends of their windows: `anchored` and `smoothed`, experiments of Prometheus 3.

An anchored window starts with the last value before it and ends with its own last one; a smoothed one starts and ends
with values on the lines between the samples around its ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from watchkeeper_server.promql.errors import ExecutionError
from watchkeeper_server.promql.selectors import counts_until, without_stale
from watchkeeper_server.promql.tree import VectorSelector
from watchkeeper_server.promql.values import Bools, Floats, Ints, Matrix, Samples, Windows

_ANCHORED = ("changes", "delta", "increase", "rate", "resets")
_SMOOTHED = ("delta", "increase", "rate")
_OF_COUNTERS = frozenset({"increase", "rate"})
_OF_STEPS = frozenset({"changes", "resets"})


def smoothed_vector(samples: Samples, times: Ints, lookback: int) -> Matrix:
    """The value of each series at each of the times: on the line between the samples around it, or the last one.

    `samples` go on for `lookback` milliseconds after the last time.

    Raises:
        ExecutionError: there are native histograms.
    """
    samples = _floats(samples)
    following = counts_until(samples, times - 1)
    known = following > counts_until(samples, times - lookback)
    continued = following < counts_until(samples, times + lookback)
    if not len(samples.times):
        return Matrix(samples.labels, np.zeros(known.shape), known)
    last, after = following - 1, np.minimum(following, len(samples.times) - 1)
    exact = continued & (samples.times[after] == times)
    between = _on_line(samples, last, after, np.broadcast_to(times, last.shape), counter=False)
    values = np.where(exact, samples.values[after], np.where(continued, between, samples.values[last]))
    return Matrix(samples.labels, values, known | exact)


def extended_windows(
    selector: VectorSelector, function: str | None, samples: Samples, times: Ints, length: int, lookback: int
) -> Windows:
    """Windows of `length` milliseconds with samples at both of their ends; each has samples of its own.

    `samples` go back and, for `smoothed`, go on for `lookback` milliseconds more than the windows. `function` is what
    the windows are for, None if they are the answer.

    Raises:
        ExecutionError: the function does not know what to do with them, or there are native histograms.
    """
    modifier, allowed = ("smoothed", _SMOOTHED) if selector.smoothed else ("anchored", _ANCHORED)
    if function is not None and function not in allowed:
        names = ", ".join(allowed)
        raise ExecutionError(f"{modifier} modifier can only be used with: {names} - not with {function}")
    samples = _floats(samples)
    starts = times - length
    if function in _OF_STEPS:  # the sample before is enough, wherever it is
        end = counts_until(samples, times)
        oldest = counts_until(samples, starts - lookback)
        before = np.minimum(counts_until(samples, starts), end - 1) - 1
        return Windows(samples, np.minimum(np.maximum(before, oldest), end), end, starts, times, length)
    seen = _seen(samples, starts, times, lookback, smoothed=selector.smoothed)
    counter = function in _OF_COUNTERS
    left, right = samples.values[seen.first], samples.values[seen.last]
    if selector.smoothed:
        before = samples.times[seen.first] < starts[seen.step]
        on_line = _on_line(
            samples, seen.first, np.minimum(seen.first + 1, seen.last), starts[seen.step], counter=counter
        )
        left = np.where(before, on_line, left)
        after = (samples.times[seen.last] > times[seen.step]) & (seen.last > seen.oldest)
        on_line = _on_line(samples, np.maximum(seen.last - 1, 0), seen.last, times[seen.step], counter=counter)
        right = np.where(after, on_line, right)
    inner = seen.first + (samples.times[seen.first] <= starts[seen.step])
    counts = np.maximum(seen.last - (samples.times[seen.last] >= times[seen.step]) - inner + 1, 0)
    ends = np.cumsum(counts + 2)
    begins = ends - counts - 2
    made_times, made_values = np.empty(ends[-1] if len(ends) else 0, np.int64), np.empty(ends[-1] if len(ends) else 0)
    made_times[begins], made_times[ends - 1] = starts[seen.step], times[seen.step]
    made_values[begins], made_values[ends - 1] = left, right
    nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    to, source = np.repeat(begins + 1, counts) + nth, np.repeat(inner, counts) + nth
    made_times[to], made_values[to] = samples.times[source], samples.values[source]
    shape = (len(samples.labels), len(times))
    sizes = np.zeros(shape, np.int64)
    sizes[seen.row, seen.step] = counts + 2
    last = np.cumsum(sizes.reshape(-1)).reshape(shape)
    offsets = np.concatenate([[0], last[:, -1]])
    made = Samples(samples.labels, offsets, made_times, made_values)
    return Windows(made, last - sizes, last, starts, times, length)


@dataclass(frozen=True, slots=True)
class _Seen:
    """The windows that hold something: series, step, and the places of samples that matter, all of one length.

    `first` is the last sample not later than the start, if it is not older than `oldest`, else the first after it;
    `last` is the window's last sample, or for `smoothed` the first one not earlier than its end if there is one.
    """

    row: Ints
    step: Ints
    oldest: Ints
    first: Ints
    last: Ints


def _seen(samples: Samples, starts: Ints, ends: Ints, lookback: int, *, smoothed: bool) -> _Seen:
    oldest = counts_until(samples, starts - lookback)
    newest = counts_until(samples, ends + lookback if smoothed else ends) - 1
    last = np.minimum(counts_until(samples, ends - 1), newest) if smoothed else newest
    first = np.maximum(oldest, counts_until(samples, starts) - 1)
    some: Bools = newest >= oldest
    if len(samples.times):
        some &= samples.times[np.maximum(last, 0)] > starts
    row, step = np.nonzero(some)
    return _Seen(row, step, oldest[some], first[some], last[some])


def _on_line(samples: Samples, before: Ints, after: Ints, times: Ints, *, counter: bool) -> Floats:
    """The value at each time on the line between two samples; a counter that was reset between them starts from 0."""
    low, high = samples.values[before], samples.values[after]
    if counter:
        low = np.where(high < low, 0.0, low)
    distance = samples.times[after] - samples.times[before]
    value: Floats = low + (high - low) * (times - samples.times[before]) / distance
    return value


def _floats(samples: Samples) -> Samples:
    if samples.histogram_of is not None and (samples.histogram_of >= 0).any():
        raise ExecutionError("smoothed and anchored modifiers do not work with native histograms")
    return without_stale(samples)
