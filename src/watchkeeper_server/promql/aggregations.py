"""`sum by (…) (…)` and its like: many series become one for each group, or fewer of the same.

Rows are sorted by group once; what follows is numpy over groups and steps. Only what sorts values loops, over groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from watchkeeper_server.promql import histograms as native
from watchkeeper_server.promql import labels as label_sets
from watchkeeper_server.promql import numbers
from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.errors import ExecutionError
from watchkeeper_server.promql.group_sums import mean_of, sum_of, variance
from watchkeeper_server.promql.groups import Groups, floats_in, grouped
from watchkeeper_server.promql.hashing import hash_of
from watchkeeper_server.promql.matrices import marked, rows_of
from watchkeeper_server.promql.quoting import quote
from watchkeeper_server.promql.tree import Aggregation, Span
from watchkeeper_server.promql.values import METRIC_NAME, Bools, Floats, Ints, Matrix, Scalar, Text

_MOST_HASH = 2**64 - 1


def aggregate(node: Aggregation, matrix: Matrix, param: Scalar | Text | None, context: Context) -> Matrix:
    """`node` over the values of its expression and of its parameter.

    The context's `arguments` are where these two were written, the expression first.

    Raises:
        ExecutionError: the parameter cannot be used.
    """
    if isinstance(param, Text):
        return _count_values(node, matrix, param.value, context)
    if param is not None:
        _CHECKS[node.op](param.values, context)
    if not matrix.labels:
        return matrix
    groups = grouped(node, matrix)
    if param is not None:
        made = _WITH_PARAM[node.op](node.op, groups, param.values, context)
    else:
        made = _OF_GROUPS[node.op](node.op, groups, context)
    if matrix.drop_name is None or len(made.labels) != len(groups.labels) or made.drop_name is not None:
        return made
    return replace(made, drop_name=np.logical_or.reduceat(marked(matrix)[groups.rows], groups.starts))


def _histograms(matrix: Matrix) -> Bools:
    return np.zeros_like(matrix.present) if matrix.histogram_of is None else matrix.present & (matrix.histogram_of >= 0)


def _remark_ignored(op: str, matrix: Matrix, span: Span, context: Context) -> None:
    if _histograms(matrix).any():
        context.annotations.inform(f"PromQL info: ignored histogram in {op} aggregation", span)


# Of values, NaN where absent; presence; how many of each group and step; groups.
_OF_FLOATS: Mapping[str, Callable[[Floats, Bools, Ints, Groups], Floats]] = {
    "min": lambda values, _present, _counts, groups: np.fmin.reduceat(values[groups.rows], groups.starts, axis=0),
    "max": lambda values, _present, _counts, groups: np.fmax.reduceat(values[groups.rows], groups.starts, axis=0),
    "stdvar": variance,
    "stddev": lambda values, present, counts, groups: np.sqrt(variance(values, present, counts, groups)),
}


def _of_floats(op: str, groups: Groups, context: Context) -> Matrix:
    _remark_ignored(op, groups.matrix, context.arguments[0], context)
    present, counts = floats_in(groups.matrix), groups.counts
    values = np.where(present, groups.matrix.values, np.nan)
    return Matrix(groups.labels, _OF_FLOATS[op](values, present, counts, groups), counts > 0)


def _sum_or_avg(op: str, groups: Groups, context: Context) -> Matrix:
    present, counts, values = floats_in(groups.matrix), groups.counts, groups.matrix.values
    if not present.all():
        values = np.where(present, values, 0.0)
    made = sum_of(values, groups) if op == "sum" else mean_of(values, counts, groups)
    floats = Matrix(groups.labels, made, counts > 0)
    if groups.matrix.histogram_of is None:
        return floats
    return _with_histograms(op, groups, floats, replace(context, span=context.arguments[0]))


def _count_or_group(op: str, groups: Groups, _context: Context) -> Matrix:
    counts = np.add.reduceat(groups.matrix.present[groups.rows], groups.starts, axis=0, dtype=np.float64)
    return Matrix(groups.labels, counts if op == "count" else np.ones(counts.shape), counts > 0)


_OF_GROUPS: Mapping[str, Callable[[str, Groups, Context], Matrix]] = {
    **dict.fromkeys(("min", "max", "stddev", "stdvar"), _of_floats),
    **dict.fromkeys(("sum", "avg"), _sum_or_avg),
    **dict.fromkeys(("count", "group"), _count_or_group),
}


def _with_histograms(op: str, groups: Groups, floats: Matrix, context: Context) -> Matrix:
    """The same, with sums or means of histograms where these are; nothing where both are."""
    matrix, steps = groups.matrix, groups.matrix.present.shape[1]
    rows, at = np.nonzero(_histograms(matrix))
    if matrix.histogram_of is None or matrix.histograms is None or not len(rows):
        return floats
    group_of_row = np.empty(len(groups.rows), np.int64)
    group_of_row[groups.rows] = np.repeat(np.arange(len(groups.starts)), groups.sizes)
    cells, cell_of = np.unique(group_of_row[rows] * steps + at, return_inverse=True)
    given = native.take(matrix.histograms, matrix.histogram_of[rows, at])
    combine = native.sum_groups if op == "sum" else native.avg_groups
    combined, possible = combine(given, cell_of, len(cells), context)
    mixed = floats.present.reshape(-1)[cells]
    if mixed.any():
        text = "PromQL warning: encountered a mix of histograms and floats for aggregation"
        context.annotations.warn(text, context.span)
    for row in np.unique(rows[~possible[cell_of]]).tolist():
        text = "PromQL warning: vector contains a mix of histograms with exponential and custom buckets schemas for"
        name = quote(matrix.labels[row].get(METRIC_NAME, ""))
        context.annotations.warn(f"{text} metric name {name}", context.span)
    present, histogram_of = floats.present.copy(), np.full(floats.present.shape, -1, np.int64)
    present.reshape(-1)[cells] = possible & ~mixed
    histogram_of.reshape(-1)[cells] = np.where(possible & ~mixed, np.arange(len(cells)), -1)
    return Matrix(floats.labels, floats.values, present, histogram_of, combined)


def _check_quantiles(quantiles: Floats, context: Context) -> None:
    for wrong in (quantiles[np.isnan(quantiles)], quantiles[quantiles > 1], quantiles[quantiles < 0]):
        if len(wrong):
            worst = numbers.general(float(wrong[np.abs(wrong).argmax()]))
            text = f"PromQL warning: quantile value should be between 0 and 1, got {worst}"
            context.annotations.warn(text, context.arguments[1])


def _quantile(op: str, groups: Groups, quantiles: Floats, context: Context) -> Matrix:
    _remark_ignored(op, groups.matrix, context.arguments[0], context)
    present = floats_in(groups.matrix)
    found = [_quantiles(groups.matrix.values[rows], present[rows], quantiles) for rows in groups.slices]
    counts = np.add.reduceat(present[groups.rows], groups.starts, axis=0, dtype=np.int64)
    return Matrix(groups.labels, np.array(found), counts > 0)


def _quantiles(values: Floats, present: Bools, quantiles: Floats) -> Floats:
    """Of each column its quantile among what is present, interpolated; a NaN is less than all others."""
    nans = present & np.isnan(values)
    # absent ones sort last as NaN, so those that are NaN come first as what is least
    ascending = np.sort(np.where(present, np.where(nans, -np.inf, values), np.nan), axis=0)
    ascending[np.arange(len(values))[:, None] < nans.sum(axis=0)] = np.nan
    last = np.maximum(present.sum(axis=0) - 1, 0)
    rank = np.where((quantiles >= 0) & (quantiles <= 1), quantiles, 0.0) * last
    lower = np.floor(rank).astype(np.int64)
    columns = np.arange(values.shape[1])
    above = ascending[np.minimum(lower + 1, last), columns]
    weight = rank - lower
    result = ascending[lower, columns] * (1 - weight) + above * weight
    outside = np.where(quantiles < 0, -np.inf, np.where(quantiles > 1, np.inf, np.nan))
    return np.where((quantiles >= 0) & (quantiles <= 1), result, outside)


def _check_limits(values: Floats, _context: Context) -> None:
    if values.max() < 1:
        return
    if np.isnan(values).any():
        raise ExecutionError("Parameter value is NaN")
    least, greatest = float(values.min()), float(values.max())
    if least <= -(2**63):
        raise ExecutionError(f"Scalar value {numbers.general(least)} underflows int64")
    if greatest >= 2**63:
        raise ExecutionError(f"Scalar value {numbers.general(greatest)} overflows int64")


def _limits(values: Floats, most: int) -> Ints | None:
    """How many to keep at each step, at most `most`; None where never any."""
    return None if values.max() < 1 else np.minimum(values, most).astype(np.int64)


def _ranked(op: str, groups: Groups, param: Floats, context: Context) -> Matrix:
    """The series with the `param` greatest or least values of each group at each step, NaN last, and equals in turn."""
    matrix = groups.matrix
    limits = _limits(param, len(matrix.labels))
    if limits is None:
        return rows_of(matrix, np.zeros(0, np.int64))
    _remark_ignored(op, matrix, context.span, context)
    present = floats_in(matrix)
    # whole numbers in the order of the floats, with NaN and then absence behind them; adding 0 makes -0 into 0
    bits = ((-matrix.values if op == "topk" else matrix.values) + 0.0).view(np.int64)
    order = np.where(bits < 0, bits ^ np.iinfo(np.int64).max, bits)
    order[np.isnan(matrix.values)] = np.iinfo(np.int64).max - 1
    order[~present] = np.iinfo(np.int64).max
    chosen = np.empty_like(present)
    for rows in groups.slices:
        chosen[rows] = _least(order[rows], np.clip(limits, 0, len(rows)))
    kept = Matrix(matrix.labels, matrix.values, present & chosen, drop_name=matrix.drop_name)
    if len(limits) > 1:
        return kept
    # an instant query shows them in their order
    here = kept.present[groups.rows, 0]
    group, rows = np.repeat(np.arange(len(groups.starts)), groups.sizes)[here], groups.rows[here]
    return rows_of(kept, rows[np.lexsort((order[rows, 0], group))])


def _least(order: Ints, limits: Ints) -> Bools:
    """Of each column its `limits` least entries, of equal ones the first."""
    most = int(limits.max())
    if int(limits.min()) == len(order):
        return np.ones(order.shape, np.bool_)
    least = np.sort(np.partition(order, most - 1, axis=0)[:most], axis=0)
    last = np.where(limits > 0, least[np.maximum(limits, 1) - 1, np.arange(len(limits))], np.iinfo(np.int64).min)
    chosen = order < last
    equal = order == last
    left = limits - np.count_nonzero(chosen, axis=0)
    tied = np.flatnonzero(np.count_nonzero(equal, axis=0) > left)
    if len(tied):
        equal[:, tied] &= np.cumsum(equal[:, tied], axis=0) <= left[tied]
    chosen |= equal
    return chosen


def _limitk(_op: str, groups: Groups, param: Floats, _context: Context) -> Matrix:
    """The first `param` series of each group at each step."""
    matrix = groups.matrix
    limits = _limits(param, len(matrix.labels))
    if limits is None:
        return rows_of(matrix, np.zeros(0, np.int64))
    until = np.cumsum(matrix.present[groups.rows], axis=0, dtype=np.int64)
    before = np.repeat(until[groups.starts] - matrix.present[groups.rows[groups.starts]], groups.sizes, axis=0)
    kept = np.empty_like(matrix.present)
    kept[groups.rows] = until - before <= limits
    return replace(matrix, present=matrix.present & kept)


def _check_ratios(ratios: Floats, context: Context) -> None:
    if np.isnan(ratios).any():
        raise ExecutionError("Ratio value is NaN")
    for worst, bound in ((float(ratios.max()), 1), (float(-ratios.min()), -1)):
        if worst > 1:
            text = "PromQL warning: ratio value should be between -1 and 1"
            text += f", got {numbers.general(worst * bound)}, capping to {bound}"
            context.annotations.warn(text, context.arguments[1])


def _limit_ratio(_op: str, groups: Groups, ratios: Floats, _context: Context) -> Matrix:
    """The share `ratios` of all series, those whose labels hash low; with a negative ratio those that hash high."""
    matrix = groups.matrix
    if not ratios.any():
        return rows_of(matrix, np.zeros(0, np.int64))
    hashes = np.array([hash_of(labels) / _MOST_HASH for labels in matrix.labels])[:, None]
    kept = matrix.present & np.where(ratios >= 0, hashes < ratios, hashes >= 1 + np.maximum(ratios, -1))
    return replace(matrix, present=kept)


# What is to be said of parameters, whatever they are applied to; they raise an ExecutionError where one cannot be used.
_CHECKS: Mapping[str, Callable[[Floats, Context], None]] = {
    "quantile": _check_quantiles,
    "topk": _check_limits,
    "bottomk": _check_limits,
    "limitk": _check_limits,
    "limit_ratio": _check_ratios,
}

_WITH_PARAM: Mapping[str, Callable[[str, Groups, Floats, Context], Matrix]] = {
    "quantile": _quantile,
    "topk": _ranked,
    "bottomk": _ranked,
    "limitk": _limitk,
    "limit_ratio": _limit_ratio,
}


def _count_values(node: Aggregation, matrix: Matrix, label: str, context: Context) -> Matrix:
    """One series for each value of each group: how many have it; `label` is the label that tells which."""
    if not label_sets.is_name(label):
        raise ExecutionError(f"invalid label name {quote(label)}")
    rows, steps = np.nonzero(matrix.present)
    texts, value_of = _texts(matrix, rows, steps)
    if node.without:
        dropped = {*node.grouping, METRIC_NAME}
        bases = [label_sets.without(each, {*dropped, label}) for each in matrix.labels]
        if label in dropped:
            texts, value_of = [""], np.zeros_like(value_of)
    else:
        names = set(node.grouping) - {label}
        bases = [label_sets.keep(each, names) for each in matrix.labels]
    number, _ = label_sets.numbered([label_sets.key(each) for each in bases])
    first = np.unique(number, return_index=True)[1].tolist()
    pairs, pair_of = np.unique(number[rows] * len(texts) + value_of, return_inverse=True)
    context.require_room(len(pairs))
    labels = []
    for pair in pairs.tolist():
        base, text = bases[first[pair // len(texts)]], texts[pair % len(texts)]
        labels.append({**base, label: text} if text else base)
    shape = (len(pairs), matrix.present.shape[1])
    counts = np.bincount(pair_of * shape[1] + steps, minlength=shape[0] * shape[1]).reshape(shape)
    return Matrix(labels, counts.astype(np.float64), counts > 0)


def _texts(matrix: Matrix, rows: Ints, steps: Ints) -> tuple[list[str], Ints]:
    """What values there are, as texts that differ, and for each of these places the number of its own."""
    values = np.where(_histograms(matrix), 0.0, matrix.values)[rows, steps]
    bits, value_of = np.unique(np.where(np.isnan(values), np.nan, values).view(np.int64), return_inverse=True)
    texts = [*map(numbers.plain, bits.view(np.float64).tolist())]
    if matrix.histogram_of is None or matrix.histograms is None:
        return texts, value_of
    of_histograms = matrix.histogram_of[rows, steps]
    kinds, kind_of = np.unique(of_histograms, return_inverse=True)
    written = [native.to_text(matrix.histograms, kind) if kind >= 0 else "" for kind in kinds.tolist()]
    number, _ = label_sets.numbered(texts + written)
    return list(dict.fromkeys(texts + written)), np.where(
        of_histograms < 0, number[value_of], number[len(texts) + kind_of]
    )
