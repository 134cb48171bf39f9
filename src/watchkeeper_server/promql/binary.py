"""`a op b`: of scalars, of a vector and a scalar, and of two vectors whose series are matched by labels.

Which series match is found out once, from their labels; whether they do so at a step is a matter of presence, so that a
conflict counts only where both sides are there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from watchkeeper_server.promql import histograms as native
from watchkeeper_server.promql import labels as label_sets
from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.errors import ExecutionError
from watchkeeper_server.promql.matrices import joined, marked, merged, rows_of, without_names
from watchkeeper_server.promql.operators import ARITHMETIC, COMPARISONS, Cells, Outcome, combined
from watchkeeper_server.promql.tree import Binary, Cardinality, Matching
from watchkeeper_server.promql.values import METRIC_NAME, Bools, Floats, Histograms, Ints, Labels, Matrix, Scalar

_SETS = frozenset({"and", "or", "unless"})


def binary(
    node: Binary, left: Matrix | Scalar, right: Matrix | Scalar, context: Context, *, delayed_names: bool = False
) -> Matrix | Scalar:
    """`left op right`.

    Raises:
        ExecutionError: series of two vectors do not match one to one where they must, or results have the same labels.
    """
    if isinstance(left, Scalar):
        if isinstance(right, Scalar):
            return _of_scalars(node.op, left.values, right.values)
        made = _with_scalar(node, right, left.values, context, scalar_first=True)
    elif isinstance(right, Scalar):
        made = _with_scalar(node, left, right.values, context, scalar_first=False)
    else:
        return _of_two_vectors(node, left, right, context)
    return without_names(made, delayed=delayed_names) if node.op in ARITHMETIC or node.bool_ else made


def _of_two_vectors(node: Binary, left: Matrix, right: Matrix, context: Context) -> Matrix:
    matching = node.matching or Matching()
    if node.op in _SETS:
        return _of_sets(node.op, matching, left, right)
    return _of_vectors(node, matching, left, right, context)


def _of_scalars(op: str, left: Floats, right: Floats) -> Scalar:
    if op in ARITHMETIC:
        return Scalar(ARITHMETIC[op](left, right))
    return Scalar(COMPARISONS[op](left, right).astype(np.float64))


def _result(node: Binary, labels: list[Labels], outcome: Outcome, drop_name: Bools | None) -> Matrix:
    if node.bool_:
        return Matrix(labels, outcome.holds.astype(np.float64), outcome.possible, drop_name=drop_name)
    cells = outcome.cells
    return Matrix(labels, cells.values, outcome.holds, cells.histogram_of, cells.histograms, drop_name)


def _with_scalar(node: Binary, vector: Matrix, scalar: Floats, context: Context, *, scalar_first: bool) -> Matrix:
    cells = Cells(vector.values, vector.histogram_of, vector.histograms)
    other = Cells(np.broadcast_to(scalar, vector.values.shape))
    left, right = (other, cells) if scalar_first else (cells, other)
    outcome = combined(node.op, left, right, vector.present, context)
    if node.op in COMPARISONS and scalar_first:  # what is kept is the vector's
        outcome = Outcome(cells, outcome.possible, outcome.holds)
    return _result(node, vector.labels, outcome, vector.drop_name)


def _numbered(matching: Matching, *sides: Matrix) -> tuple[list[Ints], int]:
    """For each side the match groups of its series, and how many groups there are."""
    labels = [each for side in sides for each in side.labels]
    number, count = label_sets.grouped(labels, matching.labels, on=matching.on)
    return np.split(number, np.cumsum([len(side.labels) for side in sides[:-1]])), count


def _any(number: Ints, count: int, present: Bools) -> Bools:
    """For each group and step whether any of its series is present."""
    found = np.zeros((count, present.shape[1]), np.bool_)
    if len(number):
        rows = np.argsort(number, kind="stable")
        groups, starts = np.unique(number[rows], return_index=True)
        found[groups] = np.logical_or.reduceat(present[rows], starts, axis=0)
    return found


def _of_sets(op: str, matching: Matching, left: Matrix, right: Matrix) -> Matrix:
    (of_left, of_right), count = _numbered(matching, left, right)
    if op == "or":
        kept = right.present & ~_any(of_left, count, left.present)[of_right]
        return merged(_stacked(left, right, kept))
    matched = _any(of_right, count, right.present)[of_left]
    present = left.present & (matched if op == "and" else ~matched)
    return replace(left, present=present)


def _stacked(left: Matrix, right: Matrix, present: Bools) -> Matrix:
    """The series of the left and then those of the right, these with this presence."""
    values, present = np.concatenate([left.values, right.values]), np.concatenate([left.present, present])
    labels = [*left.labels, *right.labels]
    drop = None
    if left.drop_name is not None or right.drop_name is not None:
        drop = np.concatenate([marked(left), marked(right)])
    if left.histogram_of is None and right.histogram_of is None:
        return Matrix(labels, values, present, drop_name=drop)
    parts: list[Histograms] = []
    rows: list[Ints] = []
    for side in (left, right):
        if side.histogram_of is None or side.histograms is None:
            rows.append(np.full(side.present.shape, -1, np.int64))
        else:
            rows.append(np.where(side.histogram_of >= 0, side.histogram_of + sum(map(len, parts)), -1))
            parts.append(side.histograms)
    return Matrix(labels, values, present, np.concatenate(rows), native.concat(parts), drop)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Rows of the side of many and of the side of one that match, -1 for a filled one; their group; where both are."""

    many: Ints
    one: Ints
    group: Ints
    present: Bools


def _of_vectors(node: Binary, matching: Matching, left: Matrix, right: Matrix, context: Context) -> Matrix:
    swapped = matching.cardinality == Cardinality.ONE_TO_MANY
    many, one = map(_anywhere, (right, left) if swapped else (left, right))
    fills = (matching.fill_right, matching.fill_left) if swapped else (matching.fill_left, matching.fill_right)
    (of_many, of_one), count = _numbered(matching, many, one)
    _require_one(matching, many, one, of_one, filled=fills != (None, None))
    context.require_room(int(np.bincount(of_one, minlength=count)[of_many].sum()))
    pairs = _paired(many, one, of_many, of_one, count, fills)
    of_the_many, of_the_one = _operand(many, pairs.many, fills[0]), _operand(one, pairs.one, fills[1])
    first, second = (of_the_one, of_the_many) if swapped else (of_the_many, of_the_one)
    outcome = combined(node.op, first, second, pairs.present, context)
    labels = _labels(node, matching, many, one, pairs)
    number, different = label_sets.numbered([*map(label_sets.key, labels)])
    if matching.cardinality == Cardinality.ONE_TO_ONE:
        if _twice(pairs.group, outcome.possible):
            message = "many-to-one matching must be explicit (group_left/group_right)"
            raise ExecutionError(f"multiple matches for labels: {message}")
    elif _twice(number * count + pairs.group, outcome.possible):
        raise ExecutionError("multiple matches for labels: grouping labels must ensure unique matches")
    drop = None if many.drop_name is None else many.drop_name[pairs.many] & (pairs.many >= 0)
    result = _result(node, labels, outcome, drop)
    return result if different == len(labels) else joined(result, number, different)


def _anywhere(side: Matrix) -> Matrix:
    """The series that are there at any step; the others would only be paired with each other."""
    there = side.present.any(axis=1)
    return side if there.all() else rows_of(side, np.flatnonzero(there))


def _require_one(matching: Matching, many: Matrix, one: Matrix, of_one: Ints, *, filled: bool) -> None:
    """No two series of the side of one are in the same group at a step where there is anything to match."""
    if len(np.unique(of_one)) == len(of_one):
        return
    alive: Bools = np.logical_or(many.present.any(axis=0), filled)
    rows, steps = np.nonzero(one.present & alive)
    places, first, counts = np.unique(of_one[rows] * len(alive) + steps, return_index=True, return_counts=True)
    if not (counts > 1).any():
        return
    earliest = np.flatnonzero(counts > 1)[np.argmin(places[counts > 1] % len(alive))]
    again = np.flatnonzero(of_one[rows] * len(alive) + steps == places[earliest])[1]
    before, after = one.labels[rows[first[earliest]]], one.labels[rows[again]]
    side = "left" if matching.cardinality == Cardinality.ONE_TO_MANY else "right"
    group = label_sets.to_text(_match_labels(matching, after))
    raise ExecutionError(
        f"found duplicate series for the match group {group} on the {side} hand-side of the operation: "
        f"[{label_sets.to_text(after)}, {label_sets.to_text(before)}]"
        ";many-to-many matching not allowed: matching labels must be unique on one side"
    )


def _paired(
    many: Matrix,
    one: Matrix,
    of_many: Ints,
    of_one: Ints,
    count: int,
    fills: tuple[float | None, float | None],
) -> _Pairs:
    by_group = np.argsort(of_one, kind="stable")
    sizes = np.bincount(of_one, minlength=count)
    starts = np.cumsum(sizes) - sizes
    partners = sizes[of_many]
    rows = np.repeat(np.arange(len(of_many)), partners)
    nth = np.arange(len(rows)) - np.repeat(np.cumsum(partners) - partners, partners)
    others = by_group[starts[of_many[rows]] + nth]
    pairs = _Pairs(rows, others, of_many[rows], many.present[rows] & one.present[others])
    if fills == (None, None):
        return pairs
    parts = [pairs]
    fill_many, fill_one = fills
    if fill_one is not None:
        lonely = many.present & ~_any(of_one, count, one.present)[of_many]
        parts.append(_Pairs(np.arange(len(of_many)), np.full(len(of_many), -1), of_many, lonely))
    if fill_many is not None:
        lonely = one.present & ~_any(of_many, count, many.present)[of_one]
        parts.append(_Pairs(np.full(len(of_one), -1), np.arange(len(of_one)), of_one, lonely))
    return _Pairs(
        np.concatenate([part.many for part in parts]),
        np.concatenate([part.one for part in parts]),
        np.concatenate([part.group for part in parts]),
        np.concatenate([part.present for part in parts]),
    )


def _operand(side: Matrix, rows: Ints, fill: float | None) -> Cells:
    """One side's cells in the order of the pairs, with the value that fills a missing series."""
    if fill is None:
        histogram_of = None if side.histogram_of is None else side.histogram_of[rows]
        return Cells(side.values[rows], histogram_of, side.histograms)
    there = rows >= 0
    values, histogram_of = np.full((len(rows), side.values.shape[1]), fill), None
    values[there] = side.values[rows[there]]
    if side.histogram_of is not None:
        histogram_of = np.full(values.shape, -1, np.int64)
        histogram_of[there] = side.histogram_of[rows[there]]
    return Cells(values, histogram_of, side.histograms)


def _match_labels(matching: Matching, labels: Labels) -> Labels:
    """The labels that two series have in common when they match."""
    if matching.on:
        return label_sets.keep(labels, matching.labels)
    return label_sets.without(labels, {*matching.labels, METRIC_NAME})


def _labels(node: Binary, matching: Matching, many: Matrix, one: Matrix, pairs: _Pairs) -> list[Labels]:
    """Of each pair the labels of its result."""
    dropped = label_sets.METADATA if node.op in ARITHMETIC or node.bool_ else frozenset[str]()
    single = matching.cardinality == Cardinality.ONE_TO_ONE
    if single and not matching.on:
        dropped |= frozenset(matching.labels)
    made = []
    for row, other in zip(pairs.many.tolist(), pairs.one.tolist(), strict=True):
        labels = many.labels[row] if row >= 0 else _match_labels(matching, one.labels[other])
        if single and matching.on:
            labels = label_sets.keep(labels, matching.labels)
        labels = label_sets.without(labels, dropped)
        if matching.include:
            source = one.labels[other] if other >= 0 else _match_labels(matching, many.labels[row])
            labels = {**label_sets.without(labels, matching.include), **label_sets.keep(source, matching.include)}
        made.append(labels)
    return made


def _twice(number: Ints, present: Bools) -> bool:
    """Whether any number is at any step present more than once."""
    if len(np.unique(number)) == len(number):
        return False
    numbers = np.unique(number, return_inverse=True)[1]
    rows, steps = np.nonzero(present)
    return bool(np.bincount(numbers[rows] * present.shape[1] + steps).max(initial=0) > 1)
