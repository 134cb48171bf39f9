"""What the parser refuses, in which words, and where it points."""

from __future__ import annotations

import pytest

from watchkeeper_server.promql.errors import ParseError
from watchkeeper_server.promql.parser import parse

_DURATION = "expected number, duration, step(), or range()"
_PRECEDED = "must be preceded by an instant vector selector or range vector selector or a subquery"

# the query, the message, the characters it is about
REFUSED = [
    # nothing, or unfinished
    ("", "no expression found in input", ""),
    (" \n# only a comment", "no expression found in input", ""),
    ("a +", "unexpected end of input", ""),
    ("(a", "unclosed left parenthesis", ""),
    ("sum((a)", "unclosed left parenthesis", ""),
    ("a{b='c'", "unexpected end of input inside braces", ""),
    ("a[", "unexpected end of input in duration expression", ""),
    ("a[5m", "unclosed left bracket", ""),
    ("'abc", "unterminated quoted string", "'abc"),
    ('a + "b\n"', "unterminated quoted string", '"b\n"'),
    ("`abc", "unterminated raw string", "`abc"),
    # characters that mean nothing
    ("a ? b", "unexpected character: '?'", "? b"),
    ("a + é", "unexpected character: 'é'", "é"),
    ("a \x00", r"unexpected character: '\x00'", "\x00"),
    ("a =~ b", "unexpected character after '=': '~'", "=~ b"),
    ("a ! b", "unexpected character after '!': ' '", "! b"),
    ("a}", "unexpected character: '}'", "}"),
    ("a]", "unexpected right bracket ']'", "]"),
    ("a) + b", "unexpected right parenthesis ')'", " + b"),
    ("a{{", "unexpected left brace '{'", "{"),
    ("a{b!c}", "unexpected character after '!' inside braces: 'c'", "!c}"),
    ("a{b=1}", "unexpected character inside braces: '1'", "1}"),
    (r"'\q'", "unknown escape sequence U+0071 'q'", r"'\q'"),
    (r"'\x4g'", "illegal character U+0067 'g' in escape sequence", r"'\x4g'"),
    (r"'\u12", "escape sequence not terminated", r"'\u12"),
    (r"'\ud800'", "escape sequence is an invalid Unicode code point", r"'\ud800'"),
    (r"'\U00110000'", "escape sequence is an invalid Unicode code point", r"'\U00110000'"),
    (r"'\777'", "escape sequence is an invalid Unicode code point", r"'\777'"),
    ("'\ufffd'", "invalid UTF-8 rune", "'\ufffd'"),
    ("`\ud800`", "invalid UTF-8 rune", "`\ud800`"),
    # numbers and durations
    ("1.2.3", 'bad number or duration syntax: "1.2.3"', "1.2.3"),
    ("1 + 5mm", 'bad number or duration syntax: "5mm"', "5mm"),
    ("5x", 'bad number or duration syntax: "5"', "5x"),
    ("1e", 'bad number or duration syntax: "1e"', "1e"),
    ("1e400", 'error parsing number: strconv.ParseFloat: parsing "1e400": value out of range', "1e400"),
    ("1m1h", 'not a valid duration string: "1m1h"', "1m1h"),
    ("1.5h", 'unknown unit "." in duration "1.5h"', "1.5h"),
    ("2hs", 'unknown unit "hs" in duration "2hs"', "2hs"),
    ("300y", "duration out of range", "300y"),
    ("a[0s]", "duration must be greater than 0", "0s"),
    ("a[-5m]", "duration must be greater than 0", "-5m"),
    ("a[0.0001]", "duration must be greater than 0", "0.0001"),
    ("a[5m:0]", "duration must be greater than 0", "0"),
    ("a[1e300]", "duration out of range", "1e300"),
    ("a offset Inf", "duration out of range", "Inf"),
    ("a offset NaN", "duration out of range", "NaN"),
    # brackets
    ("a[]", f'unexpected "]" in subquery or range selector, {_DURATION}', "]"),
    ("a[foo]", "unexpected character in duration expression: 'f'", "foo]"),
    ("a[5m foo]", "unexpected character: 'f', expected ':'", "foo]"),
    ("a[5m 5m]", 'unexpected duration "5m" in subquery or range, expected ":" or "]"', "5m"),
    ("a[5m:1m 1]", 'unexpected number "1" in subquery selector, expected "]"', "1"),
    ("a[5m:)]", "unexpected right parenthesis ')'", "]"),
    ("(a[5m:)", 'unexpected ")" in subquery selector, expected number, duration, step(), range(), or "]"', ")"),
    ("a[5m:1m:1m]", "unexpected colon ':'", ":1m]"),
    ("a[:1m]", "unexpected colon before duration in duration expression", "1m]"),
    ("a[5m[", "unexpected left bracket '['", "["),
    ("(a)[5m]", "ranges only allowed for vector selectors", "[5m]"),
    ("a[5m][5m]", "ranges only allowed for vector selectors", "[5m]"),
    ("a offset 1m[5m]", "no offset modifiers allowed before range", "[5m]"),
    ("a @ 1 [5m]", "no @ modifiers allowed before range", "[5m]"),
    # offset and @
    ("a offset", f"unexpected end of input in offset, {_DURATION}", ""),
    ("a offset b", f'unexpected identifier "b" in offset, {_DURATION}', "b"),
    ("a offset - 'b'", f"unexpected string \"'b'\" in offset, {_DURATION}", "'b'"),
    ("1 offset 1m", f"offset modifier {_PRECEDED}", "1"),
    ("sum(a) offset 1m", f"offset modifier {_PRECEDED}", "sum(a)"),
    ("a offset 1m offset 2m", "offset may not be set multiple times", "a offset 1m"),
    ("a @", "unexpected end of input in @, expected timestamp", ""),
    ("a @ b", 'unexpected identifier "b" in @, expected timestamp', "b"),
    ("a @ start", "unexpected end of input in @, expected timestamp", ""),
    ("a @ step()", 'unexpected "step" in @, expected timestamp', "step"),
    ("a @ Inf", "timestamp out of bounds for @ modifier: +Inf", "a"),
    ("a @ -1e30", "timestamp out of bounds for @ modifier: -1000000000000000019884624838656.000000", "a"),
    ("(a) @ 1", f"@ modifier {_PRECEDED}", "(a)"),
    ("a[5m] @ 1 @ 2", "@ <timestamp> may not be set multiple times", "a[5m] @ 1"),
    ("a @ end() @ 2", "@ <timestamp> may not be set multiple times", "a @ end()"),
    # matchers
    ("a{b}", 'unexpected "}" in label matching, expected label matching operator', "}"),
    ("a{b=}", 'unexpected "}" in label matching, expected string', "}"),
    ("a{b=c}", 'unexpected identifier "c" in label matching, expected string', "c"),
    ("a{,}", 'unexpected "," in label matching, expected identifier or "}"', ","),
    ("a{b='c' d='e'}", 'unexpected identifier "d" in label matching, expected "," or "}"', "d"),
    ("{'a' b='c'}", 'unexpected identifier "b" in label matching, expected "," or "}"', "b"),
    ("a{=~'b'}", 'unexpected "=~" in label matching, expected identifier or "}"'.replace('"=~"', "<op:=~>"), "=~"),
    ("{}", "vector selector must contain at least one non-empty matcher", "{}"),
    ("1 + {a=''}", "vector selector must contain at least one non-empty matcher", "{a=''}"),
    ("{a=~'.*',b!='c',d!~'.+'}", "vector selector must contain at least one non-empty matcher", None),
    ("a{__name__='b'}", 'metric name must not be set twice: "a" or "b"', "a{__name__='b'}"),
    ("a{'b'}", 'metric name must not be set twice: "a" or "b"', "a{'b'}"),
    ("a{b=~'('}", "error parsing regexp: missing closing ): `(`", "b=~'('"),
    ("a{b!~'[a'}", "error parsing regexp: missing closing ]: `[a`", "b!~'[a'"),
    ("a{b=~'*'}", "error parsing regexp: missing argument to repetition operator: `*`", "b=~'*'"),
    ("a{b=~'a**'}", "error parsing regexp: invalid nested repetition operator: `**`", "b=~'a**'"),
    # operators
    ("*a", "unexpected <op:*>", "*"),
    ("a * * b", "unexpected <op:*>", "*"),
    ("a = b", 'unexpected "="', "="),
    ("a b", 'unexpected identifier "b"', "b"),
    ("a b:c", 'unexpected metric identifier "b:c"', "b:c"),
    ("a 'a long string'", 'unexpected string "\'a long st"...', "'a long string'"),
    ("a by (b)", "unexpected <by>", "by"),
    ("a and and b", 'unexpected identifier "b"', "b"),
    ("bool", "unexpected <bool>", "bool"),
    ("on{}", "unexpected <on>", "on"),
    ("a + group_left b", "unexpected <group_left>", "group_left"),
    ("a + on(x) ignoring(y) b", "unexpected <ignoring>", "ignoring"),
    ("a + on x b", 'unexpected identifier "x" in grouping opts, expected "("', "x"),
    ("a + on(1) b", 'unexpected number "1" in grouping opts, expected label', "1"),
    ("a + on(x y) b", 'unexpected identifier "y" in grouping opts, expected "," or ")"', "y"),
    ("a + on('') b", 'invalid label name for grouping: ""', "''"),
    ("a + on(x) group_left * b", 'unexpected <op:*> in grouping opts, expected "("', "*"),
    ("a + on(x) group_right", 'unexpected end of input in grouping opts, expected "("', ""),
    ("1 == 1", "comparisons between scalars must use BOOL modifier", "=="),
    ("1 + time()  >=\n2", "comparisons between scalars must use BOOL modifier", ">="),
    ("a + bool b", "bool modifier can only be used on comparison operators", "+ bool"),
    ("1 and 1", 'set operator "and" not allowed in binary scalar expression', "1 and 1"),
    ("a or 1", 'set operator "or" not allowed in binary scalar expression', "a or 1"),
    ("a unless on(x) group_left b", 'no grouping allowed for "unless" operation', "a unless on(x) group_left b"),
    ("a + on(x) 1", "vector matching only allowed between instant vectors", "a + on(x) 1"),
    ("a * on(x, y) group_left(y) b", 'label "y" must not occur in ON and GROUP clause at once', None),
    ("1 + 'a'", "binary expression must contain only scalar and instant vector types", "'a'"),
    ("a[5m] + 1", "binary expression must contain only scalar and instant vector types", "a[5m]"),
    ("-'a'", 'unary expression only allowed on expressions of type scalar or instant vector, got "string"', "-'a'"),
    (
        "1 - -a[5m]",
        'unary expression only allowed on expressions of type scalar or instant vector, got "range vector"',
        "-a[5m]",
    ),
    ("1[5m:]", "subquery is only allowed on instant vector, got scalar instead", "1[5m:]"),
    ("a[5m:][5m:]", "subquery is only allowed on instant vector, got matrix instead", "a[5m:][5m:]"),
    # aggregations
    ("sum()", "no arguments for aggregate expression provided", "sum()"),
    ("sum(a, b)", "wrong number of arguments for aggregate expression provided, expected 1, got 2", "sum(a, b)"),
    ("topk(a) by (x)", "wrong number of arguments for aggregate expression provided, expected 2, got 1", None),
    ("sum a", 'unexpected identifier "a"', "a"),
    ("sum by (x) a", 'unexpected identifier "a" in aggregation', "a"),
    ("sum(a, b) ?", "unexpected character: '?'", "?"),
    ("sum by x (a)", 'unexpected identifier "x" in grouping opts, expected "("', "x"),
    ("sum by (without) (a)", "unexpected <without> in grouping opts, expected label", "without"),
    ("sum by (x) (a) by (y)", "unexpected <by>", "by"),
    ("sum(a +)", 'unexpected ")" in aggregation', ")"),
    ("sum(a) + )", "unexpected right parenthesis ')'", ""),
    ("sum(1)", "expected type instant vector in aggregation expression, got scalar", "1"),
    ("topk(a, b)", "expected type scalar in aggregation parameter, got instant vector", "a"),
    ("count_values(1, a)", "expected type string in aggregation parameter, got scalar", "1"),
    # functions
    ("nothing(a)", 'unknown function with name "nothing"', "nothing"),
    ("Rate(a[5m])", 'unknown function with name "Rate"', "Rate"),
    ("rate(a)", 'expected type range vector in call to function "rate", got instant vector', "a"),
    ("abs(a[5m])", 'expected type instant vector in call to function "abs", got range vector', "a[5m]"),
    ("label_join(a, 'x', ',', 1)", 'expected type string in call to function "label_join", got scalar', "1"),
    ("abs()", 'expected 1 argument(s) in call to "abs", got 0', "abs()"),
    ("time(a)", 'expected 0 argument(s) in call to "time", got 1', "time(a)"),
    ("label_join(a)", 'expected at least 3 argument(s) in call to "label_join", got 1', "label_join(a)"),
    ("hour(a, b)", 'expected at most 1 argument(s) in call to "hour", got 2', "hour(a, b)"),
    ("round(a, 1, 2)", 'expected at most 2 argument(s) in call to "round", got 3', "round(a, 1, 2)"),
    ("abs(a,)", "trailing commas not allowed in function call args", ","),
    ("abs(a, *)", "trailing commas not allowed in function call args", ","),
    ("abs(a, 'b)", "unterminated quoted string", "'b)"),
    ("abs(,a)", 'unexpected ","', ","),
    ("abs(a b)", 'unexpected identifier "b"', "b"),
    # experiments that were not allowed
    ("info(a)", 'function "info" is not enabled', "info"),
    ("1 + step()", 'function "step" is not enabled', "step"),
    (
        "limitk(1, a)",
        "limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
        "limitk(1, a)",
    ),
    ("a + fill(1) b", "binop fill modifiers are experimental and not enabled", "a + fill(1) b"),
    ("a anchored", "anchored modifier is experimental and not enabled", "a"),
    ("a[5m] smoothed", "smoothed modifier is experimental and not enabled", "a[5m]"),
    ("a[5m + 1m]", "experimental duration expression is not enabled", "5m"),
    ("a[step()]", "experimental duration expression is not enabled", "step()"),
    ("a offset (1m)", "experimental duration expression is not enabled", "(1m)"),
]

REFUSED_EXPERIMENTS = [
    ("info(a, b)", "expected label selectors only, got vector selector instead", "b"),
    ("info(a, 1)", "expected label selectors only", "1"),
    ("a anchored smoothed", "anchored and smoothed modifiers cannot be used together", "a anchored"),
    ("a[5m:] smoothed", "smoothed modifier is not supported for subqueries", "a[5m:]"),
    ("(a) anchored", "anchored modifier not implemented", "(a)"),
    ("a + fill() b", 'unexpected ")"', ")"),
    ("a + fill_left(1) fill_left(2) b", "unexpected <fill_left>", "fill_left"),
    ("a and fill(1) b", "filling in missing series not allowed for set operators", "a and fill(1) b"),
    ("a + fill(1) 2", "filling in missing series only allowed between instant vectors", "a + fill(1) 2"),
    ("a[5m / 0]", "division by zero", "/"),
    ("a[5m % 0]", "modulo by zero", "%"),
    ("a[5m +]", f'unexpected "]" in subquery or range selector, {_DURATION}', "]"),
    ("a offset (5m", "unclosed left parenthesis", ""),
    ("a offset (5m 5m)", f'unexpected duration "5m" in offset, {_DURATION}', "5m"),
    ("a[max(5m)]", f'unexpected ")" in subquery or range selector, {_DURATION}', ")"),
    ("a offset step", f"unexpected end of input in offset, {_DURATION}", ""),
]


def assert_refused(text: str, message: str, about: str | None, *, experimental: bool) -> None:
    with pytest.raises(ParseError) as refusal:
        parse(text, experimental=experimental)
    error = refusal.value
    assert str(error).split("parse error: ", 1)[1] == message
    if about is not None:
        assert text[error.start : error.end] == about


@pytest.mark.parametrize(("text", "message", "about"), REFUSED)
def test_what_prometheus_refuses_is_refused_in_its_words(text: str, message: str, about: str | None) -> None:
    assert_refused(text, message, about, experimental=False)


@pytest.mark.parametrize(("text", "message", "about"), REFUSED_EXPERIMENTS)
def test_experiments_have_rules_too(text: str, message: str, about: str | None) -> None:
    assert_refused(text, message, about, experimental=True)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "unknown position"),
        ("  ", "1:1"),
        ("a +\n  * b", "2:3"),
        ("a\n+ 'é😀' *\n\n)", "4:2"),
        ("sum(\n  rate(x)\n)", "2:8"),
    ],
)
def test_an_error_begins_with_line_and_column(text: str, place: str) -> None:
    with pytest.raises(ParseError, match=f"^{place}: parse error: "):
        parse(text)


@pytest.mark.parametrize("open_", ["(", "-", "sum(", "abs(", "1^", "a[5m:", "-(", "(-1+"])
def test_deep_nesting_is_an_error_like_others(open_: str) -> None:
    with pytest.raises(ParseError):
        parse(open_ * 10_000)
    close = "1" + ")" * open_.count("(") * 500
    with pytest.raises(ParseError, match=r"nested too deeply, at most 100 levels|unexpected"):
        parse(open_ * 500 + close)


@pytest.mark.parametrize(
    "text",
    [
        "a" + " + a" * 500,
        "1" + "*2" * 20_000,
        "a" + "[5m:]" * 500,
        "(" * 50 + "1" + ("+1" * 50 + ")") * 50,
        "rate(a[1m])" + "[5m:]" * 500,
    ],
)
def test_a_long_chain_is_nested_too(text: str) -> None:
    with pytest.raises(ParseError, match="too long, at most 200"):
        parse(text)


def test_a_chain_of_reasonable_length_is_none_of_that() -> None:
    parse(" or ".join(f"a{number}" for number in range(200)))
    parse("(" * 99 + "1" + ")" * 99)


@pytest.mark.parametrize(
    "text", ["a[" + "(" * 60 + "5m" + ")" * 60 + "]", "a[1" + "+1" * 60 + "]", "a offset " + "-" * 60]
)
def test_an_arithmetic_of_durations_is_bounded(text: str) -> None:
    with pytest.raises(ParseError, match="too many parts, at most 50"):
        parse(text, experimental=True)
