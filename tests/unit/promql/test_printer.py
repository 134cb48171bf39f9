"""The canonical text is also proven by the tables of test_parser; here is what they do not reach."""

from __future__ import annotations

from textwrap import dedent

import pytest

from watchkeeper_server.promql.parser import parse
from watchkeeper_server.promql.printer import pretty, to_text
from watchkeeper_server.promql.tree import (
    Binary,
    Matcher,
    Matching,
    MatchOp,
    Number,
    String,
    VectorSelector,
)

NAME = Matcher("__name__", MatchOp.EQUAL, "a")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (1e21, "1000000000000000000000"),
        (1.5e-7, "0.00000015"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
        (float("nan"), "NaN"),
    ],
)
def test_numbers_have_no_exponent(value: float, text: str) -> None:
    assert to_text(Number(value)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('say "hi"\\', r'"say \"hi\"\\"'),
        ("it's\ta\nline", r'"it' + r"'s\ta\nline" + '"'),
        ("\x00\x7f\u200b\U000e0001", r'"\x00\x7f\u200b\U000e0001"'),
        ("é世😀", '"é世😀"'),
        ("\ufffd", r'"\ufffd"'),
        ("\u00a0", r'"\u00a0"'),
    ],
)
def test_strings_are_quoted_as_go_does(value: str, text: str) -> None:
    assert to_text(String(value)) == text


def test_labels_are_in_order_and_odd_ones_quoted() -> None:
    matchers = (
        Matcher("z", MatchOp.EQUAL, "1"),
        Matcher("a.b", MatchOp.REGEX, "2"),
        Matcher("a", MatchOp.EQUAL, ""),
        NAME,
    )
    assert to_text(VectorSelector("a", matchers)) == 'a{"a.b"=~"2",a="",z="1"}'


def test_a_second_condition_on_the_name_is_shown() -> None:
    assert to_text(VectorSelector("", (NAME, Matcher("__name__", MatchOp.NOT_EQUAL, "b")))) == (
        '{__name__!="b",__name__="a"}'
    )


@pytest.mark.parametrize(
    ("matching", "text"),
    [
        (Matching(fill_left=1.0, fill_right=1.0), "a + fill (1) a"),
        (Matching(fill_left=1.0, fill_right=2.0), "a + fill_left (1) fill_right (2) a"),
        (Matching(fill_right=0.0), "a + fill_right (0) a"),
    ],
)
def test_equal_fills_are_one(matching: Matching, text: str) -> None:
    a = VectorSelector("a", (NAME,))
    assert to_text(Binary("+", a, a, matching)) == text


def test_what_fits_a_line_stays_on_it() -> None:
    text = "sum by (job) (rate(http_requests_total[5m])) / sum by (job) (rate(http_requests_total[1h]))"
    assert len(text) < 100
    assert pretty(parse(text)) == text


def test_exactly_what_is_longer_than_a_hundred_characters_is_split() -> None:
    for length, lines in ((100, 1), (101, 3)):
        text = f"abs({'a' * (length - 5)})"
        assert pretty(parse(text)).count("\n") == lines - 1


LONG = 'long_metric_name{first_label="first value",second_label="second value",third_label=~"third.*"}'


def test_everything_too_long_is_split_inside_out() -> None:
    query = f"""
        -(topk by (job) (3, label_replace(rate({LONG}[5m] offset 1d), 'dst', '$1', 'src', '(.*)')) > bool on (job)
        group_left (team) max_over_time(({LONG})[1h:5m] @ end()))
    """
    assert pretty(parse(query)) == dedent(f"""\
        -(
            topk by (job) (
              3,
              label_replace(
                rate(
                  {LONG}[5m] offset 1d
                ),
                "dst",
                "$1",
                "src",
                "(.*)"
              )
            )
          > bool on (job) group_left (team)
            max_over_time(
              ({LONG})[1h:5m] @ end()
            )
        )""")


def test_a_long_selector_stays_whole() -> None:
    text = "a{" + ",".join(f'label_{number}="{number}"' for number in range(10)) + "}"
    assert pretty(parse(text)) == text
