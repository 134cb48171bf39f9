"""What an operator makes of two columns of cells, floats or native histograms, wherever both sides are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from watchkeeper_server.promql import histograms as native
from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.values import Bools, Floats, Histograms, Ints

ARITHMETIC: Mapping[str, Callable[[Floats, Floats], Floats]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
COMPARISONS: Mapping[str, Callable[[Floats, Floats], Bools]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}
_TRIMS: Mapping[str, Callable[[Histograms, Floats], Histograms]] = {"</": native.trim_upper, ">/": native.trim_lower}


@dataclass(frozen=True, slots=True)
class Cells:
    """One operand at all places where the other is: floats, or rows of histograms."""

    values: Floats
    histogram_of: Ints | None = None
    histograms: Histograms | None = None

    def rows_at(self, cells: Bools) -> Histograms:
        """The histograms at these cells."""
        if self.histogram_of is None or self.histograms is None:
            return native.EMPTY
        return native.take(self.histograms, self.histogram_of[cells])

    def are_histograms(self, cells: Bools) -> Bools:
        """Which of these cells are."""
        return cells & (self.histogram_of >= 0) if self.histogram_of is not None else np.zeros_like(cells)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The results, at which cells there is one, and at which of these a comparison holds."""

    cells: Cells
    possible: Bools
    holds: Bools


def combined(op: str, left: Cells, right: Cells, wanted: Bools, context: Context) -> Outcome:
    """`left op right` at the cells that are wanted; the result of a comparison is the left one."""
    if op in ARITHMETIC:
        floats = Outcome(Cells(ARITHMETIC[op](left.values, right.values)), wanted, wanted)
    elif op in COMPARISONS:
        floats = Outcome(Cells(left.values), wanted, wanted & COMPARISONS[op](left.values, right.values))
    else:
        floats = Outcome(Cells(left.values), np.zeros_like(wanted), np.zeros_like(wanted))
    if left.histogram_of is None and right.histogram_of is None and op not in _TRIMS:
        return floats
    return _with_histograms(op, left, right, wanted, floats, context)


def _with_histograms(op: str, left: Cells, right: Cells, wanted: Bools, floats: Outcome, context: Context) -> Outcome:
    of_left, of_right = left.are_histograms(wanted), right.are_histograms(wanted)
    only_floats = wanted & ~of_left & ~of_right
    possible, holds = floats.possible & only_floats, floats.holds & only_floats
    histogram_of = np.full(wanted.shape, -1, np.int64)
    parts: list[Histograms] = []
    kinds = (
        ("float", "float", only_floats),
        ("histogram", "histogram", of_left & of_right),
        ("histogram", "float", of_left & ~of_right),
        ("float", "histogram", of_right & ~of_left),
    )
    for kind, other, cells in kinds:
        if not cells.any() or (kind == other == "float" and op not in _TRIMS):
            continue
        made = _of_histograms(op, kind, other, left, right, cells, context)
        if made is None:
            text = "PromQL info: incompatible sample types encountered for binary operator"
            context.annotations.inform(f'{text} "{op}": {kind} {op} {other}', context.span)
            continue
        rows, valid, true = made
        if not valid.all():
            text = f"PromQL warning: incompatible bucket layout encountered for binary operator {op}"
            context.annotations.warn(text, context.span)
        histogram_of[cells] = np.arange(len(rows)) + sum(map(len, parts))
        parts.append(rows)
        possible[cells], holds[cells] = valid, true
    return Outcome(Cells(floats.cells.values, histogram_of, native.concat(parts)), possible, holds)


def _of_histograms(
    op: str, kind: str, other: str, left: Cells, right: Cells, cells: Bools, context: Context
) -> tuple[Histograms, Bools, Bools] | None:
    """The result at each cell, whether there is one, and whether a comparison holds; None if that cannot be."""
    valid = np.ones(int(cells.sum()), np.bool_)
    match kind, op, other:
        case "histogram", "+" | "-", "histogram":
            add = native.add if op == "+" else native.subtract
            rows, valid = add(left.rows_at(cells), right.rows_at(cells), context)
        case "histogram", "==" | "!=", "histogram":
            rows = left.rows_at(cells)
            same = native.equal(rows, right.rows_at(cells))
            return rows, valid, same if op == "==" else ~same
        case "histogram", "*", "float":
            rows = native.scale(left.rows_at(cells), right.values[cells])
        case "float", "*", "histogram":
            rows = native.scale(right.rows_at(cells), left.values[cells])
        case "histogram", "/", "float":
            rows = native.divide(left.rows_at(cells), right.values[cells])
        case "histogram", "</" | ">/", "float":
            rows = _TRIMS[op](left.rows_at(cells), right.values[cells])
        case _:
            return None
    return rows, valid, valid
