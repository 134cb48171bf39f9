"""Functions of each float on its own. Histograms have no value for them and are left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.functions.arguments import Instant, number, vector
from watchkeeper_server.promql.functions.windows import answer
from watchkeeper_server.promql.values import Bools, Floats, Matrix, Scalar, Value


def floats(matrix: Matrix) -> Bools:
    """Where there is a float."""
    return matrix.present if matrix.histogram_of is None else matrix.present & (matrix.histogram_of < 0)


def each(compute: Callable[[Floats], Floats]) -> Instant:
    """A function of one number."""

    def function(_context: Context, arguments: Sequence[Value]) -> Value:
        matrix = vector(arguments[0])
        return answer(matrix.labels, compute(matrix.values), floats(matrix))

    return function


def _sign(values: Floats) -> Floats:
    return np.where(values < 0, -1.0, np.where(values > 0, 1.0, values))


def _greater(left: Floats, right: Floats) -> Floats:
    """NaN if one is NaN, but not beside +Inf, which nothing is greater than."""
    return np.where(np.isposinf(left) | np.isposinf(right), np.inf, np.maximum(left, right))


def _smaller(left: Floats, right: Floats) -> Floats:
    """NaN if one is NaN, but not beside -Inf, which nothing is smaller than."""
    return np.where(np.isneginf(left) | np.isneginf(right), -np.inf, np.minimum(left, right))


def _clamped(matrix: Matrix, low: Floats, high: Floats) -> Matrix:
    """Nothing where the bounds leave nothing."""
    values = _greater(low, _smaller(high, matrix.values))
    return answer(matrix.labels, values, floats(matrix) & ~(high < low))


def clamp(_context: Context, arguments: Sequence[Value]) -> Value:
    """At least the second, at most the third argument."""
    return _clamped(vector(arguments[0]), number(arguments[1]), number(arguments[2]))


def clamp_min(_context: Context, arguments: Sequence[Value]) -> Value:
    """At least the second argument."""
    low = number(arguments[1])
    return _clamped(vector(arguments[0]), low, np.full(low.shape, np.inf))


def clamp_max(_context: Context, arguments: Sequence[Value]) -> Value:
    """At most the second argument."""
    high = number(arguments[1])
    return _clamped(vector(arguments[0]), np.full(high.shape, -np.inf), high)


def max_of(_context: Context, arguments: Sequence[Value]) -> Value:
    """The greater of two numbers."""
    return Scalar(_greater(number(arguments[0]), number(arguments[1])))


def min_of(_context: Context, arguments: Sequence[Value]) -> Value:
    """The smaller of two numbers."""
    return Scalar(_smaller(number(arguments[0]), number(arguments[1])))


def round_(_context: Context, arguments: Sequence[Value]) -> Value:
    """To the nearest multiple of the second argument, 1 by default; the greater of two."""
    matrix = vector(arguments[0])
    per_unit = 1.0 / (number(arguments[1]) if len(arguments) > 1 else np.ones(1))
    return answer(matrix.labels, np.floor(matrix.values * per_unit + 0.5) / per_unit, floats(matrix))


_EACH: Mapping[str, Callable[[Floats], Floats]] = {
    "abs": np.abs,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "deg": lambda values: values * 180 / np.pi,
    "exp": np.exp,
    "floor": np.floor,
    "ln": np.log,
    "log10": np.log10,
    "log2": np.log2,
    "rad": lambda values: values * np.pi / 180,
    "sgn": _sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
}

MATHS: Mapping[str, Instant] = {
    **{name: each(compute) for name, compute in _EACH.items()},
    "clamp": clamp,
    "clamp_max": clamp_max,
    "clamp_min": clamp_min,
    "max_of": max_of,
    "min_of": min_of,
    "round": round_,
}
