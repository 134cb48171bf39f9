"""Whether a query makes sense: the types of its parts, and what may stand together.

What the parser hands over has the grammar's form. Complaints come in Prometheus' order: operands before operators.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from watchkeeper_server.promql.matchers import matches
from watchkeeper_server.promql.positions import parse_error
from watchkeeper_server.promql.quoting import quote
from watchkeeper_server.promql.signatures import AGGREGATIONS, SIGNATURES
from watchkeeper_server.promql.tree import (
    Aggregation,
    Binary,
    Call,
    Cardinality,
    Expr,
    MatrixSelector,
    Number,
    Paren,
    Span,
    String,
    Subquery,
    Unary,
    ValueType,
    VectorSelector,
)
from watchkeeper_server.promql.values import METRIC_NAME

COMPARISONS = frozenset({"==", "!=", "<", ">", "<=", ">="})
SET_OPERATORS = frozenset({"and", "or", "unless"})
TRIM_OPERATORS = frozenset({"</", ">/"})
_DOCUMENTED = {ValueType.VECTOR: "instant vector", ValueType.MATRIX: "range vector"}
_SCALAR, _VECTOR = ValueType.SCALAR, ValueType.VECTOR
_TYPES: Mapping[type, ValueType] = {
    Number: _SCALAR,
    String: ValueType.STRING,
    VectorSelector: _VECTOR,
    Aggregation: _VECTOR,
    MatrixSelector: ValueType.MATRIX,
    Subquery: ValueType.MATRIX,
}


def type_of(expr: Expr) -> ValueType:
    """What an expression evaluates to."""
    if isinstance(expr, Call):
        return SIGNATURES[expr.function].returns
    if isinstance(expr, Unary | Paren):
        return type_of(expr.expr)
    if isinstance(expr, Binary):
        scalars = expr.matching is None and type_of(expr.left) == _SCALAR == type_of(expr.right)
        return _SCALAR if scalars else _VECTOR
    return _TYPES[type(expr)]


def check(expr: Expr, text: str) -> None:
    """Complain about the first thing in `expr`, read from `text`, that makes no sense.

    Raises:
        ParseError: there is one.
    """
    _Checker(text).check(expr)


class _Checker:
    def __init__(self, text: str) -> None:
        self._text = text

    def check(self, expr: Expr) -> ValueType:
        """The type of `expr`, in which nothing is wrong."""
        match expr:
            case VectorSelector():
                self._selector(expr)
            case MatrixSelector():
                self._selector(expr.selector)
            case Call():
                self._call(expr)
            case Aggregation():
                self._aggregation(expr)
            case Subquery():
                self._subquery(expr)
            case Paren():
                return self.check(expr.expr)
            case Unary():
                return self._unary(expr)
            case Binary():
                return self._binary(expr)
        return type_of(expr)

    def _fail(self, message: str, span: Span) -> NoReturn:
        raise parse_error(self._text, message, span.start, span.end)

    def _selector(self, selector: VectorSelector) -> None:
        if selector.name:
            for matcher in selector.matchers[:-1]:
                if matcher.name == METRIC_NAME:
                    names = f"{quote(selector.name)} or {quote(matcher.value)}"
                    self._fail(f"metric name must not be set twice: {names}", selector.span)
        elif all(matches(matcher, "") for matcher in selector.matchers):
            self._fail("vector selector must contain at least one non-empty matcher", selector.span)

    def _expect(self, expr: Expr, wanted: ValueType, context: str) -> None:
        kind = self.check(expr)
        if kind != wanted:
            self._fail(f"expected type {_documented(wanted)} in {context}, got {_documented(kind)}", expr.span)

    def _call(self, call: Call) -> None:
        signature, given = SIGNATURES[call.function], len(call.args)
        least, most = signature.least, signature.most
        called = f"argument(s) in call to {quote(call.function)}, got {given}"
        if least == most != given:
            self._fail(f"expected {least} {called}", call.span)
        if given < least:
            self._fail(f"expected at least {least} {called}", call.span)
        if most is not None and given > most:
            self._fail(f"expected at most {most} {called}", call.span)
        args = call.args
        if call.function == "info" and given > 1:
            self._info_labels(args[1])
            args = args[:1]
        for index, arg in enumerate(args):
            self._expect(arg, signature.argument(index), f"call to function {quote(call.function)}")

    def _info_labels(self, arg: Expr) -> None:
        """The second argument of info() only looks like a selector; it may as well match everything."""
        if not isinstance(arg, VectorSelector):
            self._fail("expected label selectors only", arg.span)
        if arg.name:
            self._fail("expected label selectors only, got vector selector instead", arg.span)

    def _aggregation(self, aggregation: Aggregation) -> None:
        self._expect(aggregation.expr, _VECTOR, "aggregation expression")
        wanted = AGGREGATIONS[aggregation.op].parameter
        if wanted and aggregation.param:
            self._expect(aggregation.param, wanted, "aggregation parameter")

    def _subquery(self, subquery: Subquery) -> None:
        kind = self.check(subquery.expr)
        if kind != _VECTOR:
            self._fail(f"subquery is only allowed on instant vector, got {kind} instead", subquery.span)

    def _unary(self, unary: Unary) -> ValueType:
        kind = self.check(unary.expr)
        if kind not in {_SCALAR, _VECTOR}:
            what = "unary expression only allowed on expressions of type scalar or instant vector"
            self._fail(f'{what}, got "{_documented(kind)}"', unary.span)
        return kind

    def _binary(self, binary: Binary) -> ValueType:
        left, right = self.check(binary.left), self.check(binary.right)
        scalars = left == _SCALAR == right
        if binary.bool_ and binary.op not in COMPARISONS:
            self._fail("bool modifier can only be used on comparison operators", self._operator(binary))
        if scalars and binary.op in COMPARISONS and not binary.bool_:
            self._fail("comparisons between scalars must use BOOL modifier", self._operator(binary))
        if scalars and binary.op in TRIM_OPERATORS:
            self._fail(f"operator {quote(binary.op)} not allowed for Scalar operations", self._operator(binary))
        self._no_label_twice(binary)
        for kind, operand in ((left, binary.left), (right, binary.right)):
            if kind not in {_SCALAR, _VECTOR}:
                self._fail("binary expression must contain only scalar and instant vector types", operand.span)
        if left == _VECTOR == right:
            self._set_operator(binary)
        else:
            self._without_vectors(binary)
        return _SCALAR if scalars else _VECTOR

    def _no_label_twice(self, binary: Binary) -> None:
        if binary.matching and binary.matching.on:
            for label in binary.matching.labels:
                if label in binary.matching.include:
                    problem = f"label {quote(label)} must not occur in ON and GROUP clause at once"
                    self._fail(problem, self._operator(binary))

    def _set_operator(self, binary: Binary) -> None:
        matching = binary.matching
        if binary.op not in SET_OPERATORS or matching is None:
            return
        if matching.cardinality != Cardinality.MANY_TO_MANY:
            self._fail(f"no grouping allowed for {quote(binary.op)} operation", binary.span)
        if matching.fill_left is not None or matching.fill_right is not None:
            self._fail("filling in missing series not allowed for set operators", binary.span)

    def _without_vectors(self, binary: Binary) -> None:
        """The parser keeps the matching of what are not two vectors only to have it complained about."""
        if binary.matching and binary.matching.labels:
            self._fail("vector matching only allowed between instant vectors", binary.span)
        if binary.matching:
            self._fail("filling in missing series only allowed between instant vectors", binary.span)
        if binary.op in SET_OPERATORS:
            self._fail(f"set operator {quote(binary.op)} not allowed in binary scalar expression", binary.span)

    def _operator(self, binary: Binary) -> Span:
        """Where the operator and its modifiers stand."""
        between = self._text[binary.left.span.end : binary.right.span.start]
        start = binary.left.span.end + len(between) - len(between.lstrip())
        return Span(start, start + len(between.strip()))


def _documented(kind: ValueType) -> str:
    return _DOCUMENTED.get(kind, kind.value)
