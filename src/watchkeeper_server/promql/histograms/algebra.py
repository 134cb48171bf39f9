"""Adding, subtracting and scaling native histograms.

Histograms with exponential and with custom buckets have no sum; which rows have none is told to the caller, who knows
what they were to be. Other remarks are made here.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.histograms.columns import GAUGE, concat, entries, splits_of, take
from watchkeeper_server.promql.histograms.layouts import combine
from watchkeeper_server.promql.histograms.members import Members, joint_hints, mixed_kinds
from watchkeeper_server.promql.tree import Span
from watchkeeper_server.promql.values import Bools, Floats, Histograms, Ints

COLLISION = "PromQL warning: conflicting counter resets during histogram "
RECONCILED = "PromQL info: mismatched custom buckets were reconciled during "


@np.errstate(all="ignore")
def scale(h: Histograms, factors: Floats) -> Histograms:
    """Everything that is counted times its row's factor; what comes of a negative factor is a gauge."""
    return replace(
        h,
        count=h.count * factors,
        sum=h.sum * factors,
        zero_count=h.zero_count * factors,
        positive_counts=h.positive_counts * np.repeat(factors, np.diff(h.positive_splits)),
        negative_counts=h.negative_counts * np.repeat(factors, np.diff(h.negative_splits)),
        counter_reset=np.where(factors < 0, GAUGE, h.counter_reset),
    )


@np.errstate(all="ignore")
def divide(h: Histograms, divisors: Floats) -> Histograms:
    """Everything that is counted by its row's divisor; where that is 0, no bucket is left but the zero bucket."""
    divided = replace(
        h,
        count=h.count / divisors,
        sum=h.sum / divisors,
        zero_count=h.zero_count / divisors,
        positive_counts=h.positive_counts / np.repeat(divisors, np.diff(h.positive_splits)),
        negative_counts=h.negative_counts / np.repeat(divisors, np.diff(h.negative_splits)),
        counter_reset=np.where(divisors < 0, GAUGE, h.counter_reset),
    )
    return divided if divisors.all() else _without_buckets(divided, divisors == 0)


def _without_buckets(h: Histograms, rows: Bools) -> Histograms:
    def left(splits: Ints, counts: Floats) -> tuple[Ints, Floats]:
        lengths = np.where(rows, 0, np.diff(splits))
        return splits_of(lengths), counts[entries(splits[:-1], lengths)]

    positive_splits, positive_counts = left(h.positive_splits, h.positive_counts)
    negative_splits, negative_counts = left(h.negative_splits, h.negative_counts)
    return replace(
        h,
        positive_splits=positive_splits,
        positive_counts=positive_counts,
        negative_splits=negative_splits,
        negative_counts=negative_counts,
    )


def add(a: Histograms, b: Histograms, context: Context) -> tuple[Histograms, Bools]:
    """Row by row the sum, and which rows have one: exponential and custom buckets have not."""
    return _pairwise(a, b, 1.0, "addition", context)


def subtract(a: Histograms, b: Histograms, context: Context) -> tuple[Histograms, Bools]:
    """Row by row the difference, a gauge, and which rows have one: exponential and custom buckets have not."""
    result, possible = _pairwise(a, b, -1.0, "subtraction", context)
    return replace(result, counter_reset=np.full(len(result), GAUGE)), possible


def _pairwise(a: Histograms, b: Histograms, sign: float, operation: str, context: Context) -> tuple[Histograms, Bools]:
    n = len(a)
    members = Members(
        np.stack([np.arange(n), n + np.arange(n)], axis=1).ravel(),
        np.repeat(np.arange(n), 2),
        n,
        np.tile([1.0, sign], n),
    )
    return _joined(concat([a, b]), members, operation, context, context.span, exactly=False)


def sum_groups(h: Histograms, group_of_row: Ints, groups: int, context: Context) -> tuple[Histograms, Bools]:
    """The sum of each group's rows, and which groups have one: mixed exponential and custom buckets have not.

    A group without rows is an empty histogram.
    """
    members = Members.of(np.arange(len(h)), group_of_row, groups)
    return sum_members(h, members, context)


def avg_groups(h: Histograms, group_of_row: Ints, groups: int, context: Context) -> tuple[Histograms, Bools]:
    """The mean of each group's rows, else as `sum_groups`."""
    members = Members.of(np.arange(len(h)), group_of_row, groups)
    return avg_members(h, members, context)


def operand(context: Context) -> Span:
    """What an aggregation or a function is of."""
    return context.arguments[0] if context.arguments else context.span


def sum_members(h: Histograms, members: Members, context: Context) -> tuple[Histograms, Bools]:
    """The sum of each group's members, and which groups have one."""
    return _joined(h, members, "aggregation", context, operand(context), exactly=True)


def avg_members(h: Histograms, members: Members, context: Context) -> tuple[Histograms, Bools]:
    """The mean of each group's members, and which groups have one."""
    total, possible = sum_members(h, members, context)
    sizes = np.maximum(np.bincount(members.group, minlength=members.groups), 1).astype(np.float64)
    mean = divide(total, sizes)
    overflowed = _overflowed(total)
    if not overflowed.any():
        return mean, possible
    # A sum that is too large for a float may still have a mean: add what each member contributes to that.
    some = members.where(overflowed & possible)
    parts = combine(h, replace(some, weight=1 / sizes[some.group]), exactly=True).histograms
    parts = replace(parts, counter_reset=total.counter_reset)
    return take(concat([mean, parts]), np.arange(members.groups) + np.where(overflowed, members.groups, 0)), possible


def _overflowed(h: Histograms) -> Bools:
    bad = ~(np.isfinite(h.count) & np.isfinite(h.sum) & np.isfinite(h.zero_count))
    for splits, counts in ((h.positive_splits, h.positive_counts), (h.negative_splits, h.negative_counts)):
        bad[np.repeat(np.arange(len(h)), np.diff(splits))[~np.isfinite(counts)]] = True
    return bad


@np.errstate(all="ignore")
def _joined(
    h: Histograms, members: Members, operation: str, context: Context, span: Span, *, exactly: bool
) -> tuple[Histograms, Bools]:
    """The weighted sum of each group's members, and which groups have one."""
    possible = ~mixed_kinds(h, members)
    members = members if possible.all() else members.where(possible)
    hints, collided = joint_hints(h, members)
    result, reconciled = combine(h, members, exactly=exactly)
    if collided.any():
        context.annotations.warn(COLLISION + operation, span)
    if reconciled.any():
        context.annotations.inform(RECONCILED + operation, span)
    return replace(result, counter_reset=hints), possible
