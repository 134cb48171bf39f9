"""Sets of labels: comparing, dropping, writing them; and series that come to have the same ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Hashable, Sequence

import numpy as np

from watchkeeper_server.promql.errors import ExecutionError
from watchkeeper_server.promql.values import METRIC_NAME, Ints, Labels, Matrix

# What says which metric this is, and goes once the values are another quantity.
METADATA = frozenset({METRIC_NAME, "__type__", "__unit__"})

_PLAIN_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def key(labels: Labels) -> Hashable:
    """Equal for equal labels."""
    return frozenset(labels.items())


def keep(labels: Labels, names: Collection[str]) -> Labels:
    """Only these labels."""
    return {name: labels[name] for name in names if name in labels}


def without(labels: Labels, names: Collection[str]) -> Labels:
    """All but these labels."""
    return {name: value for name, value in labels.items() if name not in names}


def drop_name(labels: Labels) -> Labels:
    """Without what names the metric."""
    return without(labels, METADATA)


def grouper(*, on: bool, names: Sequence[str]) -> Callable[[Labels], Hashable]:
    """What is equal for the labels that agree `on` these names, or but for these and the metric's."""
    if on:
        return lambda labels: tuple([labels.get(name) for name in names])
    left_out = {*names, METRIC_NAME}
    return lambda labels: frozenset([item for item in labels.items() if item[0] not in left_out])


def to_text(labels: Labels) -> str:
    """As Prometheus writes them in its messages: `{__name__="up", job="api"}`, by name."""
    return (
        "{"
        + ", ".join(f"{_name(name)}={json.dumps(labels[name], ensure_ascii=False)}" for name in sorted(labels))
        + "}"
    )


def _name(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def order(labels: Sequence[Labels]) -> list[int]:
    """The places of label sets when sorted as Prometheus does: by their names and values in turn."""
    keys = [sorted(each.items()) for each in labels]
    return sorted(range(len(keys)), key=keys.__getitem__)


def numbered(keys: Sequence[Hashable]) -> tuple[Ints, int]:
    """For each key its number, int64; they count from 0 in the order in which keys appear. And how many there are."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(each, len(numbers)) for each in keys], np.int64), len(numbers)


def merged(matrix: Matrix) -> Matrix:
    """One series for each set of labels.

    Raises:
        ExecutionError: two with the same labels are present at one step.
    """
    if len(matrix.labels) < 2:  # noqa: PLR2004  nothing to compare
        return matrix
    numbers, count = numbered([key(labels) for labels in matrix.labels])
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
    labels: dict[int, Labels] = {}
    for number, each in zip(numbers.tolist(), matrix.labels, strict=True):
        labels.setdefault(number, each)
    return Matrix([labels[number] for number in range(count)], values, present, histogram_of, matrix.histograms)


def require_different(matrix: Matrix) -> None:
    """No two series with any sample have the same labels, even if at different steps.

    Raises:
        ExecutionError: two have.
    """
    if len(matrix.labels) < 2:  # noqa: PLR2004  nothing to compare
        return
    if len({key(labels) for labels in matrix.labels}) == len(matrix.labels):
        return
    seen = [matrix.labels[row] for row in np.unique(np.nonzero(matrix.present)[0]).tolist()]
    if len({key(labels) for labels in seen}) < len(seen):
        raise_duplicate()


def raise_duplicate() -> None:
    """Say that two series have become one."""
    raise ExecutionError("vector cannot contain metrics with the same labelset")
