from __future__ import annotations

import math
import struct
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper_server.api.prometheus.queries import MAX_TIME_MS, MIN_TIME_MS
from watchkeeper_server.api.prometheus.texts import time_texts, value_texts

any_bits = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0])
any_value = (
    st.floats() | any_bits | st.integers(-(2**60), 2**60).map(float) | st.decimals(-100, 100, places=3).map(float)
)


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
        (1e20, "100000000000000000000"),
        (999999999999999900000.0, "999999999999999900000"),
        (1e21, "1e+21"),
        (-1.5e21, "-1.5e+21"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (0.000001, "0.000001"),
        (0.0000012345, "0.0000012345"),
        (9.99e-7, "9.99e-07"),
        (1e-7, "1e-07"),
        (-1.5e-10, "-1.5e-10"),
        (5e-324, "5e-324"),
        (math.nan, "NaN"),
        (-math.nan, "NaN"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
    ],
)
def test_a_value_is_written_as_prometheus_writes_it(value: float, text: str) -> None:
    assert value_texts(np.array([value])).to_pylist() == [text]


@given(st.lists(any_value, max_size=20))
def test_values_are_written_each_as_if_it_were_alone(values: list[float]) -> None:
    together = value_texts(np.array(values, np.float64)).to_pylist()
    assert together == [_written(value) for value in values]


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
    assert time_texts(np.array([time])).to_pylist() == [text]


@given(st.lists(st.integers(MIN_TIME_MS, MAX_TIME_MS), max_size=20))
def test_a_time_reads_back_as_itself(times: list[int]) -> None:
    written = time_texts(np.array(times, np.int64)).to_pylist()
    assert [int(Decimal(text) * 1000) for text in written] == times


def _written(value: float) -> str:
    """What Go does, by another way."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    if value and not 1e-6 <= abs(value) < 1e21:
        return repr(value)
    sign = "-" if math.copysign(1, value) < 0 else ""
    return sign + format(Decimal(repr(abs(value))), "f").removesuffix(".0")
