"""Selectors that know values at the very ends of their windows: `anchored` and `smoothed`, experiments of Prometheus 3.

An anchored window starts with the last value before it and ends with its own last one; a smoothed one starts and ends
with values on the lines between the samples around its ends.
"""

from __future__ import annotations

import numpy as np

from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.ends import Ends, ends_of
from watchkeeper_server.promql.errors import ExecutionError
from watchkeeper_server.promql.extended_histograms import histogram_ends, smoothed_histograms, usable
from watchkeeper_server.promql.selectors import counts_until, without_stale
from watchkeeper_server.promql.tree import VectorSelector
from watchkeeper_server.promql.values import Bools, Floats, Ints, Matrix, Samples, Windows

_ANCHORED = ("changes", "delta", "increase", "rate", "resets")
_SMOOTHED = ("delta", "increase", "rate")
_OF_COUNTERS = frozenset({"increase", "rate"})
_OF_STEPS = frozenset({"changes", "resets"})


def smoothed_vector(samples: Samples, times: Ints, lookback: int, context: Context) -> Matrix:
    """The value of each series at each of the times: on the line between the samples around it, or the last one.

    `samples` go on for `lookback` milliseconds after the last time.
    """
    samples = without_stale(samples)
    following = counts_until(samples, times - 1)
    oldest, newest = counts_until(samples, times - lookback), counts_until(samples, times + lookback)
    known, continued = following > oldest, following < newest
    if not len(samples.times):
        return Matrix(samples.labels, np.zeros(known.shape), known)
    last, after = following - 1, np.minimum(following, len(samples.times) - 1)
    exact = continued & (samples.times[after] == times)
    between = _on_line(samples, last, after, np.broadcast_to(times, last.shape), counter=False)
    values = np.where(exact, samples.values[after], np.where(continued, between, samples.values[last]))
    floats = Matrix(samples.labels, values, known | exact)
    return smoothed_histograms(samples, times, following, (oldest, newest), floats, context)


def extended_windows(
    selector: VectorSelector,
    function: str | None,
    samples: Samples,
    times: Ints,
    length: int,
    lookback: int,
    context: Context,
) -> Windows:
    """Windows of `length` milliseconds with samples at both of their ends; each has samples of its own.

    `samples` go back and, for `smoothed`, go on for `lookback` milliseconds more than the windows. `function` is what
    the windows are for, None if they are the answer.

    Raises:
        ExecutionError: the function does not know what to do with them.
    """
    modifier, allowed = ("smoothed", _SMOOTHED) if selector.smoothed else ("anchored", _ANCHORED)
    if function is not None and function not in allowed:
        names = ", ".join(allowed)
        raise ExecutionError(f"{modifier} modifier can only be used with: {names} - not with {function}")
    samples = without_stale(samples)
    starts = times - length
    if function in _OF_STEPS:  # the sample before is enough, wherever it is
        begin, end = counts_until(samples, starts), counts_until(samples, times)
        before = np.maximum(begin - 1, counts_until(samples, starts - lookback))
        return Windows(samples, np.where(end > begin, before, end), end, starts, times, length)
    counter = function in _OF_COUNTERS
    ends = ends_of(samples, starts, times, lookback, smoothed=selector.smoothed)
    ends = usable(samples, ends, context, counter=counter)
    made, last, sizes = _with_ends(samples, ends, len(times), context, counter=counter)
    return Windows(made, last - sizes, last, starts, times, length)


def _with_ends(
    samples: Samples, ends: Ends, steps: int, context: Context, *, counter: bool
) -> tuple[Samples, Ints, Ints]:
    """The samples inside of each window and one at each of its ends; where those of each end and how many they are."""
    left, right = _edges(samples, ends, counter=counter)
    native = _natives(samples, ends)
    inner = ends.first + (native | (samples.times[ends.first] <= ends.start))
    behind = native | (samples.times[ends.last] >= ends.end)
    counts = np.maximum(ends.last - behind - inner + 1, 0)
    until = np.cumsum(counts + 2)
    begins = until - counts - 2
    nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    to, source = np.repeat(begins + 1, counts) + nth, np.repeat(inner, counts) + nth
    size = int(until[-1]) if len(until) else 0
    times, values = np.empty(size, np.int64), np.empty(size)
    times[begins], times[until - 1], times[to] = ends.start, ends.end, samples.times[source]
    values[begins], values[until - 1], values[to] = left, right, samples.values[source]
    histograms, row = None, None
    if native.any() and samples.histogram_of is not None:
        some = ends.where(native)
        histograms, first, last, following = histogram_ends(samples, some, context, counter=counter)
        row = np.full(size, -1)
        row[to] = samples.histogram_of[source]
        row[begins[native]], row[until[native] - 1] = first, last
        known = following >= 0
        row[begins[native][known] + 1] = following[known]
    sizes = np.zeros((len(samples.labels), steps), np.int64)
    sizes[ends.row, ends.step] = counts + 2
    last_of = np.cumsum(sizes.reshape(-1)).reshape(sizes.shape)
    offsets = np.concatenate([[0], last_of[:, -1]])
    return Samples(samples.labels, offsets, times, values, row, histograms), last_of, sizes


def _natives(samples: Samples, ends: Ends) -> Bools:
    """Which windows hold histograms; they hold nothing else then."""
    if samples.histogram_of is None:
        return np.zeros(len(ends.first), np.bool_)
    return np.asarray(samples.histogram_of[ends.first] >= 0)


def _edges(samples: Samples, ends: Ends, *, counter: bool) -> tuple[Floats, Floats]:
    """The floats at the starts and ends of the windows."""
    first, last = ends.first, ends.last
    on_line = _on_line(samples, first, np.minimum(first + 1, last), ends.start, counter=counter)
    left = np.where(ends.before, on_line, samples.values[first])
    on_line = _on_line(samples, np.maximum(last - 1, 0), last, ends.end, counter=counter)
    return left, np.where(ends.after, on_line, samples.values[last])


def _on_line(samples: Samples, before: Ints, after: Ints, times: Ints, *, counter: bool) -> Floats:
    """The value at each time on the line between two samples; a counter that was reset between them starts from 0."""
    low, high = samples.values[before], samples.values[after]
    if counter:
        low = np.where(high < low, 0.0, low)
    distance = samples.times[after] - samples.times[before]
    value: Floats = low + (high - low) * (times - samples.times[before]) / distance
    return value
