import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper_server.model.times import LATEST_NS, TimeRange, format_time, parse_duration, parse_time

NOW = 1_795_240_800_123_456_789

instants = st.integers(0, LATEST_NS)


@given(instants)
def test_a_formatted_time_is_read_back_to_the_nanosecond(time_ns: int) -> None:
    assert parse_time(format_time(time_ns), NOW) == time_ns


@given(instants)
def test_unix_seconds_are_read_to_the_nanosecond(time_ns: int) -> None:
    assert parse_time(f"{time_ns // 10**9}.{time_ns % 10**9:09d}", NOW) == time_ns


@given(instants, instants)
def test_formatted_times_sort_as_the_times_do(one: int, other: int) -> None:
    assert (format_time(one) < format_time(other)) == (one < other)


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2099, 1, 1)),  # noqa: DTZ001  the offset is added as text
    st.integers(-14 * 60, 14 * 60),
)
def test_an_offset_from_utc_is_taken_away(local: datetime, minutes: int) -> None:
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    read = parse_time(f"{local.isoformat(timespec='microseconds')}{sign}{hours:02d}:{rest:02d}", NOW)
    utc = (local - timedelta(minutes=minutes)).replace(tzinfo=UTC)
    assert read == (utc - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


@pytest.mark.parametrize(
    ("text", "distance"),
    [
        ("now", 0),
        ("now-15m", -900 * 10**9),
        ("now-1.5s", -1_500_000_000),
        ("now-1h30m", -5400 * 10**9),
        ("now+2d", 172_800 * 10**9),
    ],
)
def test_relative_times_count_from_now(text: str, distance: int) -> None:
    assert parse_time(text, NOW) == NOW + distance


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "now-",
        "now-15",
        "now-15 m",
        "2026-11-21",
        "2026-11-21T05:00:00",
        "2026-13-21T05:00:00Z",
        "-5",
        "1e9",
        "nan",
        "1795240800000",
        "2150-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "now-100000w",
        "٣",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_time(text, NOW)


@given(st.text())
def test_any_text_is_a_time_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert 0 <= parse_time(text, NOW) <= LATEST_NS


@pytest.mark.parametrize(
    ("text", "duration_ns"),
    [
        ("250ms", 250_000_000),
        ("1.5s", 1_500_000_000),
        ("2m", 120 * 10**9),
        ("1h30m", 5400 * 10**9),
        ("3us", 3_000),
        ("7ns", 7),
        ("0s", 0),
        ("1d", 86_400 * 10**9),
        ("1w", 604_800 * 10**9),
        ("0.1s", 100_000_000),
    ],
)
def test_durations_are_exact(text: str, duration_ns: int) -> None:
    assert parse_duration(text) == duration_ns


@pytest.mark.parametrize("text", ["", "5", "ms", "-1s", "1 s", "1.s", "1y", "1e3s", "s1"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@given(st.integers(0, 10**18), st.integers(1, 10**18), st.integers(1, 1000))
def test_pieces_cover_the_range_and_are_not_more_than_asked(start_ns: int, length_ns: int, pieces: int) -> None:
    step_ns = TimeRange(start_ns, start_ns + length_ns).step_ns(pieces)
    assert step_ns >= 1
    assert -(-length_ns // step_ns) <= pieces
    assert step_ns * pieces >= length_ns
