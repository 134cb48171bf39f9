from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper_server.promql.durations import (
    MOST,
    DurationError,
    format_duration,
    parse_duration,
    resolve,
    to_milliseconds,
)
from watchkeeper_server.promql.errors import ExecutionError
from watchkeeper_server.promql.parser import parse
from watchkeeper_server.promql.tree import MatrixSelector, VectorSelector

HOUR = 3_600_000
DAY = 24 * HOUR


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0", 0),
        ("0s", 0),
        ("1ms", 1),
        ("1m", 60_000),
        ("1h30m", 90 * 60_000),
        ("1y1w1d1h1m1s1ms", 365 * DAY + 7 * DAY + DAY + HOUR + 60_000 + 1001),
        ("1d12h", 36 * HOUR),
        ("00090s", 90_000),
        ("9223372036854ms", MOST),
    ],
)
def test_durations_are_sums_of_units(text: str, ms: int) -> None:
    assert parse_duration(text) == ms


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty duration string"),
        ("5", 'not a valid duration string: "5"'),
        ("m", 'not a valid duration string: "m"'),
        ("-5m", 'not a valid duration string: "-5m"'),
        ("5m ", 'unknown unit "m " in duration "5m "'),
        ("5 m", 'unknown unit " m" in duration "5 m"'),
        ("5M", 'unknown unit "M" in duration "5M"'),
        ("1m1h", 'not a valid duration string: "1m1h"'),
        ("1m1m", 'not a valid duration string: "1m1m"'),
        ("1h30", 'not a valid duration string: "1h30"'),
        ("٣s", 'not a valid duration string: "٣s"'),
        ("9223372036855ms", "duration out of range"),
        ("9" * 10_000 + "y", "duration out of range"),
    ],
)
def test_what_is_no_duration_is_refused_in_prometheus_words(text: str, message: str) -> None:
    with pytest.raises(DurationError, match=f"^{re.escape(message)}$"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0s"),
        (1500, "1s500ms"),
        (90 * 60_000, "1h30m"),
        (7 * DAY, "1w"),
        (8 * DAY, "8d"),
        (365 * DAY, "1y"),
        (366 * DAY, "366d"),
        (14 * DAY, "2w"),
        (-300_000, "-5m"),
    ],
)
def test_years_and_weeks_are_written_only_where_they_are_whole(ms: int, text: str) -> None:
    assert format_duration(ms) == text


@given(st.integers(1, MOST))
def test_what_is_written_reads_the_same(ms: int) -> None:
    assert parse_duration(format_duration(ms)) == ms
    assert format_duration(-ms) == "-" + format_duration(ms)


@given(st.text("0123456789smhdwy. -", max_size=12))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        assert 0 <= parse_duration(text) <= MOST
    except DurationError as error:
        assert str(error)  # noqa: PT017  both outcomes are right


@pytest.mark.parametrize(("seconds", "ms"), [(1.0005, 1001), (-1.0005, -1001), (0.0004, 0), (1e9, 10**12), (0.29, 290)])
def test_seconds_are_rounded_to_milliseconds_a_half_away_from_zero(seconds: float, ms: int) -> None:
    assert to_milliseconds(seconds) == ms


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1e10])
def test_seconds_out_of_range_are_refused(seconds: float) -> None:
    with pytest.raises(DurationError, match="duration out of range"):
        to_milliseconds(seconds)


def range_of(text: str) -> int:
    tree = parse(f"a[{text}]", experimental=True)
    assert isinstance(tree, MatrixSelector)
    return resolve(tree.range, step_ms=15_000, range_ms=HOUR)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("5m", 300_000),
        ("5m * 2", 600_000),
        ("2 ^ 3 * 1m", 480_000),
        ("(5 + 2) * 1m", 420_000),
        ("4h % 3h", HOUR),
        ("1h / 7", 514_286),
        ("10m - 1m - 1m", 480_000),
        ("-(1m - 5m)", 240_000),
        ("step() + 1", 16_000),
        ("range()", HOUR),
        ("max(step(), 5s)", 15_000),
        ("min(2 * step() + 5s, 5m)", 35_000),
        ("max_of(step(), min_of(5s, 1m))", 15_000),
        ("2 ^ 3 ^ 2", 512_000),
        ("-2 ^ 2 + 5", 1000),
    ],
)
def test_an_arithmetic_of_durations_is_one_of_seconds(text: str, ms: int) -> None:
    assert range_of(text) == ms


def test_an_offset_may_come_to_less_than_nothing() -> None:
    tree = parse("a offset -(step() * 2)", experimental=True)
    assert isinstance(tree, VectorSelector)
    assert resolve(tree.offset, step_ms=15_000, range_ms=0) == -30_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1m / (1 - 1)", "division by zero"),
        ("1m % (1 - 1)", "modulo by zero"),
        ("10 ^ 1000", "duration is out of range"),
        ("(-8) ^ 0.5", "duration is out of range"),
        ("0 ^ (-1)", "duration is out of range"),
        ("10 ^ 300 * 10 ^ 300", "duration is out of range"),
        ("10 ^ 300 * 10 ^ 300 % 2", "duration is out of range"),
    ],
)
def test_an_arithmetic_that_comes_to_nothing_is_refused(text: str, message: str) -> None:
    with pytest.raises(ExecutionError, match=f"^{message}$"):
        range_of(text)
