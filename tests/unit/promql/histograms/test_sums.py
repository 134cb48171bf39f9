from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper_server.promql.histograms.sums import summed, summed_exactly

FINITE = st.floats(-1e300, 1e300, allow_nan=False)


@given(st.lists(st.tuples(st.integers(0, 3), FINITE)))
def test_a_sum_is_rounded_only_at_the_end(entries: list[tuple[int, float]]) -> None:
    places, values = np.array([place for place, _ in entries], np.int64), np.array([value for _, value in entries])
    got = summed_exactly(places, values, 4)
    for place in range(4):
        exact = math.fsum(value for at, value in entries if at == place)
        assert math.isclose(got[place], exact, rel_tol=1e-15, abs_tol=0)


def test_numbers_that_cancel_leave_what_is_small() -> None:
    values = np.array([1.0, 1e100, 1.0, -1e100, 1e-200])
    assert summed_exactly(np.zeros(5, np.int64), values, 1).tolist() == [2.0]
    assert summed(np.zeros(5, np.int64), values, 1).tolist() == [1e-200]


def test_places_with_infinity_or_nan_or_an_overflow_do_not_spoil_the_others() -> None:
    places = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    values = np.array([math.inf, 1.0, math.nan, 1.0, 1e308, 1e308, 0.5, 0.25])
    assert str(summed_exactly(places, values, 5).tolist()) == "[inf, nan, inf, 0.75, 0.0]"


def test_nothing_has_no_sum() -> None:
    assert summed_exactly(np.zeros(0, np.int64), np.zeros(0), 2).tolist() == [0.0, 0.0]
