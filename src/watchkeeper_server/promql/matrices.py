"""Matrices with fewer rows, with rows joined that have come to have the same labels, and with names to be dropped.

A metric's name goes when its values become another quantity. With Prometheus' delayed removal of names, an experiment,
rows are only marked then, and lose their names at the very end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from watchkeeper_server.promql.errors import ExecutionError
from watchkeeper_server.promql.labels import drop_name, key, keys, numbered
from watchkeeper_server.promql.values import METRIC_NAME, Bools, Ints, Labels, Matrix


def rows_of(matrix: Matrix, rows: Ints) -> Matrix:
    """Some rows, in this order."""
    return Matrix(
        [matrix.labels[row] for row in rows.tolist()],
        matrix.values[rows],
        matrix.present[rows],
        None if matrix.histogram_of is None else matrix.histogram_of[rows],
        matrix.histograms,
        None if matrix.drop_name is None else matrix.drop_name[rows],
    )


def repeated(matrix: Matrix, count: int) -> Matrix:
    """A matrix of one step at each of `count` steps."""
    histogram_of = None if matrix.histogram_of is None else np.repeat(matrix.histogram_of, count, axis=1)
    return replace(
        matrix,
        values=np.repeat(matrix.values, count, axis=1),
        present=np.repeat(matrix.present, count, axis=1),
        histogram_of=histogram_of,
    )


def marked(matrix: Matrix) -> Bools:
    """Which rows are to lose their names."""
    return np.zeros(len(matrix.labels), np.bool_) if matrix.drop_name is None else matrix.drop_name


def without_names(matrix: Matrix, *, delayed: bool) -> Matrix:
    """All rows without their names, or with `delayed` only marked.

    Raises:
        ExecutionError: two rows become the same.
    """
    if delayed:
        return replace(matrix, drop_name=np.ones(len(matrix.labels), np.bool_))
    return merged(replace(matrix, labels=[*map(drop_name, matrix.labels)]))


def with_names(made: Matrix, labels: Sequence[Labels], drop: Bools) -> Matrix:
    """What a function made of series with these labels, of which some were to be dropped: no name gone, but marked.

    What does not keep the rows, as histogram_quantile, has no name to give back.
    """
    pairs = [*zip(made.labels, labels, strict=False)]
    if len(labels) != len(made.labels) or any(key(drop_name(new)) != key(drop_name(old)) for new, old in pairs):
        return made
    gone = np.array([METRIC_NAME in old and METRIC_NAME not in new for new, old in pairs], np.bool_)
    return replace(made, labels=list(labels), drop_name=gone | drop)


def finished(matrix: Matrix) -> Matrix:
    """Without the names that were to be dropped at the end.

    Raises:
        ExecutionError: two rows become the same.
    """
    if matrix.drop_name is None:
        return matrix
    return merged(replace(matrix, labels=dropped(matrix.labels, matrix.drop_name), drop_name=None))


def dropped(labels: Sequence[Labels], drop: Bools) -> list[Labels]:
    """Without the names of those that are marked."""
    return [drop_name(each) if marked else each for each, marked in zip(labels, drop.tolist(), strict=True)]


def merged(matrix: Matrix) -> Matrix:
    """One series for each set of labels.

    Raises:
        ExecutionError: two with the same labels are present at one step.
    """
    if len(matrix.labels) < 2:  # noqa: PLR2004  nothing to compare
        return matrix
    numbers, count = numbered(keys(matrix.labels))
    if count == len(numbers):
        return matrix
    return joined(matrix, numbers, count)


def joined(matrix: Matrix, numbers: Ints, count: int) -> Matrix:
    """Row i becomes part of row `numbers[i]` of `count`; the first row's labels stand for all.

    Raises:
        ExecutionError: two rows that become one are present at the same step.
    """
    rows, steps = np.nonzero(matrix.present)
    target = numbers[rows]
    if np.bincount(target * matrix.present.shape[1] + steps).max(initial=0) > 1:
        raise_duplicate()
    shape = (count, matrix.present.shape[1])
    values, present = np.zeros(shape), np.zeros(shape, np.bool_)
    values[target, steps] = matrix.values[rows, steps]
    present[target, steps] = True
    histogram_of = None
    if matrix.histogram_of is not None:
        histogram_of = np.full(shape, -1, np.int64)
        histogram_of[target, steps] = matrix.histogram_of[rows, steps]
    firsts = np.unique(numbers, return_index=True)[1].tolist()
    labels, drop = [matrix.labels[row] for row in firsts], None
    if matrix.drop_name is not None:
        drop = np.bincount(numbers, matrix.drop_name, count) > 0
    return Matrix(labels, values, present, histogram_of, matrix.histograms, drop)


def require_different(matrix: Matrix) -> None:
    """No two series with any sample have the same labels, even if at different steps.

    Raises:
        ExecutionError: two have.
    """
    if len(matrix.labels) < 2:  # noqa: PLR2004  nothing to compare
        return
    if len({*keys(matrix.labels)}) == len(matrix.labels):
        return
    seen = [matrix.labels[row] for row in np.unique(np.nonzero(matrix.present)[0]).tolist()]
    if len({*keys(seen)}) < len(seen):
        raise_duplicate()


def raise_duplicate() -> None:
    """Say that two series have become one."""
    raise ExecutionError("vector cannot contain metrics with the same labelset")
