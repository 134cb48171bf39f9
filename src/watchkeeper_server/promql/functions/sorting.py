"""`sort` and its like: the order of an instant query's series. A range query's are always in that of their labels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.functions.arguments import Instant, text, vector
from watchkeeper_server.promql.functions.maths import floats
from watchkeeper_server.promql.matrices import rows_of
from watchkeeper_server.promql.values import Ints, Labels, Matrix, Value

_CHUNK = re.compile(r"[0-9]+|[^0-9]+")


def _by_value(*, descending: bool) -> Instant:
    """By their values, NaN last; histograms are left out."""

    def function(context: Context, arguments: Sequence[Value]) -> Value:
        matrix = vector(arguments[0])
        kept = replace(matrix, present=floats(matrix), histogram_of=None, histograms=None)
        if not _single(context):
            return kept
        values = kept.values[:, 0]
        return _present(kept, np.argsort(-values if descending else values, kind="stable"))

    return function


def _by_label(*, descending: bool) -> Instant:
    """By these labels in turn, numbers within them by their worth, then by all labels."""

    def function(context: Context, arguments: Sequence[Value]) -> Value:
        matrix = vector(arguments[0])
        names = [*map(text, arguments[1:])]
        if not _single(context):
            return matrix
        keys = [_key(labels, names) for labels in matrix.labels]
        order = sorted(range(len(keys)), key=keys.__getitem__, reverse=descending)
        return _present(matrix, np.array(order, np.int64))

    return function


def _single(context: Context) -> bool:
    """Whether there is one step only; otherwise a remark says that sorting is in vain."""
    if context.steps.start == context.steps.end:
        return True
    text = "PromQL warning: sort is ineffective for range queries since results are always ordered by labels"
    context.annotations.warn(text, context.span)
    return False


def _key(labels: Labels, names: Sequence[str]) -> Any:
    return [natural(labels.get(name, "")) for name in names], sorted(labels.items())


def natural(value: str) -> list[tuple[str, int, str]]:
    """A key by which `a9` comes before `a10`; a number comes where its first digit would."""
    return [*map(_chunk, _CHUNK.findall(value))]


def _chunk(chunk: str) -> tuple[str, int, str]:
    if chunk[0] not in "0123456789":
        return chunk, 0, ""
    digits = chunk.lstrip("0")
    return "0", len(digits), digits


def _present(matrix: Matrix, rows: Ints) -> Matrix:
    """What is present of these rows."""
    return rows_of(matrix, rows[matrix.present[rows, 0]])


SORTING: Mapping[str, Instant] = {
    "sort": _by_value(descending=False),
    "sort_desc": _by_value(descending=True),
    "sort_by_label": _by_label(descending=False),
    "sort_by_label_desc": _by_label(descending=True),
}
