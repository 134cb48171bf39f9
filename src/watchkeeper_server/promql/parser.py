"""A query's text as a tree.

`parse` accepts what Prometheus 3 accepts and refuses the rest in its words. It looks one token ahead and never back, so
it takes time proportional to the text's length; what is nested too deeply to be walked recursively is refused.

Source: https://prometheus.io/docs/prometheus/latest/querying/basics/ and …/operators/; which words come where is said
by the grammar of Prometheus' own parser, promql/parser/generated_parser.y.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NoReturn

from watchkeeper_server.promql.checks import SET_OPERATORS, check, type_of
from watchkeeper_server.promql.cursor import Cursor, span_of
from watchkeeper_server.promql.lexer import KEYWORDS, PREPROCESSORS, WORD_OPERATORS, Token
from watchkeeper_server.promql.modifiers import MODIFIERS
from watchkeeper_server.promql.quoting import quote, unquote
from watchkeeper_server.promql.regexes import RegexError, compiled
from watchkeeper_server.promql.signatures import AGGREGATIONS, SIGNATURES
from watchkeeper_server.promql.tree import (
    Aggregation,
    Binary,
    Call,
    Cardinality,
    Expr,
    Matcher,
    Matching,
    MatchOp,
    Number,
    Paren,
    Span,
    String,
    Unary,
    ValueType,
    VectorSelector,
)
from watchkeeper_server.promql.values import METRIC_NAME

# Parentheses, calls and signs inside each other, which are read recursively; and levels of a tree, in which a chain of
# operators nests, too: whoever walks it may do so recursively.
MOST_NESTED = 100
MOST_LEVELS = 200
# Characters of a query whose tree is kept.
_MOST_REMEMBERED = 4096
_PRECEDENCE = {
    **dict.fromkeys(("or",), 1),
    **dict.fromkeys(("and", "unless"), 2),
    **dict.fromkeys(("==", "!=", "<", ">", "<=", ">=", "</", ">/"), 3),
    **dict.fromkeys(("+", "-"), 4),
    **dict.fromkeys(("*", "/", "%", "atan2"), 5),
    "^": 6,
}
# a sign is of the whole power
_OF_SIGNED = _PRECEDENCE["^"]
_WORDS = frozenset({"IDENTIFIER", "METRIC_IDENTIFIER", *AGGREGATIONS, *PREPROCESSORS})
# keywords that can be the names of metrics, and of labels behind `by` and its like
_METRICS = _WORDS | {"and", "or", "unless", "by", "without", "offset", "anchored", "smoothed"}
# what an expression can begin with; what is no token has its own complaint
_BEGINNINGS = _METRICS | {"NUMBER", "DURATION", "STRING", "+", "-", "{", "(", "ERROR"}
_AFTER_GROUP = (_BEGINNINGS - {"("}) | {"fill", "fill_left", "fill_right"}
_LABELS = (_WORDS | KEYWORDS | WORD_OPERATORS) - {"without"}


def parse(text: str, *, experimental: bool = False) -> Expr:
    """The tree of a query, kept for when it is asked again; `experimental` allows what Prometheus has behind flags.

    Raises:
        ParseError: it is not PromQL, or makes no sense.
    """
    return (_remembered if len(text) <= _MOST_REMEMBERED else _parsed)(text, experimental)


def _parsed(text: str, experimental: bool) -> Expr:
    expr = _Parser(Cursor(text, experimental=experimental)).whole()
    check(expr, text)
    return expr


# Dashboards and rules ask the same again and again, and to parse it takes a third of a small query's time.
_remembered = lru_cache(maxsize=1024)(_parsed)


def parse_selector(text: str) -> tuple[Matcher, ...]:
    """The matchers of a selector without modifiers, `up{job="api"}`; unlike in a query all may match the empty string.

    Raises:
        ParseError: it is something else.
    """
    return _Parser(Cursor(text, experimental=False)).only_selector().matchers


class _Parser:
    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._nested = 0
        # levels of the tree that was last read
        self._height = 0
        # inside how many aggregations, for the words of complaints
        self._aggregations = 0

    def whole(self) -> Expr:
        cursor = self._cursor
        if cursor.token.kind == "EOF":
            cursor.fail("no expression found in input", 0, 0)
        expr = self._expression(1)
        if cursor.token.kind != "EOF":
            cursor.unexpected()
        return expr

    def only_selector(self) -> VectorSelector:
        cursor = self._cursor
        if cursor.token.kind != "{" and cursor.token.kind not in _METRICS:
            cursor.unexpected()
        selector = self._selector()
        if cursor.token.kind != "EOF":
            cursor.unexpected()
        return selector

    def _expression(self, least: int) -> Expr:
        """Operators that bind at least so tightly, and their operands."""
        cursor = self._cursor
        self._nested += 1
        if self._nested > MOST_NESTED:
            message = f"expression is nested too deeply, at most {MOST_NESTED} levels are allowed"
            cursor.fail(message, *span_of(cursor.token))
        left = self._operand()
        height = self._height
        while (precedence := _PRECEDENCE.get(cursor.token.kind, 0)) >= least:
            operator = cursor.advance().kind
            bool_ = cursor.skip("bool")
            matching = self._matching(operator)
            right = self._expression(precedence + (operator != "^"))
            height = self._rise(max(height, self._height), left.span.start)
            left = self._binary(operator, left, right, matching, bool_=bool_)
        self._nested -= 1
        return left

    def _rise(self, height: int, start: int) -> int:
        """One level above trees of that height."""
        self._height = height + 1
        if self._height > MOST_LEVELS:
            message = f"expression is too long, at most {MOST_LEVELS} operations may follow each other"
            self._cursor.fail(message, start, self._cursor.end)
        return self._height

    def _binary(self, operator: str, left: Expr, right: Expr, matching: Matching, *, bool_: bool) -> Binary:
        span = Span(left.span.start, right.span.end)
        filled = matching.fill_left is not None or matching.fill_right is not None
        if filled and not self._cursor.experimental:
            self._cursor.fail("binop fill modifiers are experimental and not enabled", span.start, span.end)
        # between others than vectors only what has to be complained about is kept
        kept = matching.labels or filled or type_of(left) == ValueType.VECTOR == type_of(right)
        return Binary(operator, left, right, matching if kept else None, bool_, span=span)

    def _operand(self) -> Expr:
        """What operators are between: a sign and what it is of, or something with its modifiers."""
        cursor, sign = self._cursor, self._cursor.token
        if sign.kind in {"+", "-"}:
            cursor.advance()
            operand = self._expression(_OF_SIGNED)
            self._rise(self._height, sign.start)
            return _with_sign(sign, operand)
        expr = self._primary()
        while modifier := MODIFIERS.get(cursor.token.kind):
            expr = modifier(cursor, expr)
            self._rise(self._height, expr.span.start)
        return expr

    def _primary(self) -> Expr:
        cursor = self._cursor
        token, kind, following = cursor.token, cursor.token.kind, cursor.following
        self._height = 1
        if kind in {"NUMBER", "DURATION"}:
            return cursor.number()
        if kind == "STRING":
            cursor.advance()
            return String(unquote(token.text), span=Span(*span_of(token)))
        if kind == "(":
            cursor.advance()
            expr = self._expression(1)
            self._expect(")")
            self._rise(self._height, token.start)
            return Paren(expr, span=Span(token.start, cursor.end))
        if following == "(" and (kind == "IDENTIFIER" or kind in PREPROCESSORS):
            return self._call()
        if following in {"(", "by", "without"} and kind in AGGREGATIONS:
            return self._aggregation()
        if kind != "{" and kind not in _METRICS:
            self._unexpected()
        return self._selector()

    # calls and aggregations

    def _call(self) -> Call:
        name = self._cursor.advance()
        args = self._arguments()
        signature = SIGNATURES.get(name.text)
        if signature is None:
            self._cursor.fail(f"unknown function with name {quote(name.text)}", *span_of(name))
        if signature.experimental and not self._cursor.experimental:
            self._cursor.fail(f"function {quote(name.text)} is not enabled", *span_of(name))
        return Call(name.text, args, span=Span(name.start, self._cursor.end))

    def _arguments(self) -> tuple[Expr, ...]:
        cursor = self._cursor
        self._expect("(")
        if cursor.skip(")"):
            return ()
        start, args = cursor.token.start, [self._expression(1)]
        height = self._height
        while cursor.token.kind == ",":
            comma = cursor.advance()
            if cursor.token.kind not in _BEGINNINGS:
                cursor.fail("trailing commas not allowed in function call args", *span_of(comma))
            args.append(self._expression(1))
            height = max(height, self._height)
        self._expect(")")
        self._rise(height, start)
        return tuple(args)

    def _aggregation(self) -> Aggregation:
        cursor = self._cursor
        operator = cursor.advance()
        self._aggregations += 1
        grouping, without = self._grouping()
        args = self._arguments()
        self._aggregations -= 1
        if grouping is None and cursor.token.kind == "ERROR":
            cursor.unexpected()
        if grouping is None:
            grouping, without = self._grouping()
        span = Span(operator.start, cursor.end)
        signature = AGGREGATIONS[operator.kind]
        if not args:
            cursor.fail("no arguments for aggregate expression provided", span.start, span.end)
        if signature.experimental and not cursor.experimental:
            flag = "--enable-feature=promql-experimental-functions"
            message = f"{operator.kind}() is experimental and must be enabled with {flag}"
            cursor.fail(message, span.start, span.end)
        wanted = 2 if signature.parameter else 1
        if len(args) != wanted:
            message = "wrong number of arguments for aggregate expression provided"
            cursor.fail(f"{message}, expected {wanted}, got {len(args)}", span.start, span.end)
        param = args[0] if signature.parameter else None
        return Aggregation(operator.kind, args[-1], param, grouping or (), without, span=span)

    def _grouping(self) -> tuple[tuple[str, ...] | None, bool]:
        """The labels of `by` or `without`, if there are any, and which of the two it is."""
        kind = self._cursor.token.kind
        if kind not in {"by", "without"}:
            return None, False
        self._cursor.advance()
        return self._labels(), kind == "without"

    def _labels(self) -> tuple[str, ...]:
        cursor, context = self._cursor, "grouping opts"
        cursor.expect("(", context, '"("')
        labels: list[str] = []
        while not cursor.skip(")"):
            token = cursor.token
            if token.kind != "STRING" and token.kind not in _LABELS:
                cursor.unexpected(context, "label")
            cursor.advance()
            label = unquote(token.text) if token.kind == "STRING" else token.text
            if not label:
                cursor.fail('invalid label name for grouping: ""', *span_of(token))
            labels.append(label)
            if not cursor.skip(",") and cursor.token.kind != ")":
                cursor.unexpected(context, '"," or ")"')
        return tuple(labels)

    # what stands between an operator and its right side

    def _matching(self, operator: str) -> Matching:
        cursor, kind = self._cursor, self._cursor.token.kind
        cardinality = Cardinality.MANY_TO_MANY if operator in SET_OPERATORS else Cardinality.ONE_TO_ONE
        labels: tuple[str, ...] = ()
        include: tuple[str, ...] = ()
        if kind in {"on", "ignoring"}:
            cursor.advance()
            labels = self._labels()
            group = cursor.token.kind
            if group in {"group_left", "group_right"}:
                cursor.advance()
                cardinality = Cardinality.MANY_TO_ONE if group == "group_left" else Cardinality.ONE_TO_MANY
                # a parenthesis belongs to the modifier, never to the right side
                include = () if cursor.token.kind in _AFTER_GROUP else self._labels()
        return Matching(cardinality, kind == "on", labels, include, *self._fills())

    def _fills(self) -> tuple[float | None, float | None]:
        cursor = self._cursor
        if cursor.skip("fill"):
            value = self._fill()
            return value, value
        left, right = None, None
        while (left is None and cursor.token.kind == "fill_left") or (
            right is None and cursor.token.kind == "fill_right"
        ):
            if cursor.advance().kind == "fill_left":
                left = self._fill()
            else:
                right = self._fill()
        return left, right

    def _fill(self) -> float:
        self._expect("(")
        sign = self._cursor.token.kind
        if sign in {"+", "-"}:
            self._cursor.advance()
        if self._cursor.token.kind not in {"NUMBER", "DURATION"}:
            self._unexpected()
        value = self._cursor.number().value
        self._expect(")")
        return -value if sign == "-" else value

    # selectors

    def _selector(self) -> VectorSelector:
        cursor, start = self._cursor, self._cursor.token.start
        name = cursor.advance().text if cursor.token.kind != "{" else ""
        matchers: list[Matcher] = []
        if cursor.skip("{"):
            while not cursor.skip("}"):
                matchers.append(self._matcher())
                if not cursor.skip(",") and cursor.token.kind != "}":
                    cursor.unexpected("label matching", '"," or "}"')
        if name:
            matchers.append(Matcher(METRIC_NAME, MatchOp.EQUAL, name))
        return VectorSelector(name, tuple(matchers), span=Span(start, cursor.end))

    def _matcher(self) -> Matcher:
        cursor, label, context = self._cursor, self._cursor.token, "label matching"
        if label.kind not in {"IDENTIFIER", "STRING"}:
            cursor.unexpected(context, 'identifier or "}"')
        cursor.advance()
        quoted = label.kind == "STRING"
        name = unquote(label.text) if quoted else label.text
        if quoted and cursor.token.kind in {",", "}"}:
            return Matcher(METRIC_NAME, MatchOp.EQUAL, name)
        if cursor.token.kind not in {"=", "!=", "=~", "!~"}:
            cursor.unexpected(context, '"," or "}"' if quoted else "label matching operator")
        op = MatchOp(cursor.advance().kind)
        value = unquote(cursor.expect("STRING", context, "string").text)
        if op in {MatchOp.REGEX, MatchOp.NOT_REGEX}:
            try:
                compiled(value)
            except RegexError as error:
                cursor.fail(str(error), label.start, cursor.end)
        return Matcher(name, op, value)

    # complaints

    def _expect(self, kind: str) -> Token:
        return self._cursor.expect(kind, self._context)

    def _unexpected(self) -> NoReturn:
        self._cursor.unexpected(self._context)

    @property
    def _context(self) -> str:
        return "aggregation" if self._aggregations else ""


def _with_sign(sign: Token, expr: Expr) -> Expr:
    span = Span(sign.start, expr.span.end)
    if isinstance(expr, Number):
        return replace(expr, value=-expr.value if sign.kind == "-" else expr.value, span=span)
    return Unary(sign.kind, expr, span=span)
