"""Trees as text: in one line, as Prometheus writes an expression, and over several lines where one is too long.

`parse(to_text(tree))` is a tree with the same text, and `parse(pretty(tree))` likewise.
"""

from __future__ import annotations

import re
from typing import assert_never

from watchkeeper_server.promql.durations import format_duration
from watchkeeper_server.promql.numbers import plain
from watchkeeper_server.promql.quoting import quote
from watchkeeper_server.promql.tree import (
    Aggregation,
    AtModifier,
    Binary,
    Call,
    Cardinality,
    Duration,
    DurationOf,
    Expr,
    Matcher,
    Matching,
    MatchOp,
    MatrixSelector,
    Number,
    Paren,
    String,
    Subquery,
    Unary,
    VectorSelector,
)
from watchkeeper_server.promql.values import METRIC_NAME

_WIDTH = 100
_INDENT = "  "
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# words that a list of labels cannot have as they are
_NO_LABELS = frozenset({"inf", "nan", "without"})
_GROUPS = {Cardinality.MANY_TO_ONE: "group_left", Cardinality.ONE_TO_MANY: "group_right"}


def to_text(expr: Expr) -> str:  # noqa: PLR0911  one for each kind of node
    """The expression in one line; what is optional is left out, and a selector's labels are in order."""
    match expr:
        case Number():
            return _number(expr)
        case String():
            return quote(expr.value)
        case VectorSelector() | MatrixSelector():
            return _selector(expr)
        case Subquery():
            return to_text(expr.expr) + _subquery_suffix(expr)
        case Call():
            return f"{expr.function}({', '.join(map(to_text, expr.args))})"
        case Aggregation():
            return f"{_aggregation_head(expr)}({', '.join(map(to_text, _aggregated(expr)))})"
        case Binary():
            return f"{to_text(expr.left)} {_operator(expr)} {to_text(expr.right)}"
        case Unary():
            return expr.op + to_text(expr.expr)
        case Paren():
            return f"({to_text(expr.expr)})"
    assert_never(expr)


def pretty(expr: Expr) -> str:
    """The expression with what is longer than 100 characters split over lines, indented by two spaces a level."""
    return _pretty(expr, 0)


def _pretty(expr: Expr, level: int) -> str:  # noqa: PLR0911  one for each kind of node
    indent, text = _INDENT * level, to_text(expr)
    if len(text) <= _WIDTH:
        return indent + text
    match expr:
        case Aggregation():
            return _split(indent + _aggregation_head(expr), _aggregated(expr), level)
        case Call():
            return _split(indent + expr.function, expr.args, level)
        case Paren():
            return _split(indent, (expr.expr,), level)
        case Binary():
            left, right = _pretty(expr.left, level + 1), _pretty(expr.right, level + 1)
            return f"{left}\n{indent}{_operator(expr)}\n{right}"
        case Subquery():
            return _pretty(expr.expr, level) + _subquery_suffix(expr)
        case Unary():
            return indent + expr.op + _pretty(expr.expr, level).lstrip()
    return indent + text


def _split(head: str, parts: tuple[Expr, ...], level: int) -> str:
    inner = ",\n".join(_pretty(part, level + 1) for part in parts)
    return f"{head}(\n{inner}\n{_INDENT * level})"


def _number(number: Number) -> str:
    return format_duration(round(number.value * 1000)) if number.duration else plain(number.value)


def _selector(expr: VectorSelector | MatrixSelector) -> str:
    selector = expr if isinstance(expr, VectorSelector) else expr.selector
    # the name itself, unless it is only among the matchers
    shown = sorted(_matcher(matcher) for matcher in selector.matchers if not _is_name(matcher, selector.name))
    text = selector.name + (f"{{{','.join(shown)}}}" if shown else "")
    extended = " anchored" if selector.anchored else " smoothed" if selector.smoothed else ""
    at, offset = _at(selector.at), _offset(selector.offset)
    if isinstance(expr, MatrixSelector):
        return f"{text}[{_duration(expr.range)}]{extended}{at}{offset}"
    # a selector of everything, as only info() may have it
    return f"{text or '{}'}{at}{extended}{offset}"


def _is_name(matcher: Matcher, name: str) -> bool:
    return bool(name) and matcher == Matcher(METRIC_NAME, MatchOp.EQUAL, name)


def _matcher(matcher: Matcher) -> str:
    return f"{_label(matcher.name)}{matcher.op}{quote(matcher.value)}"


def _label(name: str) -> str:
    return name if _LABEL.fullmatch(name) else quote(name)


def _labels(names: tuple[str, ...]) -> str:
    return f"({', '.join(quote(name) if name.lower() in _NO_LABELS else _label(name) for name in names)})"


def _subquery_suffix(subquery: Subquery) -> str:
    step = "" if subquery.step is None else _duration(subquery.step)
    return f"[{_duration(subquery.range)}:{step}]{_at(subquery.at)}{_offset(subquery.offset)}"


def _at(at: int | AtModifier | None) -> str:
    if at is None:
        return ""
    return f" @ {at}()" if isinstance(at, AtModifier) else f" @ {at / 1000:.3f}"


def _offset(offset: Duration) -> str:
    return f" offset {_duration(offset)}" if offset != 0 else ""


def _duration(duration: Duration) -> str:
    return _arithmetic(duration) if isinstance(duration, DurationOf) else format_duration(duration)


def _arithmetic(part: DurationOf | Number) -> str:
    if isinstance(part, Number):
        return _number(part)
    operands = [_arithmetic(operand) for operand in part.operands]
    match part.operator, operands:
        case "()", [inner]:
            return f"({inner})"
        case ("+" | "-") as sign, [operand]:
            return sign + operand
        case ("step" | "range" | "min" | "max" | "min_of" | "max_of") as function, _:
            return f"{function}({', '.join(operands)})"
        case operator, _:
            return f" {operator} ".join(operands)


def _aggregated(aggregation: Aggregation) -> tuple[Expr, ...]:
    return (aggregation.expr,) if aggregation.param is None else (aggregation.param, aggregation.expr)


def _aggregation_head(aggregation: Aggregation) -> str:
    if not aggregation.without and not aggregation.grouping:
        return aggregation.op
    return f"{aggregation.op} {'without' if aggregation.without else 'by'} {_labels(aggregation.grouping)} "


def _operator(binary: Binary) -> str:
    """The operator and what modifies it."""
    text = binary.op + (" bool" if binary.bool_ else "")
    return text + _matching(binary.matching) if binary.matching else text


def _matching(matching: Matching) -> str:
    group = _GROUPS.get(matching.cardinality)
    text = ""
    if matching.on or matching.labels or group:
        text += f" {'on' if matching.on else 'ignoring'} {_labels(matching.labels)}"
    if group:
        text += f" {group} {_labels(matching.include)}"
    left, right = matching.fill_left, matching.fill_right
    if left is not None and left == right:
        return f"{text} fill ({plain(left)})"
    if left is not None:
        text += f" fill_left ({plain(left)})"
    if right is not None:
        text += f" fill_right ({plain(right)})"
    return text
