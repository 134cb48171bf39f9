"""A query whose selectors all have `@`, so that it comes to the same whenever it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from watchkeeper_server.promql.errors import ParseError
from watchkeeper_server.promql.parser import parse
from watchkeeper_server.promql.printer import to_text
from watchkeeper_server.promql.tree import (
    Aggregation,
    AtModifier,
    Binary,
    Call,
    DurationOf,
    Expr,
    MatrixSelector,
    Paren,
    Subquery,
    Unary,
    VectorSelector,
    children,
)

# What these say depends on the time of evaluation whatever their arguments are.
_OF_THE_TIME = {
    "day_of_month", "day_of_week", "day_of_year", "days_in_month", "end", "hour", "minute", "month", "predict_linear",
    "start", "time", "timestamp", "year",
}  # fmt: skip


def pinned(query: str, time: int) -> str | None:
    """The query as of a time, Unix milliseconds; None if there is no such query."""
    try:
        tree = parse(query, experimental=True)
    except ParseError:
        return None
    return to_text(_pinned(tree, time)) if all(map(_can_be_pinned, _nodes(tree))) else None


def _can_be_pinned(node: Expr) -> bool:
    match node:
        case Call():
            return node.function not in _OF_THE_TIME
        case VectorSelector():
            return not isinstance(node.at, AtModifier) and not isinstance(node.offset, DurationOf)
        case MatrixSelector():
            return not isinstance(node.range, DurationOf)
        case Subquery():
            durations = node.range, node.offset, node.step
            return not isinstance(node.at, AtModifier) and not any(isinstance(one, DurationOf) for one in durations)
        case _:
            return True


def _nodes(tree: Expr) -> Iterator[Expr]:
    yield tree
    for child in children(tree):
        yield from _nodes(child)


def _pinned(node: Expr, time: int) -> Expr:
    """The tree with `@` wherever it is outermost: what is inside a subquery has the subquery's times."""
    match node:
        case VectorSelector() | Subquery():
            return node if node.at is not None else replace(node, at=time)
        case MatrixSelector():
            selector = node.selector
            return node if selector.at is not None else replace(node, selector=replace(selector, at=time))
        case Paren() | Unary():
            return replace(node, expr=_pinned(node.expr, time))
        case Call():
            return replace(node, args=tuple(_pinned(arg, time) for arg in node.args))
        case Aggregation():
            param = None if node.param is None else _pinned(node.param, time)
            return replace(node, expr=_pinned(node.expr, time), param=param)
        case Binary():
            return replace(node, left=_pinned(node.left, time), right=_pinned(node.right, time))
        case _:
            return node
