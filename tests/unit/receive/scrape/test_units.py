from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper_server.receive.scrape.units import Milliseconds, format_duration, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0", 0),
        ("0s", 0),
        ("15s", 15_000),
        ("1m30s", 90_000),
        ("1h", 3_600_000),
        ("1d12h", 129_600_000),
        ("250ms", 250),
    ],
)
def test_durations_are_units_in_their_order(text: str, ms: int) -> None:
    assert parse_duration(text) == ms


@pytest.mark.parametrize("text", ["", "15", "1.5s", "30s1m", "1s1s", "-1s", "s", "1 s", "999999999999y", "1µs"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.integers(0, 2**63 // 10**6).map(Milliseconds))
def test_a_duration_is_written_as_it_is_read(duration: Milliseconds) -> None:
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("10B", 10), ("1KB", 1024), ("1KiB", 1024), ("1.5MB", 1_572_864), ("1GB", 2**30)]
)
def test_sizes_are_powers_of_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "10", "MB", "-1MB", "1 MB", "1XB"])
def test_anything_else_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="not a valid size"):
        parse_size(text)
