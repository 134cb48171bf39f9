"""Native histograms at the ends of windows, for `anchored` and `smoothed` selectors.

What is made of them are samples at both ends, so that functions of windows need not know: what a counter is by its
hints, and where it was reset, is said of the samples made.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.ends import Ends
from watchkeeper_server.promql.histograms.between import between
from watchkeeper_server.promql.histograms.columns import CUSTOM, GAUGE, NOT_RESET, RESET, concat, take
from watchkeeper_server.promql.histograms.resets import is_reset
from watchkeeper_server.promql.histograms.windows import MIXED_BUCKETS, MIXED_TYPES, NOT_COUNTER, warn_of_series
from watchkeeper_server.promql.values import Bools, Histograms, Ints, Matrix, Samples


def usable(samples: Samples, ends: Ends, context: Context, *, counter: bool) -> Ends:
    """The windows without those that mix floats and histograms, or kinds of buckets; these are warned of."""
    h, row = samples.histograms, samples.histogram_of
    if h is None or row is None:
        return ends
    found = _counted(row >= 0, ends.oldest, ends.newest + 1)
    mixed = (found > 0) & (found <= ends.newest - ends.oldest)
    warn_of_series(samples.labels, ends.row[mixed], MIXED_TYPES, context)
    ends = ends.where(~mixed)
    kind = _of_rows(h.schema == CUSTOM, row)
    customs = _counted(kind, ends.first, ends.last + 1)
    mixed = (customs > 0) & (customs <= ends.last - ends.first)
    warn_of_series(samples.labels, ends.row[mixed], MIXED_BUCKETS, context)
    ends = ends.where(~mixed)
    if counter:
        gauges = _counted(_of_rows(h.counter_reset == GAUGE, row), ends.first, ends.last + 1)
        warn_of_series(samples.labels, ends.row[gauges > 0], NOT_COUNTER, context)
    return ends


def _of_rows(mask: Bools, row: Ints) -> Bools:
    """Which samples are histograms that are marked."""
    return np.asarray(mask[row] & (row >= 0))


def _counted(mask: Bools, first: Ints, last: Ints) -> Ints:
    """How many are marked from each first place to before the last."""
    until = np.concatenate([[0], np.cumsum(mask)])
    return np.asarray(until[last] - until[first])


def histogram_ends(
    samples: Samples, ends: Ends, context: Context, *, counter: bool
) -> tuple[Histograms, Ints, Ints, Ints]:
    """Windows of histograms only: the rows at their starts and ends, and those of the samples after their starts.

    These last are as they were, -1, but where that sample must not be taken for a reset: the value at the start has
    been made with it. With them come all histograms, the old and then the new ones.
    """
    h, row = samples.histograms, samples.histogram_of
    assert h is not None  # noqa: S101  the windows hold histograms
    assert row is not None  # noqa: S101  likewise
    times, parts, size = samples.times, [h], len(h)
    left, right, following = row[ends.first], row[ends.last], np.full(len(ends.first), -1)

    def made(part: Histograms) -> Ints:
        nonlocal size
        parts.append(part)
        size += len(part)
        return np.arange(size - len(part), size)

    def on_line(at: Ints, place: Ints, when: Ints) -> tuple[Histograms, Bools]:
        first, second = row[place[at]], row[place[at] + 1]
        begin, end = times[place[at]], times[place[at] + 1]
        reset = is_reset(h, first, second) & counter
        return between(h, first, second, (when[at] - begin) / (end - begin), reset, context), reset

    before, after = np.flatnonzero(ends.before), np.flatnonzero(ends.after)
    if len(before):
        left[before] = made(on_line(before, ends.first, ends.start)[0])
    if len(after):
        part, reset = on_line(after, ends.last - 1, ends.end)
        hints = np.where(reset, RESET, NOT_RESET) if counter else part.counter_reset
        right[after] = made(replace(part, counter_reset=hints))
    if counter:
        # there is one sample only, or what was lost between two is known to both ends
        alone = np.flatnonzero(ends.last <= ends.first + ends.before)
        right[alone] = made(_without_reset(take(concat(parts), right[alone])))
        inside = np.flatnonzero(ends.before & (ends.last > ends.first + 1))
        following[inside] = made(_without_reset(take(h, row[ends.first[inside] + 1])))
    return concat(parts), left, right, following


def _without_reset(h: Histograms) -> Histograms:
    return replace(h, counter_reset=np.full(len(h), NOT_RESET))


def smoothed_histograms(
    samples: Samples, times: Ints, following: Ints, span: tuple[Ints, Ints], floats: Matrix, context: Context
) -> Matrix:
    """`floats` with histograms at the steps at which these are all there is.

    `following` is for each series and time the place of the first sample not earlier, `span` are the places that the
    look-back begins and the look-ahead ends at.
    """
    h, row = samples.histograms, samples.histogram_of
    if h is None or row is None or not len(samples.times):
        return floats
    oldest, newest = span
    found = _counted(row >= 0, oldest, newest)
    mixed = (found > 0) & (found < newest - oldest)
    warn_of_series(samples.labels, np.nonzero(mixed)[0], MIXED_TYPES, context)
    after = np.minimum(following, len(samples.times) - 1)
    exact = (following < newest) & (samples.times[after] == times)
    of = np.where(floats.present & (found > 0) & ~mixed, np.where(exact, row[after], row[following - 1]), -1)
    series, step = np.nonzero((of >= 0) & ~exact & (following < newest))
    second = following[series, step]
    first = second - 1
    possible = (h.schema[row[first]] == CUSTOM) == (h.schema[row[second]] == CUSTOM)
    warn_of_series(samples.labels, series[~possible], MIXED_BUCKETS, context)
    of[series[~possible], step[~possible]] = -1
    series, step, first, second = (column[possible] for column in (series, step, first, second))
    gauges = (h.counter_reset[row[first]] == GAUGE) & (h.counter_reset[row[second]] == GAUGE)
    share = (times[step] - samples.times[first]) / (samples.times[second] - samples.times[first])
    reset = is_reset(h, row[first], row[second]) & ~gauges
    line = between(h, row[first], row[second], share, reset, context)
    of[series, step] = len(h) + np.arange(len(line))
    present = floats.present & ((found == 0) | (of >= 0))
    return replace(floats, present=present, histogram_of=of, histograms=concat([h, line]))
