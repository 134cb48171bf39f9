"""`sum by (…) (…)` and its like: many series become one for each group, or fewer of the same.

Rows are sorted by group once; what follows is numpy over groups and steps. Only what sorts values loops, over groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from watchkeeper_server.promql import histograms as native
from watchkeeper_server.promql import labels as label_sets
from watchkeeper_server.promql import numbers
from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.errors import ExecutionError
from watchkeeper_server.promql.hashing import hash_of
from watchkeeper_server.promql.matrices import marked, rows_of
from watchkeeper_server.promql.quoting import quote
from watchkeeper_server.promql.tree import Aggregation, Span
from watchkeeper_server.promql.values import METRIC_NAME, Bools, Floats, Ints, Labels, Matrix, Scalar, Text

_MOST_HASH = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Groups:
    """Which rows of `matrix` belong together: all rows, sorted by group and else as before, and where groups start."""

    matrix: Matrix
    labels: list[Labels]
    rows: Ints
    starts: Ints

    @property
    def sizes(self) -> Ints:
        """How many rows each has."""
        return np.diff(np.append(self.starts, len(self.rows)))

    @property
    def slices(self) -> list[Ints]:
        """The rows of each."""
        return np.split(self.rows, self.starts[1:])


def aggregate(node: Aggregation, matrix: Matrix, param: Scalar | Text | None, context: Context) -> Matrix:
    """`node` over the values of its expression and of its parameter.

    The context's `arguments` are where these two were written, the expression first.

    Raises:
        ExecutionError: the parameter cannot be used.
    """
    if isinstance(param, Text):
        return _count_values(node, matrix, param.value, context)
    if not matrix.labels:
        return matrix
    groups = _grouped(node, matrix)
    if param is not None:
        made = _WITH_PARAM[node.op](node.op, groups, param.values, context)
    else:
        made = _OF_GROUPS[node.op](node.op, groups, context)
    if matrix.drop_name is None or len(made.labels) != len(groups.labels) or made.drop_name is not None:
        return made
    return replace(made, drop_name=np.logical_or.reduceat(marked(matrix)[groups.rows], groups.starts))


def _grouped(node: Aggregation, matrix: Matrix) -> Groups:
    number, count = label_sets.numbered(
        [*map(label_sets.grouper(on=not node.without, names=node.grouping), matrix.labels)]
    )
    rows = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[rows], np.arange(count))
    firsts = [matrix.labels[row] for row in rows[starts].tolist()]
    if node.without:
        names = {*node.grouping, METRIC_NAME}
        return Groups(matrix, [label_sets.without(each, names) for each in firsts], rows, starts)
    return Groups(matrix, [label_sets.keep(each, node.grouping) for each in firsts], rows, starts)


def _floats(matrix: Matrix) -> Bools:
    return matrix.present if matrix.histogram_of is None else matrix.present & (matrix.histogram_of < 0)


def _histograms(matrix: Matrix) -> Bools:
    return np.zeros_like(matrix.present) if matrix.histogram_of is None else matrix.present & (matrix.histogram_of >= 0)


def _remark_ignored(op: str, matrix: Matrix, span: Span, context: Context) -> None:
    if _histograms(matrix).any():
        context.annotations.inform(f"PromQL info: ignored histogram in {op} aggregation", span)


def _sums(values: Floats, starts: Ints) -> tuple[Floats, Floats]:
    """The sum of each group of rows and what rounding lost of it, to be added last; both float64[groups, steps].

    Pairs of rows are added until each group is one row; as exact as Kahan's summation, but only log2(rows) deep.
    """
    sums, lost = values, np.zeros_like(values)
    sizes = np.diff(np.append(starts, len(values)))
    while sizes.max() > 1:
        halves = (sizes + 1) // 2
        next_starts = np.cumsum(halves) - halves
        pair = 2 * (np.arange(halves.sum()) - np.repeat(next_starts, halves))
        left = np.repeat(starts, halves) + pair
        single = pair + 1 == np.repeat(sizes, halves)
        right = np.where(single, left, left + 1)
        first, second = sums[left], sums[right]
        second[single] = 0
        sums = first + second
        of_second = sums - first
        error = (first - (sums - of_second)) + (second - of_second)
        error[~np.isfinite(sums)] = 0
        error += lost[left]
        error[~single] += lost[right[~single]]
        lost, starts, sizes = error, next_starts, halves
    return sums, lost


def _mean_of(values: Floats, counts: Ints, groups: Groups) -> Floats:
    """The mean of each group; `values` are 0 where they do not count."""
    sums, lost = _sums(values, groups.starts)
    if np.isfinite(sums).all():
        return sums / counts + lost / counts
    parts, lost_of_parts = _sums(values / np.repeat(counts, groups.sizes, axis=0), groups.starts)
    return np.where(np.isfinite(sums), sums / counts + lost / counts, parts + lost_of_parts)


def _sum_of(values: Floats, counts: Ints, groups: Groups) -> Floats:
    sums, lost = _sums(values, groups.starts)
    if np.isfinite(sums).all():
        return sums + lost
    # what overflows on the way may still have a sum
    return np.where(np.isfinite(sums), sums + lost, _mean_of(values, counts, groups) * counts)


def _variance(values: Floats, present: Bools, counts: Ints, groups: Groups) -> Floats:
    mean = _mean_of(np.where(present, values, 0.0), counts, groups)
    distance = np.where(present, values - np.repeat(mean, groups.sizes, axis=0), 0.0)
    return np.add.reduceat(distance * distance, groups.starts, axis=0) / counts


# Of values, NaN where absent; presence; how many of each group and step; groups.
_OF_FLOATS: Mapping[str, Callable[[Floats, Bools, Ints, Groups], Floats]] = {
    "min": lambda values, _present, _counts, groups: np.fmin.reduceat(values, groups.starts, axis=0),
    "max": lambda values, _present, _counts, groups: np.fmax.reduceat(values, groups.starts, axis=0),
    "stdvar": _variance,
    "stddev": lambda values, present, counts, groups: np.sqrt(_variance(values, present, counts, groups)),
}


def _of_floats(op: str, groups: Groups, context: Context) -> Matrix:
    _remark_ignored(op, groups.matrix, context.arguments[0], context)
    present = _floats(groups.matrix)[groups.rows]
    counts = np.add.reduceat(present, groups.starts, axis=0, dtype=np.int64)
    values = np.where(present, groups.matrix.values[groups.rows], np.nan)
    return Matrix(groups.labels, _OF_FLOATS[op](values, present, counts, groups), counts > 0)


def _sum_or_avg(op: str, groups: Groups, context: Context) -> Matrix:
    present = _floats(groups.matrix)[groups.rows]
    counts = np.add.reduceat(present, groups.starts, axis=0, dtype=np.int64)
    values = np.where(present, groups.matrix.values[groups.rows], 0.0)
    floats = Matrix(groups.labels, (_sum_of if op == "sum" else _mean_of)(values, counts, groups), counts > 0)
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


def _quantile(op: str, groups: Groups, quantiles: Floats, context: Context) -> Matrix:
    for wrong in (quantiles[np.isnan(quantiles)], quantiles[quantiles > 1], quantiles[quantiles < 0]):
        if len(wrong):
            worst = numbers.general(float(wrong[np.abs(wrong).argmax()]))
            text = f"PromQL warning: quantile value should be between 0 and 1, got {worst}"
            context.annotations.warn(text, context.arguments[1])
    _remark_ignored(op, groups.matrix, context.arguments[0], context)
    present = _floats(groups.matrix)
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


def _limits(values: Floats, most: int) -> Ints | None:
    """How many to keep at each step, at most `most`; None where never any.

    Raises:
        ExecutionError: that is no number.
    """
    if values.max() < 1:
        return None
    if np.isnan(values).any():
        raise ExecutionError("Parameter value is NaN")
    least, greatest = float(values.min()), float(values.max())
    if least <= -(2**63):
        raise ExecutionError(f"Scalar value {numbers.general(least)} underflows int64")
    if greatest >= 2**63:
        raise ExecutionError(f"Scalar value {numbers.general(greatest)} overflows int64")
    return np.minimum(values, most).astype(np.int64)


def _ranked(op: str, groups: Groups, param: Floats, context: Context) -> Matrix:
    """The series with the `param` greatest or least values of each group at each step, NaN last, and equals in turn."""
    matrix = groups.matrix
    limits = _limits(param, len(matrix.labels))
    if limits is None:
        return rows_of(matrix, np.zeros(0, np.int64))
    _remark_ignored(op, matrix, context.span, context)
    present = _floats(matrix)
    # whole numbers in the order of the floats, with NaN and then absence behind them; adding 0 makes -0 into 0
    bits = ((-matrix.values if op == "topk" else matrix.values) + 0.0).view(np.int64)
    order = np.where(bits < 0, bits ^ np.iinfo(np.int64).max, bits)
    order[np.isnan(matrix.values)] = np.iinfo(np.int64).max - 1
    order[~present] = np.iinfo(np.int64).max
    ranks = np.empty(order.shape, np.int64)
    for rows in groups.slices:
        ascending = np.argsort(order[rows], axis=0, kind="stable")
        of_group = np.empty(ascending.shape, np.int64)
        np.put_along_axis(of_group, ascending, np.arange(len(rows))[:, None], axis=0)
        ranks[rows] = of_group
    kept = Matrix(matrix.labels, matrix.values, present & (ranks < limits), drop_name=matrix.drop_name)
    if len(limits) > 1:
        return kept
    # an instant query shows them in their order
    by_rank = groups.rows[np.lexsort((ranks[groups.rows, 0], np.repeat(np.arange(len(groups.starts)), groups.sizes)))]
    return rows_of(kept, by_rank[kept.present[by_rank, 0]])


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


def _limit_ratio(_op: str, groups: Groups, ratios: Floats, context: Context) -> Matrix:
    """The share `ratios` of all series, those whose labels hash low; with a negative ratio those that hash high."""
    matrix = groups.matrix
    if not ratios.any():
        return rows_of(matrix, np.zeros(0, np.int64))
    if np.isnan(ratios).any():
        raise ExecutionError("Ratio value is NaN")
    for worst, bound in ((float(ratios.max()), 1), (float(-ratios.min()), -1)):
        if worst > 1:
            text = "PromQL warning: ratio value should be between -1 and 1"
            text += f", got {numbers.general(worst * bound)}, capping to {bound}"
            context.annotations.warn(text, context.arguments[1])
    hashes = np.array([hash_of(labels) / _MOST_HASH for labels in matrix.labels])[:, None]
    kept = matrix.present & np.where(ratios >= 0, hashes < ratios, hashes >= 1 + np.maximum(ratios, -1))
    return replace(matrix, present=kept)


_WITH_PARAM: Mapping[str, Callable[[str, Groups, Floats, Context], Matrix]] = {
    "quantile": _quantile,
    "topk": _ranked,
    "bottomk": _ranked,
    "limitk": _limitk,
    "limit_ratio": _limit_ratio,
}


def _count_values(node: Aggregation, matrix: Matrix, label: str, context: Context) -> Matrix:
    """One series for each value of each group: how many have it; `label` is the label that tells which."""
    if not label:
        raise ExecutionError(f'invalid label name "{label}"')
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
