"""Trees as the JSON that Prometheus' user interface draws them from, the answer of /api/v1/parse_query.

Source: web/api/v1/translate_ast.go of Prometheus; the interface is not documented.
"""

from __future__ import annotations

from typing import Any, assert_never

from watchkeeper_server.promql.numbers import plain
from watchkeeper_server.promql.signatures import SIGNATURES
from watchkeeper_server.promql.tree import (
    Aggregation,
    AtModifier,
    Binary,
    Call,
    Duration,
    Expr,
    Matching,
    MatrixSelector,
    Number,
    Paren,
    String,
    Subquery,
    Unary,
    VectorSelector,
)


def to_json(expr: Expr) -> dict[str, Any]:  # noqa: C901, PLR0911  one for each kind of node
    """The expression as JSON objects; durations and times are milliseconds, an arithmetic of durations is 0."""
    match expr:
        case Number():
            return {"type": "numberLiteral", "val": plain(expr.value)}
        case String():
            return {"type": "stringLiteral", "val": expr.value}
        case VectorSelector():
            return {"type": "vectorSelector", **_selector(expr)}
        case MatrixSelector():
            return {"type": "matrixSelector", "range": _milliseconds(expr.range), **_selector(expr.selector)}
        case Subquery():
            return _subquery(expr)
        case Call():
            return _call(expr)
        case Aggregation():
            return _aggregation(expr)
        case Binary():
            return _binary(expr)
        case Unary():
            return {"type": "unaryExpr", "op": expr.op, "expr": to_json(expr.expr)}
        case Paren():
            return {"type": "parenExpr", "expr": to_json(expr.expr)}
    assert_never(expr)


def _selector(selector: VectorSelector) -> dict[str, Any]:
    matchers = [{"name": each.name, "value": each.value, "type": each.op.value} for each in selector.matchers]
    return {
        "name": selector.name,
        "offset": _milliseconds(selector.offset),
        "matchers": matchers,
        **_at(selector.at),
        "anchored": selector.anchored,
        "smoothed": selector.smoothed,
    }


def _subquery(subquery: Subquery) -> dict[str, Any]:
    return {
        "type": "subquery",
        "expr": to_json(subquery.expr),
        "range": _milliseconds(subquery.range),
        "offset": _milliseconds(subquery.offset),
        "step": _milliseconds(subquery.step or 0),
        **_at(subquery.at),
    }


def _call(call: Call) -> dict[str, Any]:
    signature = SIGNATURES[call.function]
    function = {
        "name": signature.name,
        "argTypes": [kind.value for kind in signature.arguments],
        "variadic": signature.variadic,
        "returnType": signature.returns.value,
    }
    return {"type": "call", "func": function, "args": [to_json(arg) for arg in call.args]}


def _aggregation(aggregation: Aggregation) -> dict[str, Any]:
    return {
        "type": "aggregation",
        "op": aggregation.op,
        "expr": to_json(aggregation.expr),
        "param": to_json(aggregation.param) if aggregation.param else None,
        "grouping": list(aggregation.grouping),
        "without": aggregation.without,
    }


def _binary(binary: Binary) -> dict[str, Any]:
    return {
        "type": "binaryExpr",
        "op": binary.op,
        "lhs": to_json(binary.left),
        "rhs": to_json(binary.right),
        "matching": _matching(binary.matching) if binary.matching else None,
        "bool": binary.bool_,
    }


def _matching(matching: Matching) -> dict[str, Any]:
    return {
        "card": matching.cardinality.value,
        "labels": list(matching.labels),
        "on": matching.on,
        "include": list(matching.include),
        "fillValues": {"lhs": matching.fill_left, "rhs": matching.fill_right},
    }


def _milliseconds(duration: Duration) -> int:
    return duration if isinstance(duration, int) else 0


def _at(at: int | AtModifier | None) -> dict[str, Any]:
    if isinstance(at, AtModifier):
        return {"timestamp": None, "startOrEnd": at.value}
    return {"timestamp": at, "startOrEnd": None}
