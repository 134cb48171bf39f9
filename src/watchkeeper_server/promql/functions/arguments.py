"""What functions are given and answer; arguments as what the parser has already seen that they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.values import Floats, Matrix, Scalar, Text, Value, Windows

Instant: TypeAlias = Callable[[Context, Sequence[Value]], Value]
"""A function without a range vector, of its arguments."""
OverRange: TypeAlias = Callable[[Context, Windows, Sequence[Scalar | Text]], Matrix]
"""A function of a range vector, then of its other arguments in their order."""


def number(value: Value) -> Floats:
    """A scalar's number at every step."""
    if not isinstance(value, Scalar):
        raise TypeError(f"the parser lets only scalars through here, not {type(value).__name__}")
    return value.values


def text(value: Value) -> str:
    """A string."""
    if not isinstance(value, Text):
        raise TypeError(f"the parser lets only strings through here, not {type(value).__name__}")
    return value.value


def vector(value: Value) -> Matrix:
    """An instant vector at every step."""
    if not isinstance(value, Matrix):
        raise TypeError(f"the parser lets only instant vectors through here, not {type(value).__name__}")
    return value
