"""What the parser accepts, and what it takes it for."""

from __future__ import annotations

import time

import pytest

from watchkeeper_server.promql.checks import type_of
from watchkeeper_server.promql.errors import ParseError
from watchkeeper_server.promql.parser import parse, parse_selector
from watchkeeper_server.promql.printer import to_text
from watchkeeper_server.promql.tree import (
    Aggregation,
    AtModifier,
    Binary,
    Call,
    Cardinality,
    DurationOf,
    Expr,
    Matcher,
    Matching,
    MatchOp,
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

ACCEPTED = [
    # numbers
    ("42", "42"),
    ("007", "7"),
    ("0_17", "15"),
    ("089", "89"),
    ("0xFf", "255"),
    ("0x_1_0", "16"),
    ("1_000.2_5", "1000.25"),
    (".5e+1", "5"),
    ("7.", "7"),
    ("2E3", "2000"),
    ("1e-3", "0.001"),
    ("iNf", "+Inf"),
    ("-INF", "-Inf"),
    ("NAN", "NaN"),
    ("+--3", "3"),
    ("1h30m", "1h30m"),
    ("-90s", "-1m30s"),
    ("0s", "0s"),
    # strings
    (r'"tab\tquote\"slash\\"', r'"tab\tquote\"slash\\"'),
    (r"'it\'s \"'".replace(r"\"", '"'), r'"it' + r"'s \"" + '"'),
    ("`raw \\n\nline`", r'"raw \\n\nline"'),
    (r'"\x41\102\u00e9\U0001F600"', '"ABé😀"'),
    (r'"\xe2\x82\xac"', '"€"'),
    (r'"\xff"', r'"\ufffd"'),
    # selectors
    ("up", "up"),
    ("job:errors:rate5m", "job:errors:rate5m"),
    (":odd", ":odd"),
    ('up{job="a",}', 'up{job="a"}'),
    ("up{}", "up"),
    ("up { job != 'a' , b =~ `.+` }", 'up{b=~".+",job!="a"}'),
    ('{__name__=~"node_.*", x!~"y"}', '{__name__=~"node_.*",x!~"y"}'),
    ('{"http.server.duration"}', '{__name__="http.server.duration"}'),
    ('{"a.b", "la bel"="x", ok="y"}', '{"la bel"="x",__name__="a.b",ok="y"}'),
    ('{on="a", bool="b", sum="c", offset="d"}', '{bool="b",offset="d",on="a",sum="c"}'),
    ("up # the scrape worked\n{ # of\njob='a'}", 'up{job="a"}'),
    # keywords as names
    ("sum", "sum"),
    ("sum + by", "sum + by"),
    ('Without{a="b"}', 'Without{a="b"}'),
    ("offset offset 1m", "offset offset 1m"),
    ("start + end + step + range", "start + end + step + range"),
    ("and and or", "and and or"),
    ("anchored", "anchored"),
    ("fill + fill_left - fill_right", "fill + fill_left - fill_right"),
    ("limitk", "limitk"),
    # ranges, offsets, times
    ("up[90s]", "up[1m30s]"),
    ("up[0.25]", "up[250ms]"),
    ("up[1y1d]", "up[366d]"),
    ("up offset 5m", "up offset 5m"),
    ("up OFFSET -1w", "up offset -1w"),
    ("up offset +30", "up offset 30s"),
    ("up offset 0s", "up"),
    ("up @ 1.5 offset 1m", "up @ 1.500 offset 1m"),
    ("up offset 1m @ 1.5", "up @ 1.500 offset 1m"),
    ("up[5m] @ end() offset 1m", "up[5m] @ end() offset 1m"),
    ("up @ -1e3", "up @ -1000.000"),
    ("up @ 1h", "up @ 3600.000"),
    ("up @ start()", "up @ start()"),
    ("up @ end()[5m]", "up[5m] @ end()"),
    ("up offset 5m + 1m", "up offset 5m + 1m"),
    # subqueries
    ("up[5m:]", "up[5m:]"),
    ("up[5m:30s] offset 1m", "up[5m:30s] offset 1m"),
    ("(a + b)[1h:5m] @ 10", "(a + b)[1h:5m] @ 10.000"),
    ("max_over_time(rate(up[1m])[5m:])[10m:1m]", "max_over_time(rate(up[1m])[5m:])[10m:1m]"),
    ("up offset 1m [5m:]", "up offset 1m[5m:]"),
    # operators
    ("a<=b", "a <= b"),
    ("a ATAN2 b", "a atan2 b"),
    ("a == bool 1", "a == bool 1"),
    ("1 > bool 2", "1 > bool 2"),
    ("a*on()b", "a * on () b"),
    ("a / ignoring(x,) b", "a / ignoring (x) b"),
    ("a + on(x, 'y z') group_left(p,q) b", 'a + on (x, "y z") group_left (p, q) b'),
    ("a + ignoring(x) group_right b", "a + ignoring (x) group_right () b"),
    ("a unless on(x) b", "a unless on (x) b"),
    ("a and ignoring() b", "a and b"),
    ("1 + on() a", "1 + a"),
    # aggregations
    ("sum(a)", "sum(a)"),
    ("SUM(a) BY (x)", "sum by (x) (a)"),
    ("avg without(x)(a)", "avg without (x) (a)"),
    ("count by () (a)", "count(a)"),
    ("min without () (a)", "min without () (a)"),
    ("sum by (by, on, group_left, bool, offset, and) (a)", "sum by (by, on, group_left, bool, offset, and) (a)"),
    ("sum by ('a b', `c`,) (a)", 'sum by ("a b", c) (a)'),
    ("topk(scalar(x), a)", "topk(scalar(x), a)"),
    ('count_values("v", a)', 'count_values("v", a)'),
    ("quantile(0.5, a) by (x)", "quantile by (x) (0.5, a)"),
    # functions
    ("time()", "time()"),
    ("hour()", "hour()"),
    ("round(a, 0.1)", "round(a, 0.1)"),
    ('label_join(a, "d", ",")', 'label_join(a, "d", ",")'),
    ('label_join(a, "d", ",", "x", "y", "z")', 'label_join(a, "d", ",", "x", "y", "z")'),
    ("histogram_fraction(0, 1, a)", "histogram_fraction(0, 1, a)"),
    ("rate(a[5m:1m])", "rate(a[5m:1m])"),
]

EXPERIMENTS = [
    ("limitk by (x) (3, a)", "limitk by (x) (3, a)"),
    ("limit_ratio(-0.5, a)", "limit_ratio(-0.5, a)"),
    ("step() + range() + start() - end()", "step() + range() + start() - end()"),
    ("info(a)", "info(a)"),
    ("info(a, {})", "info(a, {})"),
    ('info(a, {x=~".*"})', 'info(a, {x=~".*"})'),
    ('sort_by_label(a, "x")', 'sort_by_label(a, "x")'),
    ('histogram_quantiles(a, "q", 0.5, 0.9, 0.99)', 'histogram_quantiles(a, "q", 0.5, 0.9, 0.99)'),
    ("rate(a[5m] anchored)", "rate(a[5m] anchored)"),
    ("rate(a[5m] offset 1m smoothed)", "rate(a[5m] smoothed offset 1m)"),
    ("a smoothed @ 1", "a @ 1.000 smoothed"),
    ("a + fill(0) b", "a + fill (0) b"),
    ("a + on(x) group_left fill_left(-1.5) b", "a + on (x) group_left () fill_left (-1.5) b"),
    ("a + fill_right(1) fill_left(2) b", "a + fill_left (2) fill_right (1) b"),
    ("a[5m + 1m]", "a[5m + 1m]"),
    ("a[(5 + 2) * 1m : step() ^ 2]", "a[(5 + 2) * 1m:step() ^ 2]"),
    ("a offset (1h / 2)", "a offset (1h / 2)"),
    ("a offset -(1h % 7m) - b", "a offset -(1h % 7m) - b"),
    ("a offset max(step(), MIN(5s, range()))", "a offset max(step(), min(5s, range()))"),
    ("a[-min(-1m, 2)]", "a[-min(-1m, 2)]"),
    ("a[Min_Of(step(), 5m)] offset max_of(1m, range())", "a[min_of(step(), 5m)] offset max_of(1m, range())"),
    ("max_of(1, scalar(min_of))", "max_of(1, scalar(min_of))"),
    ("a[range()] @ end()", "a[range()] @ end()"),
    ('sum by ("NaN", "without", nano) (a{inf="x"})', 'sum by ("NaN", "without", nano) (a{inf="x"})'),
]

GROUPED = [
    ("-x^2", "-(x ^ 2)"),
    ("-1^2", "-(1 ^ 2)"),
    ("-x * 2", "((-x) * 2)"),
    ("-x offset 1m", "-x offset 1m"),
    ("-x @ 1 ^ y", "-(x @ 1.000 ^ y)"),
    ("2^3^2", "(2 ^ (3 ^ 2))"),
    ("2^-x^2*y", "((2 ^ -(x ^ 2)) * y)"),
    ("a-b-c", "((a - b) - c)"),
    ("a+b*c", "(a + (b * c))"),
    ("a*b/c%d atan2 e", "((((a * b) / c) % d) atan2 e)"),
    ("a+b > c-d", "((a + b) > (c - d))"),
    ("a > b == c", "((a > b) == c)"),
    ("a or b and c unless d", "(a or ((b and c) unless d))"),
    ("a and b or c == d", "((a and b) or (c == d))"),
    ("a offset 1m ^ b @ 3", "(a offset 1m ^ b @ 3.000)"),
    ("a + on(x) b * ignoring(y) c", "(a + on (x) (b * ignoring (y) c))"),
]


def grouped(expr: Expr) -> str:
    """The text with parentheses around every operation."""
    match expr:
        case Binary():
            operator = to_text(Binary(expr.op, String(""), String(""), expr.matching, expr.bool_))[3:-3]
            return f"({grouped(expr.left)} {operator} {grouped(expr.right)})"
        case Unary():
            inner = f"{expr.op}{grouped(expr.expr)}"
            return f"({inner})" if isinstance(expr.expr, VectorSelector) and not expr.expr.offset else inner
        case _:
            return to_text(expr)


def named(name: str, *matchers: Matcher, at: int | AtModifier | None = None) -> VectorSelector:
    return VectorSelector(name, (*matchers, Matcher("__name__", MatchOp.EQUAL, name)), at=at)


@pytest.mark.parametrize(("text", "canonical"), ACCEPTED)
def test_what_prometheus_accepts_is_accepted(text: str, canonical: str) -> None:
    assert to_text(parse(text)) == canonical
    assert to_text(parse(canonical)) == canonical
    assert parse(text, experimental=True) == parse(text) or "NAN" in text


@pytest.mark.parametrize(("text", "canonical"), EXPERIMENTS)
def test_experiments_are_accepted_when_allowed(text: str, canonical: str) -> None:
    assert to_text(parse(text, experimental=True)) == canonical
    assert to_text(parse(canonical, experimental=True)) == canonical


@pytest.mark.parametrize(("text", "expected"), GROUPED)
def test_operators_bind_as_in_prometheus(text: str, expected: str) -> None:
    assert grouped(parse(text)) == expected


def test_a_query_becomes_its_tree() -> None:
    selector = named("x", Matcher("a", MatchOp.NOT_REGEX, "b"), at=AtModifier.END)
    expected = Aggregation(
        "topk",
        Call("rate", (MatrixSelector(selector, 300_000),)),
        Number(3.0),
        ("job", "a b"),
        without=True,
    )
    assert parse('topk without (job, "a b") (3, rate(x{a!~"b"}[5m] @ end()))') == expected


def test_a_quoted_metric_is_only_among_the_matchers() -> None:
    assert parse('{"a.b"}') == VectorSelector("", (Matcher("__name__", MatchOp.EQUAL, "a.b"),))


def test_vectors_match_and_numbers_do_not() -> None:
    assert parse("a * b") == Binary("*", named("a"), named("b"), Matching())
    assert parse("a * 2") == Binary("*", named("a"), Number(2.0))
    assert parse("a or b") == Binary("or", named("a"), named("b"), Matching(Cardinality.MANY_TO_MANY))


def test_a_subquery_without_a_step_leaves_it_open() -> None:
    assert parse("(a)[1m:]") == Subquery(Paren(named("a")), 60_000)
    assert parse("(a)[1m:2]") == Subquery(Paren(named("a")), 60_000, 2000)


def test_an_arithmetic_of_durations_is_kept_for_later() -> None:
    expected = DurationOf("*", (Number(2.0), DurationOf("()", (DurationOf("step"),))))
    assert parse("a[2 * (step())]", experimental=True) == MatrixSelector(named("a"), expected)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1 + 2", ValueType.SCALAR),
        ("-(1 > bool 2)", ValueType.SCALAR),
        ("1 + a", ValueType.VECTOR),
        ("-sum(a)", ValueType.VECTOR),
        ("scalar(a) * 2", ValueType.SCALAR),
        ("a[5m]", ValueType.MATRIX),
        ("(a[5m:])", ValueType.MATRIX),
        ("'a'", ValueType.STRING),
    ],
)
def test_every_expression_has_a_type(text: str, kind: ValueType) -> None:
    assert type_of(parse(text)) == kind


def test_nodes_know_where_they_are_from() -> None:
    text = "  -sum by (x) (rate(a{b='c'}[5m] offset 1m)) + (1h) # end"
    whole = parse(text)
    assert isinstance(whole, Binary)
    assert isinstance(whole.left, Unary)
    aggregation = whole.left.expr
    assert isinstance(aggregation, Aggregation)
    assert isinstance(aggregation.expr, Call)
    matrix = aggregation.expr.args[0]
    assert isinstance(matrix, MatrixSelector)
    assert isinstance(whole.right, Paren)
    nodes: list[Expr] = [whole, whole.left, aggregation, aggregation.expr, matrix, matrix.selector]
    nodes += [whole.right, whole.right.expr]
    assert [text[node.span.start : node.span.end] for node in nodes] == [
        text.strip().removesuffix(" # end"),
        "-sum by (x) (rate(a{b='c'}[5m] offset 1m))",
        "sum by (x) (rate(a{b='c'}[5m] offset 1m))",
        "rate(a{b='c'}[5m] offset 1m)",
        "a{b='c'}[5m] offset 1m",
        "a{b='c'}",
        "(1h)",
        "1h",
    ]


def test_places_are_characters_whatever_they_take_in_bytes() -> None:
    tree = parse("'€😀' # €\n")
    assert tree.span == Span(0, 4)


def test_a_folded_sign_belongs_to_its_number() -> None:
    assert parse(" - 5").span == Span(1, 4)


def test_trees_are_equal_and_hash_alike_wherever_they_were_read() -> None:
    assert parse("sum(a)  +  1") == parse("sum(a)+1")
    assert len({parse("sum(a)  +  1"), parse("sum(a)+1")}) == 1


@pytest.mark.parametrize(
    "piece", ["a or ", "-", "(", "sum(", "a[1m:", "'\\x41", "1_", "5m", "a[5m:] + ", "{", "#\n", "a{b='c',"]
)
def test_parsing_takes_time_proportional_to_the_text(piece: str) -> None:
    def seconds(count: int) -> float:
        text, start = piece * count, time.process_time()
        with pytest.raises(ParseError):
            parse(text)
        return time.process_time() - start

    short, long = (min(seconds(count) for _ in range(3)) for count in (2000, 16_000))
    # eight times the text; were it squared, 64 times the time
    assert long < 24 * short + 0.05


@pytest.mark.parametrize("text", ['up{job="a"}', "{job='a', __name__='up'}", "{}", "sum", "{'up'}"])
def test_a_selector_alone_may_select_everything(text: str) -> None:
    selector = parse_selector(text)
    if text != "{}":
        assert {*selector} == {*_selector(parse(text)).matchers}


@pytest.mark.parametrize("text", ["", "up[5m]", "up offset 1m", "sum(up)", "1", "up{", "up + up"])
def test_only_a_selector_is_a_selector(text: str) -> None:
    with pytest.raises(ParseError):
        parse_selector(text)


def _selector(expr: Expr) -> VectorSelector:
    assert isinstance(expr, VectorSelector)
    return expr
