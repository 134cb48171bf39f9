"""What stands behind a selector or subquery: `[5m]`, `[5m:1m]`, `offset`, `@`, `anchored` and `smoothed`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import isfinite

from watchkeeper_server.promql.cursor import Cursor
from watchkeeper_server.promql.duration_parser import DurationParser
from watchkeeper_server.promql.durations import DurationError, to_milliseconds
from watchkeeper_server.promql.numbers import plain
from watchkeeper_server.promql.tree import AtModifier, Expr, MatrixSelector, Span, Subquery, VectorSelector

# 64 bits hold it with any offset added
_MOST_TIME = 2**62


def _brackets(cursor: Cursor, expr: Expr) -> Expr:
    bracket = cursor.advance()
    range_ = DurationParser(cursor, "subquery or range selector").length()
    if cursor.skip(":"):
        step = None
        if cursor.token.kind != "]":
            expected = 'number, duration, step(), range(), or "]"'
            step = DurationParser(cursor, "subquery selector", expected).length()
        cursor.expect("]", "subquery selector", '"]"')
        return Subquery(expr, range_, step, span=Span(expr.span.start, cursor.end))
    cursor.expect("]", "subquery or range", '":" or "]"')
    if not isinstance(expr, VectorSelector):
        cursor.fail("ranges only allowed for vector selectors", bracket.start, cursor.end)
    if expr.offset != 0:
        cursor.fail("no offset modifiers allowed before range", bracket.start, cursor.end)
    # as in Prometheus, start() and end() are let pass
    if isinstance(expr.at, int):
        cursor.fail("no @ modifiers allowed before range", bracket.start, cursor.end)
    return MatrixSelector(expr, range_, span=Span(expr.span.start, cursor.end))


def _offset(cursor: Cursor, expr: Expr) -> Expr:
    cursor.advance()
    offset = DurationParser(cursor, "offset").offset()
    target = _shiftable(cursor, expr, "offset")
    if target.offset != 0:
        cursor.fail("offset may not be set multiple times", expr.span.start, expr.span.end)
    return _modified(cursor, expr, replace(target, offset=offset))


def _at(cursor: Cursor, expr: Expr) -> Expr:
    cursor.advance()
    at = _time(cursor, expr)
    target = _shiftable(cursor, expr, "@")
    if target.at is not None:
        cursor.fail("@ <timestamp> may not be set multiple times", expr.span.start, expr.span.end)
    return _modified(cursor, expr, replace(target, at=at))


def _time(cursor: Cursor, expr: Expr) -> int | AtModifier:
    kind = cursor.token.kind
    if kind in {"start", "end"}:
        cursor.advance()
        cursor.expect("(", "@", "timestamp")
        cursor.expect(")", "@", "timestamp")
        return AtModifier(kind)
    if kind in {"+", "-"}:
        cursor.advance()
    if cursor.token.kind not in {"NUMBER", "DURATION"}:
        cursor.unexpected("@", "timestamp")
    seconds = cursor.number().value * (-1 if kind == "-" else 1)
    try:
        return to_milliseconds(seconds, _MOST_TIME)
    except DurationError:
        shown = f"{seconds:f}" if isfinite(seconds) else plain(seconds)
        cursor.fail(f"timestamp out of bounds for @ modifier: {shown}", expr.span.start, expr.span.end)


def _extended(cursor: Cursor, expr: Expr) -> Expr:
    modifier, start, end = cursor.advance().kind, expr.span.start, expr.span.end
    if not cursor.experimental:
        cursor.fail(f"{modifier} modifier is experimental and not enabled", start, end)
    if isinstance(expr, Subquery):
        cursor.fail(f"{modifier} modifier is not supported for subqueries", start, end)
    if not isinstance(expr, VectorSelector | MatrixSelector):
        cursor.fail(f"{modifier} modifier not implemented", start, end)
    target = expr if isinstance(expr, VectorSelector) else expr.selector
    anchored = modifier == "anchored"
    target = replace(target, anchored=target.anchored or anchored, smoothed=target.smoothed or not anchored)
    if target.anchored and target.smoothed:
        cursor.fail("anchored and smoothed modifiers cannot be used together", start, end)
    return _modified(cursor, expr, target)


def _shiftable(cursor: Cursor, expr: Expr, modifier: str) -> VectorSelector | Subquery:
    """The part of `expr` that has an offset and a time."""
    if isinstance(expr, MatrixSelector):
        return expr.selector
    if not isinstance(expr, VectorSelector | Subquery):
        allowed = "an instant vector selector or range vector selector or a subquery"
        cursor.fail(f"{modifier} modifier must be preceded by {allowed}", expr.span.start, expr.span.end)
    return expr


def _modified(cursor: Cursor, expr: Expr, target: VectorSelector | Subquery) -> Expr:
    """`expr` with `target` in the place of its part, and longer by the modifier just read."""
    span = Span(expr.span.start, cursor.end)
    if isinstance(expr, MatrixSelector) and isinstance(target, VectorSelector):
        return replace(expr, selector=target, span=span)
    return replace(target, span=span)


# By the token they begin with: each is read from the cursor and applied to the expression before it.
MODIFIERS: Mapping[str, Callable[[Cursor, Expr], Expr]] = {
    "[": _brackets,
    "offset": _offset,
    "@": _at,
    "anchored": _extended,
    "smoothed": _extended,
}
