from __future__ import annotations

import math
import struct
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper_server.api.prometheus.queries import MAX_TIME_MS, MIN_TIME_MS
from watchkeeper_server.api.prometheus.texts import Texts, joined, time_texts, value_texts

any_bits = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0])
any_size = st.builds(
    lambda digits, exponent: float(f"{digits}e{exponent}"), st.integers(-9999, 9999), st.integers(-30, 25)
)
any_value = (
    st.floats()
    | any_bits
    | any_size
    | st.integers(-(2**60), 2**60).map(float)
    | st.decimals(-100, 100, places=3).map(float)
)
any_time = st.integers(MIN_TIME_MS, MAX_TIME_MS)


def written(*columns: Texts) -> list[str]:
    texts: list[str] = joined(columns).to_pylist()
    return texts


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-2.5, "-2.5"),
        (0.1, "0.1"),
        (1 / 3, "0.3333333333333333"),
        (123456789.123, "123456789.123"),
        (1e15, "1000000000000000"),
        (1e15 + 0.5, "1000000000000000.5"),
        (1722334455667788999.0, "1722334455667789000"),
        (9999999999999998.0, "9999999999999998"),
        (1e16, "10000000000000000"),
        (-1.2345678901234568e16, "-12345678901234568"),
        (1e20, "100000000000000000000"),
        (999999999999999900000.0, "999999999999999900000"),
        (1e21, "1e+21"),
        (-1.5e21, "-1.5e+21"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (0.000001, "0.000001"),
        (0.0000012345, "0.0000012345"),
        (-0.000009876543210987654, "-0.000009876543210987654"),
        (0.00001, "0.00001"),
        (9.99e-7, "9.99e-07"),
        (1e-7, "1e-07"),
        (1e-9, "1e-09"),
        (9.999999999999999e-10, "9.999999999999999e-10"),
        (-1.5e-10, "-1.5e-10"),
        (5e-324, "5e-324"),
        (math.nan, "NaN"),
        (-math.nan, "NaN"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
    ],
)
def test_a_value_is_written_as_prometheus_writes_it(value: float, text: str) -> None:
    assert written(value_texts(np.array([value]))) == [text]


@given(st.lists(any_value, max_size=20) | st.lists(st.integers(-(10**16), 10**16).map(float) | st.just(-0.0)))
def test_values_are_written_each_as_if_it_were_alone(values: list[float]) -> None:
    together = written(value_texts(np.array(values, np.float64)))
    assert together == [as_go_does(value) for value in values]


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (0, "0"),
        (1, "0.001"),
        (1_435_781_451_780, "1435781451.780"),
        (1_435_781_451_000, "1435781451"),
        (-1, "-0.001"),
        (-1_500, "-1.500"),
        (-2_000, "-2"),
        (MIN_TIME_MS, "-9223309901257974"),
        (MAX_TIME_MS, "9223309901257974.999"),
    ],
)
def test_a_time_is_written_as_prometheus_writes_it(time: int, text: str) -> None:
    assert written(*time_texts(np.array([time]))) == [text]


@given(st.lists(any_time, max_size=20))
def test_a_time_reads_back_as_itself(times: list[int]) -> None:
    texts = written(*time_texts(np.array(times, np.int64)))
    assert [int(Decimal(text) * 1000) for text in texts] == times


@given(st.lists(any_time, max_size=20))
def test_many_times_are_written_as_few_are(times: list[int]) -> None:
    many = np.array(times * 100, np.int64)
    assert written(*time_texts(many, "[", ",")) == written(*time_texts(many[: len(times)], "[", ",")) * 100


def as_go_does(value: float) -> str:
    """By another way."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    if value and not 1e-6 <= abs(value) < 1e21:
        return repr(value)
    sign = "-" if math.copysign(1, value) < 0 else ""
    return sign + format(Decimal(repr(abs(value))), "f").removesuffix(".0")
