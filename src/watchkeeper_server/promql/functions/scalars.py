"""Between scalars and vectors: `scalar`, `vector`; and what needs no argument: `time`, `pi`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.functions.arguments import Instant, number, vector
from watchkeeper_server.promql.functions.maths import floats
from watchkeeper_server.promql.values import Matrix, Scalar, Value


def scalar(_context: Context, arguments: Sequence[Value]) -> Value:
    """The only float of a step; NaN where there are several or none."""
    matrix = vector(arguments[0])
    present = floats(matrix)
    only = np.where(present, matrix.values, 0.0).sum(axis=0)
    return Scalar(np.where(np.count_nonzero(present, axis=0) == 1, only, np.nan))


def to_vector(_context: Context, arguments: Sequence[Value]) -> Value:
    """One series without labels."""
    values = number(arguments[0])[None]
    return Matrix([{}], values, np.ones(values.shape, np.bool_))


def time(context: Context, _arguments: Sequence[Value]) -> Value:
    """Unix seconds of each step."""
    return Scalar(context.steps.times / 1000)


def pi(context: Context, _arguments: Sequence[Value]) -> Value:
    """The ratio of a circle's circumference to its diameter."""
    return Scalar(np.full(context.steps.count, np.pi))


SCALARS: Mapping[str, Instant] = {"scalar": scalar, "vector": to_vector, "time": time, "pi": pi}
