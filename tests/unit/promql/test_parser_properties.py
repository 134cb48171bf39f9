"""Whatever is written: it is a tree or an error. Whatever tree: its text is read back as the same tree."""

from __future__ import annotations

import contextlib
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from watchkeeper_server.promql.checks import COMPARISONS, SET_OPERATORS
from watchkeeper_server.promql.duration_parser import MOST_PARTS
from watchkeeper_server.promql.durations import MOST
from watchkeeper_server.promql.errors import ParseError
from watchkeeper_server.promql.parser import parse
from watchkeeper_server.promql.printer import pretty, to_text
from watchkeeper_server.promql.signatures import AGGREGATIONS, SIGNATURES
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
    ValueType,
    VectorSelector,
)
from watchkeeper_server.promql.tree_json import to_json

# what Prometheus can be asked at all: anything that UTF-8 can carry
texts = st.text(st.characters(codec="utf-8"), max_size=8)
words = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,6}", fullmatch=True)
metrics = st.from_regex(r"m[a-z0-9_:]{0,6}", fullmatch=True) | st.sampled_from(["sum", "by", "offset", "start", "or"])
labels = words | texts.filter(bool)
lists_of_labels = st.lists(labels, max_size=3).map(tuple)
milliseconds = st.integers(1, MOST)
seconds = milliseconds.map(lambda ms: Number(ms / 1000, duration=True)).filter(lambda number: number.value < 2**40)
finite = st.floats(allow_nan=False, allow_infinity=False)
numbers = st.floats(allow_nan=False).map(Number) | seconds
matchers = st.one_of(
    st.builds(Matcher, labels, st.sampled_from([MatchOp.EQUAL, MatchOp.NOT_EQUAL]), texts),
    st.builds(Matcher, labels, st.sampled_from([MatchOp.REGEX, MatchOp.NOT_REGEX]), words),
).filter(lambda matcher: matcher.name != "__name__")
times = st.none() | st.sampled_from(AtModifier) | st.integers(-(10**15), 10**15)

# parentheses around every operand, so that no more is said than the tree does
arithmetics: st.SearchStrategy[DurationOf] = st.deferred(
    lambda: st.one_of(
        st.builds(DurationOf, st.sampled_from(["step", "range"])),
        st.builds(lambda op, a, b: DurationOf(op, (a, b)), st.sampled_from("+-*^"), _operands, _operands),
        st.builds(lambda op, a, b: DurationOf(op, (a, b)), st.sampled_from(["min", "max"]), _operands, _operands),
        st.builds(lambda a: DurationOf("-", (a,)), _in_parentheses),
        _in_parentheses,
    )
)
_in_parentheses = st.builds(lambda inner: DurationOf("()", (inner,)), arithmetics)
_operands = st.one_of(seconds, seconds, _in_parentheses)


def parts(duration: DurationOf | Number) -> int:
    return 1 + sum(map(parts, duration.operands)) if isinstance(duration, DurationOf) else 1


def few_parts(duration: DurationOf | Number) -> bool:
    return parts(duration) <= MOST_PARTS


ranges: st.SearchStrategy[Duration] = st.one_of(milliseconds, milliseconds, arithmetics.filter(few_parts))
offsets: st.SearchStrategy[Duration] = st.one_of(
    st.integers(-MOST, MOST), st.just(0), _in_parentheses.filter(few_parts), st.just(DurationOf("step"))
)


@st.composite
def selectors(draw: st.DrawFn) -> VectorSelector:
    chosen = sorted(draw(st.lists(matchers, max_size=3)), key=lambda each: to_text(VectorSelector("", (each,))))
    name = draw(metrics | st.just(""))
    own = Matcher("__name__", MatchOp.EQUAL, name or "quoted name")
    both = {"anchored": draw(st.booleans())} | {"smoothed": False}
    all_matchers = [*chosen, own] if name else sorted([*chosen, own], key=lambda m: to_text(VectorSelector("", (m,))))
    return VectorSelector(name, tuple(all_matchers), draw(offsets), draw(times), **both)


def matchings(operator: str) -> st.SearchStrategy[Matching]:
    if operator in SET_OPERATORS:
        return st.builds(Matching, st.just(Cardinality.MANY_TO_MANY), st.booleans(), lists_of_labels)
    fills = st.none() | finite
    one = st.builds(
        Matching, st.just(Cardinality.ONE_TO_ONE), st.booleans(), lists_of_labels, fill_left=fills, fill_right=fills
    )
    many = st.builds(
        Matching,
        st.sampled_from([Cardinality.MANY_TO_ONE, Cardinality.ONE_TO_MANY]),
        st.just(value=False),
        lists_of_labels,
        lists_of_labels,
    )
    return one | many


@st.composite
def trees(draw: st.DrawFn, kind: ValueType = ValueType.VECTOR, depth: int = 3) -> Expr:  # noqa: C901  one a kind of node
    """Any tree that the parser makes, with parentheses around every operand."""

    def inner(kind: ValueType) -> Expr:
        return draw(trees(kind, depth - 1))

    if kind == ValueType.STRING:
        return String(draw(texts))
    if kind == ValueType.MATRIX:
        if depth > 0 and draw(st.booleans()):
            steps = st.none() | ranges
            return Subquery(Paren(inner(ValueType.VECTOR)), draw(ranges), draw(steps), draw(offsets), draw(times))
        selector = draw(selectors())
        return MatrixSelector(selector, draw(ranges))
    if depth == 0:
        return draw(numbers) if kind == ValueType.SCALAR else draw(selectors())
    match draw(st.sampled_from(["leaf", "call", "aggregation", "binary", "unary"])):
        case "call":
            functions = [each for each in SIGNATURES.values() if each.returns == kind and each.name != "info"]
            signature = draw(st.sampled_from(sorted(functions, key=lambda each: each.name)))
            count = draw(
                st.integers(signature.least, signature.least + 2 if signature.most is None else signature.most)
            )
            return Call(signature.name, tuple(inner(signature.argument(index)) for index in range(count)))
        case "aggregation" if kind == ValueType.VECTOR:
            aggregation = AGGREGATIONS[draw(st.sampled_from(sorted(AGGREGATIONS)))]
            param = inner(aggregation.parameter) if aggregation.parameter else None
            grouping = draw(lists_of_labels)
            without = draw(st.booleans())
            return Aggregation(aggregation.name, inner(ValueType.VECTOR), param, grouping, without)
        case "binary":
            operators = ["+", "-", "*", "/", "%", "^", "atan2", *sorted(COMPARISONS)]
            if kind == ValueType.SCALAR:
                operator = draw(st.sampled_from(operators))
                operands = Paren(inner(kind)), Paren(inner(kind))
                return Binary(operator, *operands, None, operator in COMPARISONS)
            operator = draw(st.sampled_from([*operators, *sorted(SET_OPERATORS)]))
            bool_ = operator in COMPARISONS and draw(st.booleans())
            left, right = Paren(inner(ValueType.VECTOR)), Paren(inner(ValueType.VECTOR))
            return Binary(operator, left, right, draw(matchings(operator)), bool_)
        case "unary":
            return Unary(draw(st.sampled_from("+-")), Paren(inner(kind)))
    return draw(numbers) if kind == ValueType.SCALAR else draw(selectors())


any_tree = st.sampled_from(ValueType).flatmap(trees)
symbols = "( ) [ ] { } + - * / % ^ , : @ = # == != =~ <= ! ? é \\ 'a' \"b\" `c` '\\"
tokens = "a b:c sum rate by without on ignoring group_left bool offset fill start step max and or anchored topk"
literals = "5m 1h30m 1.5 0x1F NaN 5mm 1e 0"
pieces = st.sampled_from([*symbols.split(), *tokens.split(), *literals.split(), " ", "\n", "\ud800", "\x00"])


@settings(max_examples=300)
@given(any_tree)
def test_a_tree_is_read_back_from_its_text(tree: Expr) -> None:
    text = to_text(tree)
    assert parse(text, experimental=True) == tree
    assert to_text(parse(text, experimental=True)) == text


@settings(max_examples=100)
@given(any_tree)
def test_a_tree_is_read_back_from_its_pretty_text(tree: Expr) -> None:
    assert parse(pretty(tree), experimental=True) == tree


@settings(max_examples=100)
@given(any_tree)
def test_nodes_lie_within_the_query_and_within_each_other(tree: Expr) -> None:
    text = to_text(tree)

    def check(expr: Expr, start: int, end: int) -> None:
        assert start <= expr.span.start < expr.span.end <= end
        match expr:
            case Subquery() | Unary() | Paren():
                check(expr.expr, expr.span.start, expr.span.end)
            case MatrixSelector():
                check(expr.selector, expr.span.start, expr.span.end)
            case Call():
                for arg in expr.args:
                    check(arg, expr.span.start, expr.span.end)
            case Binary():
                check(expr.left, expr.span.start, expr.span.end)
                check(expr.right, expr.left.span.end, expr.span.end)
            case _:
                pass

    check(parse(text, experimental=True), 0, len(text))


@settings(max_examples=100)
@given(any_tree)
def test_any_tree_can_be_drawn(tree: Expr) -> None:
    assert to_json(tree)["type"]


def parsed_or_refused(text: str) -> None:
    for experimental in (False, True):
        try:
            tree = parse(text, experimental=experimental)
        except ParseError as error:
            assert 0 <= error.start <= error.end <= len(text)  # noqa: PT017  both outcomes are right
            assert ": parse error: " in str(error)  # noqa: PT017
        else:
            again = parse(to_text(tree), experimental=experimental)
            assert to_text(again) == to_text(tree)


@settings(max_examples=300)
@given(st.text(max_size=30))
def test_any_text_is_a_query_or_refused(text: str) -> None:
    parsed_or_refused(text)


@settings(max_examples=500)
@given(st.lists(pieces, max_size=15).map("".join))
def test_any_row_of_tokens_is_a_query_or_refused(text: str) -> None:
    parsed_or_refused(text)


@settings(max_examples=200)
@given(any_tree, st.data())
def test_a_query_with_something_missing_is_a_query_or_refused(tree: Expr, data: st.DataObject) -> None:
    text = to_text(tree)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 4)))
    parsed_or_refused(text[:start] + text[end:])


@given(finite)
def test_a_number_is_read_back_exactly(value: float) -> None:
    with contextlib.suppress(ParseError):
        tree = parse(repr(value))
        assert isinstance(tree, Number)
        assert tree.value == value
        assert math.copysign(1, tree.value) == math.copysign(1, value)
