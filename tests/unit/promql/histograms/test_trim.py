from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.native_histograms import CUSTOM, Plain, alike, columns, exponential, plain
from watchkeeper_server.promql.histograms import equal, trim_lower, trim_upper

LIMITS = st.floats(-20, 20)
ONE = Plain(10, 20, 0, 0.5, 2, {1: 3, 2: 1}, {1: 4})


def upper(one: Plain, limit: float) -> Plain:
    return plain(trim_upper(columns([one]), np.array([limit])))


def lower(one: Plain, limit: float) -> Plain:
    return plain(trim_lower(columns([one]), np.array([limit])))


@given(alike(), LIMITS)
def test_an_exponential_row_is_divided_without_loss(rows: list[Plain], limit: float) -> None:
    h, limits = columns(rows), np.full(len(rows), limit)
    low, high = trim_upper(h, limits), trim_lower(h, limits)
    for row, one in enumerate(rows):
        if one.schema != CUSTOM:
            assert low.count[row] + high.count[row] == pytest.approx(one.count)


@given(exponential())
def test_a_limit_beyond_all_buckets_keeps_everything_or_nothing(one: Plain) -> None:
    bound = 1e300
    assert equal(trim_upper(columns([one]), np.array([bound])), columns([one])).all()
    assert equal(trim_lower(columns([one]), np.array([-bound])), columns([one])).all()
    assert upper(one, -bound).count == lower(one, bound).count == 0


def test_at_a_bound_buckets_stay_or_go_whole_and_the_sum_is_estimated_anew() -> None:
    assert upper(ONE, 2) == Plain(9, 3 * math.sqrt(2) - 4 * math.sqrt(2), 0, 0.5, 2, {1: 3}, {1: 4})
    assert lower(ONE, 2) == Plain(1, math.sqrt(8), 0, 0.5, 0, {2: 1}, {})
    assert lower(ONE, -1) == Plain(6, pytest.approx(3 * math.sqrt(2) + math.sqrt(8)), 0, 0.5, 2, {1: 3, 2: 1}, {})


def test_a_bucket_is_divided_on_a_logarithmic_scale() -> None:
    limit = 2**0.25
    assert upper(ONE, limit).positive == pytest.approx({1: 0.75})
    assert lower(ONE, limit).positive == pytest.approx({1: 2.25, 2: 1})
    assert upper(ONE, -limit).negative == pytest.approx({1: 3})
    one = Plain(2, 9, positive={1: 2})
    assert upper(one, limit).sum == pytest.approx(0.5 * math.sqrt(limit))
    assert lower(one, limit).sum == pytest.approx(1.5 * math.sqrt(2 * limit))


def test_the_zero_bucket_is_divided_on_a_linear_scale() -> None:
    assert upper(ONE, 0.25).zero_count == 1.5
    assert lower(ONE, 0.25).zero_count == 0.5
    positive = Plain(3, 3, 0, 0.5, 2, {1: 1})
    assert upper(positive, 0.25) == Plain(1, 0.125, 0, 0.5, 1)
    assert lower(positive, -0.25) == positive
    at_zero = Plain(2, 0, zero_count=2)
    assert upper(at_zero, 0) == Plain()
    assert lower(at_zero, 0) == at_zero


def test_custom_buckets_are_divided_on_a_linear_scale_and_the_highest_goes_or_stays() -> None:
    one = Plain(12, 60, CUSTOM, positive={0: 4, 1: 4, 2: 4}, custom=(5, 10))
    assert upper(one, 7.5) == Plain(6, 4 * 2.5 + 2 * 6.25, CUSTOM, positive={0: 4, 1: 2}, custom=(5, 10))
    assert upper(one, 20).positive == {0: 4, 1: 4}
    assert lower(one, 20) == Plain(4, 80, CUSTOM, positive={2: 4}, custom=(5, 10))
    assert upper(one, 2.5) == Plain(2, 2.5, CUSTOM, positive={0: 2}, custom=(5, 10))
    assert lower(one, 2.5).positive == {0: 2, 1: 4, 2: 4}
    assert lower(one, -1).positive == {1: 4, 2: 4}
    assert upper(one, math.inf) == one
    assert lower(one, -math.inf) == one


def test_the_lowest_custom_bucket_of_negative_observations_goes_or_stays() -> None:
    one = Plain(4, -40, CUSTOM, positive={0: 4}, custom=(-5,))
    assert upper(one, -7) == Plain(4, -40, CUSTOM, positive={0: 4}, custom=(-5,))
    assert lower(one, -7).count == 0


def test_nothing_is_estimated_anew_if_nothing_goes() -> None:
    assert upper(ONE, 4) == ONE
    assert lower(ONE, -2) == ONE


def test_each_row_has_its_own_limit() -> None:
    assert trim_upper(columns([ONE] * 3), np.array([4.0, 2.0, -2.0])).count.tolist() == [10, 9, 0]
