from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper_server.promql import numbers


@pytest.mark.parametrize(
    ("value", "plain", "general"),
    [
        (1.0, "1", "1"),
        (-0.0, "-0", "-0"),
        (0.1, "0.1", "0.1"),
        (123456.0, "123456", "123456"),
        (1e6, "1000000", "1e+06"),
        (1234567.5, "1234567.5", "1.2345675e+06"),
        (1e-5, "0.00001", "1e-05"),
        (0.0001, "0.0001", "0.0001"),
        (1e22, "10000000000000000000000", "1e+22"),
        (-2.5e100, "-25" + "0" * 99, "-2.5e+100"),
        (math.inf, "+Inf", "+Inf"),
        (-math.inf, "-Inf", "-Inf"),
        (math.nan, "NaN", "NaN"),
    ],
)
def test_numbers_are_written_as_go_writes_them(value: float, plain: str, general: str) -> None:
    assert (numbers.plain(value), numbers.general(value)) == (plain, general)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_what_is_written_reads_back_as_the_same_number(value: float) -> None:
    assert float(numbers.plain(value)) == value
    assert float(numbers.general(value)) == value
