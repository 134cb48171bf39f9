"""What a query says: the tree that the parser makes, the printer prints and the engine evaluates.

Times and durations are milliseconds, positions are half-open ranges of characters of the query's text.

Source: https://prometheus.io/docs/prometheus/latest/querying/basics/ and …/operators/.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class ValueType(StrEnum):
    """What an expression evaluates to."""

    SCALAR = "scalar"
    VECTOR = "vector"
    MATRIX = "matrix"
    STRING = "string"


@dataclass(frozen=True, slots=True)
class Span:
    """Where in the query's text a node was read from: characters `start` to `end`, the latter not included."""

    start: int
    end: int


NOWHERE = Span(0, 0)


class MatchOp(StrEnum):
    """How a matcher compares."""

    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on one label; an absent label is the empty string. A regular expression is anchored at both ends."""

    name: str
    op: MatchOp
    value: str


class AtModifier(StrEnum):
    """The instants that `@` can name besides a number."""

    START = "start"
    END = "end"


@dataclass(frozen=True, slots=True)
class DurationOf:
    """An arithmetic of durations, an experiment of Prometheus 3: `operator` over `operands`, in seconds.

    `operator` is one of `+ - * / % ^` (of one operand: a sign), `step`, `range`, `min`, `max`, or `()` around one.
    `durations.resolve` says what it comes to.
    """

    operator: str
    operands: tuple[DurationOf | Number, ...] = ()


Duration = int | DurationOf


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What all expressions have; two that differ only in their place are equal."""

    span: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Number(Node):
    """A literal such as `1.5`, `0x1f`, `Inf` or `5m` (300)."""

    value: float
    # written as a duration
    duration: bool = False


@dataclass(frozen=True, slots=True)
class String(Node):
    """A literal between quotes or backticks, unescaped."""

    value: str


@dataclass(frozen=True, slots=True)
class VectorSelector(Node):
    """`name{…} offset 5m @ 100`; the name is among the matchers, as `__name__`, too.

    `anchored` and `smoothed` are experimental modifiers of Prometheus 3.
    """

    name: str
    matchers: tuple[Matcher, ...]
    offset: Duration = 0
    at: int | AtModifier | None = None
    anchored: bool = False
    smoothed: bool = False


@dataclass(frozen=True, slots=True)
class MatrixSelector(Node):
    """`selector[range]`; offset and `@` are the selector's."""

    selector: VectorSelector
    range: Duration


@dataclass(frozen=True, slots=True)
class Subquery(Node):
    """`expr[range:step] offset … @ …`; without a step the engine's default applies."""

    expr: Expr
    range: Duration
    step: Duration | None = None
    offset: Duration = 0
    at: int | AtModifier | None = None


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A function by its name in `functions.SIGNATURES`, with as many arguments as that allows."""

    function: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Aggregation(Node):
    """`sum by (a) (expr)`, `topk without (b) (3, expr)`: `param` is the first of two arguments."""

    op: str
    expr: Expr
    param: Expr | None = None
    grouping: tuple[str, ...] = ()
    without: bool = False


class Cardinality(StrEnum):
    """How many series of each side may match one of the other's."""

    ONE_TO_ONE = "one-to-one"
    MANY_TO_ONE = "many-to-one"  # group_left
    ONE_TO_MANY = "one-to-many"  # group_right
    MANY_TO_MANY = "many-to-many"  # and, or, unless


@dataclass(frozen=True, slots=True)
class Matching:
    """Which series of two vectors belong together.

    `labels` are those of `on`, or with `on` false those of `ignoring`; `include` those of `group_left(…)`.
    `fill_left` and `fill_right` stand for a missing partner (experimental).
    """

    cardinality: Cardinality = Cardinality.ONE_TO_ONE
    on: bool = False
    labels: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    fill_left: float | None = None
    fill_right: float | None = None


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """`left op right`; `matching` where both sides are vectors; `bool_` for `== bool` and its like."""

    op: str
    left: Expr
    right: Expr
    matching: Matching | None = None
    bool_: bool = False


@dataclass(frozen=True, slots=True)
class Unary(Node):
    """`-expr` or `+expr`."""

    op: str
    expr: Expr


@dataclass(frozen=True, slots=True)
class Paren(Node):
    """`(expr)`."""

    expr: Expr


Expr = Number | String | VectorSelector | MatrixSelector | Subquery | Call | Aggregation | Binary | Unary | Paren


def children(node: Expr) -> tuple[Expr, ...]:
    """What an expression is made of."""
    match node:
        case MatrixSelector():
            return (node.selector,)
        case Subquery() | Paren() | Unary():
            return (node.expr,)
        case Call():
            return node.args
        case Aggregation():
            return (node.expr,) if node.param is None else (node.param, node.expr)
        case Binary():
            return node.left, node.right
        case _:
            return ()
