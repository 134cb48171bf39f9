from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper_server.promql.histograms.bounds import bound, first_from

SCHEMAS = st.integers(-4, 8)


def one(index: int, schema: int) -> float:
    return float(bound(np.array([index]), np.array([schema]))[0])


@pytest.mark.parametrize(
    ("index", "schema", "value"),
    [
        (0, 0, 1),
        (0, 8, 1),
        (1, 0, 2),
        (-3, 0, 0.125),
        (1, 1, math.sqrt(2)),
        (3, -1, 64),
        (-1, -4, 2.0**-16),
        (1023, 0, 2.0**1023),
        (1024, 0, sys.float_info.max),
        (64, -4, sys.float_info.max),
        (1024 * 256, 8, sys.float_info.max),
        (1025, 0, math.inf),
        (1024 * 256 + 1, 8, math.inf),
        (-1074, 0, 5e-324),
        (-1076, 0, 0),
    ],
)
def test_bounds_are_powers_of_two_up_to_the_largest_float(index: int, schema: int, value: float) -> None:
    assert one(index, schema) == value


@given(st.integers(-200, 200), SCHEMAS, SCHEMAS)
def test_schemas_agree_where_their_bounds_meet(index: int, a: int, b: int) -> None:
    coarse, fine = min(a, b), max(a, b)
    assert one(index, coarse) == one(index << (fine - coarse), fine) or one(index, coarse) in {0, math.inf}


@given(st.floats(1e-300, 1e300), SCHEMAS)
def test_the_first_bucket_from_a_value_is_the_lowest_that_begins_there_or_above(value: float, schema: int) -> None:
    first = int(first_from(np.array([value]), np.array([schema]))[0])
    assert one(first - 2, schema) < value <= one(first - 1, schema)


@given(st.integers(-1000, 1000), SCHEMAS)
def test_the_first_bucket_from_a_bound_begins_with_it(index: int, schema: int) -> None:
    value = one(index, schema)
    if 0 < value < sys.float_info.max:
        assert int(first_from(np.array([value]), np.array([schema]))[0]) == index + 1
