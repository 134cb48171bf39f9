"""How native histograms grow in windows: `rate`, `increase`, `delta`, `irate`, `idelta`. What they answer are gauges.

Source: https://prometheus.io/docs/prometheus/latest/querying/functions/#rate and below.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.histograms.algebra import RECONCILED, divide, operand, scale
from watchkeeper_server.promql.histograms.columns import CUSTOM, GAUGE, compact, entries
from watchkeeper_server.promql.histograms.custom_bounds import BoundSets
from watchkeeper_server.promql.histograms.layouts import combine
from watchkeeper_server.promql.histograms.members import Members, mixed_kinds
from watchkeeper_server.promql.histograms.resets import is_reset
from watchkeeper_server.promql.histograms.windows import MIXED_BUCKETS, NOT_COUNTER, NOT_GAUGE, Chosen, nothing
from watchkeeper_server.promql.values import Bools, Floats, Histograms, Ints, Windows


def rate(windows: Windows, context: Context) -> tuple[Ints, Histograms]:
    """By how much counters grow per second."""
    return _extrapolated(windows, context, per=windows.range / 1000, counter=True)


def increase(windows: Windows, context: Context) -> tuple[Ints, Histograms]:
    """By how much counters grow in the window."""
    return _extrapolated(windows, context, per=1, counter=True)


def delta(windows: Windows, context: Context) -> tuple[Ints, Histograms]:
    """By how much gauges differ between the ends of the window."""
    return _extrapolated(windows, context, per=1, counter=False)


def irate(windows: Windows, context: Context) -> tuple[Ints, Histograms]:
    """By how much counters grow per second between the last two samples; two floats are left to the caller."""
    return _latest(windows, context, counter=True)


def idelta(windows: Windows, context: Context) -> tuple[Ints, Histograms]:
    """By how much the last two samples differ; two floats are left to the caller."""
    return _latest(windows, context, counter=False)


@np.errstate(all="ignore")
def _extrapolated(windows: Windows, context: Context, *, per: float, counter: bool) -> tuple[Ints, Histograms]:
    h, row = windows.samples.histograms, windows.samples.histogram_of
    if h is None or row is None:
        return nothing(windows)
    chosen = Chosen(windows, 2, context)
    if counter:
        grown, possible = _grown(h, row, windows.samples.offsets, chosen, context)
    else:
        gauge = h.counter_reset[row] == GAUGE
        chosen.warn(~(gauge[chosen.first] & gauge[chosen.last]), NOT_GAUGE)
        members = _differences(row[chosen.first], row[chosen.last], np.ones(len(chosen), np.bool_))
        grown, possible = _combined(h, members, chosen, context)
    factor = _extrapolation(chosen, h.count[row[chosen.first]] if counter else None, grown.count) / per
    return chosen.answer(scale(grown, factor), possible)


def _combined(h: Histograms, members: Members, chosen: Chosen, context: Context) -> tuple[Histograms, Bools]:
    """The difference of two rows in each window, and where there is one."""
    possible = ~mixed_kinds(h, members)
    chosen.warn(~possible, MIXED_BUCKETS)
    result, reconciled = combine(h, members.where(possible))
    if reconciled.any():
        context.annotations.inform(RECONCILED + "subtraction", operand(context))
    return _gauge(result), possible


def _gauge(h: Histograms) -> Histograms:
    return compact(replace(h, counter_reset=np.full(len(h), GAUGE)))


def _differences(before: Ints, after: Ints, both: Bools) -> Members:
    """The later rows, less the earlier ones where both count."""
    n = len(after)
    each = np.arange(n)
    return Members.of(
        np.concatenate([after, before[both]]),
        np.concatenate([each, each[both]]),
        n,
        np.concatenate([np.ones(n), np.full(np.count_nonzero(both), -1.0)]),
    )


def _grown(h: Histograms, row: Ints, offsets: Ints, chosen: Chosen, context: Context) -> tuple[Histograms, Bools]:
    """By how much counters grew in each window, and where that can be told.

    It is the last histogram less the first, plus each one after which the counter was reset. The first is of no account
    if that is after it, whatever its layout. Those in between are not coarser, as a finer one after them is a reset.
    """
    n, first, last = len(chosen), chosen.first, chosen.last
    reset = _resets(h, row, offsets)
    begin = first + reset[first + 1]
    at = np.flatnonzero(reset)
    low = np.searchsorted(at, first + 2)
    resets = np.searchsorted(at, last, "right") - low
    lost = row[at[entries(low, resets)] - 1]
    each = np.arange(n)
    members = Members.of(
        np.concatenate([row[last], row[begin], lost]),
        np.concatenate([each, each, np.repeat(each, resets)]),
        n,
        np.concatenate([np.ones(n), np.where(begin > first, 0.0, -1.0), np.ones(len(lost))]),
    )
    gauges = np.concatenate([[0], np.cumsum((h.counter_reset[row] == GAUGE) & (row >= 0))])
    chosen.warn(gauges[last + 1] > gauges[first], NOT_COUNTER)
    custom = np.concatenate([[0], np.cumsum((h.schema[row] == CUSTOM) & (row >= 0))])
    customs = custom[last + 1] - custom[begin]
    possible = (customs == 0) | (customs == last + 1 - begin)
    chosen.warn(~possible, MIXED_BUCKETS)
    members = members.where(possible)
    result, reconciled = combine(h, members)
    if reconciled.any():
        _tell_reconciled(h, members.where(reconciled), context)
    return _gauge(result), possible


def _resets(h: Histograms, row: Ints, offsets: Ints) -> Bools:
    """At which samples a counter was reset since the one before, bool[samples + 1]."""
    reset = np.zeros(len(row) + 1, np.bool_)
    follows = np.concatenate([[False], (row[1:] >= 0) & (row[:-1] >= 0)])
    follows[offsets[:-1][offsets[:-1] < len(row)]] = False
    at = np.flatnonzero(follows)
    reset[at] = is_reset(h, row[at - 1], row[at])
    return reset


def _tell_reconciled(h: Histograms, members: Members, context: Context) -> None:
    """Say whether custom bounds differed between the ends of a window, or at a reset within, or both."""
    sets = BoundSets()
    numbers = sets.numbers(h, members.rows)
    heads = members.heads
    subtracted = numbers[heads] != numbers[heads + 1]
    common = np.zeros(members.groups, np.int64)
    common[members.group[heads]] = sets.shared(numbers[heads], numbers[heads + 1])
    within = np.ones(len(numbers), np.bool_)
    within[heads] = within[heads + 1] = False
    if subtracted.any():
        context.annotations.inform(RECONCILED + "subtraction", operand(context))
    if (numbers != common[members.group])[within].any():
        context.annotations.inform(RECONCILED + "addition", operand(context))


def _extrapolation(chosen: Chosen, first_count: Floats | None, growth: Floats) -> Floats:
    """What growth between the samples is multiplied by to be that of the whole window.

    As for floats: to the window's ends if a sample would be due there, else by half the usual distance; a counter not
    further back than to where it, by its count, was zero.
    """
    windows = chosen.windows
    first, last = windows.samples.times[chosen.first], windows.samples.times[chosen.last]
    sampled = (last - first) / 1000
    usual = sampled / (chosen.last - chosen.first)
    to_start = (first - windows.starts[chosen.steps]) / 1000
    to_end = (windows.ends[chosen.steps] - last) / 1000
    to_start = np.where(to_start >= usual * 1.1, usual / 2, to_start)
    to_end = np.where(to_end >= usual * 1.1, usual / 2, to_end)
    if first_count is not None:
        to_zero = np.where((growth > 0) & (first_count >= 0), sampled * (first_count / growth), np.inf)
        to_start = np.minimum(to_start, to_zero)
    factor: Floats = (sampled + to_start + to_end) / sampled
    return factor


@np.errstate(all="ignore")
def _latest(windows: Windows, context: Context, *, counter: bool) -> tuple[Ints, Histograms]:
    h, row = windows.samples.histograms, windows.samples.histogram_of
    if h is None or row is None:
        return nothing(windows)
    two = windows.last - windows.first >= 2  # noqa: PLR2004  what there is between
    chosen = Chosen(replace(windows, first=np.where(two, windows.last - 2, windows.last)), 2, context)
    before, after = row[chosen.first], row[chosen.last]
    gauges = (h.counter_reset[before] == GAUGE).astype(np.int64) + (h.counter_reset[after] == GAUGE)
    if counter:
        chosen.warn(gauges > 0, NOT_COUNTER)
        both = ~is_reset(h, before, after)
    else:
        chosen.warn(gauges < 2, NOT_GAUGE)  # noqa: PLR2004  both
        both = np.ones(len(chosen), np.bool_)
    result, possible = _combined(h, _differences(before, after, both), chosen, context)
    if counter:
        times = windows.samples.times
        result = divide(result, (times[chosen.last] - times[chosen.first]) / 1000)
    return chosen.answer(result, possible)
