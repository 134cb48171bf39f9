from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.native_histograms import Plain, alike, below, columns, exponential, quantile_of
from watchkeeper_server.promql.histograms import fraction, quantile

Q = st.floats(0, 1)
ONE = Plain(12, 100, 0, 0.001, 2, {0: 2, 1: 3, 3: 1, 4: 4})


def quantiles(q: float, *rows: Plain) -> list[float]:
    values, _, _ = quantile(q, columns(rows))
    return values.tolist()  # type: ignore[no-any-return]


def fractions(lower: float, upper: float, *rows: Plain) -> list[float]:
    values, _ = fraction(lower, upper, columns(rows))
    return values.tolist()  # type: ignore[no-any-return]


@given(alike(), Q)
def test_each_row_has_the_quantile_that_walking_its_buckets_finds(rows: list[Plain], q: float) -> None:
    assert quantiles(q, *rows) == pytest.approx([quantile_of(q, row) for row in rows], rel=1e-9, nan_ok=True)


@given(alike(1), Q, Q)
def test_a_higher_quantile_is_not_lower(rows: list[Plain], p: float, q: float) -> None:
    low, high = quantiles(min(p, q), *rows), quantiles(max(p, q), *rows)
    assert rows[0].count == 0 or low[0] <= high[0] + 1e-9 * abs(high[0])


@given(exponential(), Q)
def test_a_quantile_is_within_a_filled_bucket(one: Plain, q: float) -> None:
    [value] = quantiles(q, one)
    slack = 1 + 1e-12
    assert one.count == 0 or any(
        lower - abs(lower) * (slack - 1) <= value <= upper + abs(upper) * (slack - 1)
        for lower, upper, _ in one.ladder()
    )


@given(exponential(), st.floats(0.01, 0.99))
def test_the_fraction_below_a_quantile_is_that_quantile(one: Plain, q: float) -> None:
    if one.count and not (one.zero_count and one.zero_threshold == 0):
        assert fractions(-math.inf, quantiles(q, one)[0], one) == pytest.approx([q], abs=1e-9)


@given(alike(), st.floats(-20, 20), st.floats(-20, 20))
def test_each_row_has_the_fraction_that_walking_its_buckets_finds(rows: list[Plain], a: float, b: float) -> None:
    lower, upper = min(a, b), max(a, b)
    expected = [(below(upper, row) - below(lower, row)) / row.count if row.count else math.nan for row in rows]
    if lower < upper:
        assert fractions(lower, upper, *rows) == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize(
    ("q", "value"),
    [
        (1, 16),
        (0.99, 8 * 2**0.97),
        (0.6, 4 * 2**0.2),
        (0.5, 2 ** (2 / 3)),
        (0.1, 0.0006),
        (0, 0),
        (1.1, math.inf),
        (-0.1, -math.inf),
        (math.nan, math.nan),
    ],
)
def test_quantiles_of_positive_observations(q: float, value: float) -> None:
    assert quantiles(q, ONE) == pytest.approx([value], nan_ok=True)


def test_negative_observations_mirror_positive_ones() -> None:
    mirrored = replace(ONE, positive={}, negative=ONE.positive)
    for q in (0, 0.1, 0.25, 0.5, 0.77, 1):
        assert quantiles(q, mirrored) == pytest.approx([-value for value in quantiles(1 - q, ONE)])


def test_without_observations_there_is_no_quantile_and_no_fraction() -> None:
    assert np.isnan(quantiles(0.5, Plain())).all()
    assert np.isnan(fractions(0, 1, Plain())).all()
    assert quantile(0.5, columns([]))[0].tolist() == []


def test_between_buckets_the_quantile_is_where_the_next_filled_one_begins() -> None:
    assert quantiles(0.5, Plain(4, positive={1: 2, 5: 2})) == [16]
    assert quantiles(0.49, Plain(4, positive={1: 2, 5: 2})) == pytest.approx([2**0.98])


def test_each_row_may_have_its_own_q_and_bounds() -> None:
    values, _, _ = quantile(np.array([0.0, 1.0, 2.0]), columns([ONE] * 3))
    assert values.tolist() == [0, 16, math.inf]
    parts, _ = fraction(np.array([1.0, 4.0]), np.array([2.0, 16.0]), columns([ONE] * 2))
    assert parts == pytest.approx([3 / 12, 5 / 12])


def test_custom_buckets_are_interpolated_linearly_and_their_ends_are_not() -> None:
    one = Plain(8, schema=-53, positive={0: 2, 1: 4, 2: 2}, custom=(5, 10))
    assert quantiles(0.5, one) == [7.5]
    assert quantiles(0.125, one) == [2.5]
    assert quantiles(1, one) == [10]
    below_zero = replace(one, custom=(-10, -5))
    assert quantiles(0.1, below_zero) == [-10]
    assert fractions(5, 10, one) == [0.5]
    assert fractions(2.5, 7.5, one) == [0.375]
    assert fractions(10, math.inf, one) == [0.25]


def test_nan_observations_are_above_all_others() -> None:
    half = Plain(4, math.nan, positive={1: 2})
    whole = Plain(4, math.nan)
    infinite = Plain(4, math.nan, positive={1: 4})
    for q, values in ((0.6, [math.nan, math.nan, 2**0.6]), (0.25, [2**0.5, math.nan, 2**0.25])):
        got, undefined, skewed = quantile(q, columns([half, whole, infinite]))
        assert got == pytest.approx(values, nan_ok=True)
        assert undefined.tolist() == np.isnan(values).tolist()
        assert skewed.tolist() == [q == 0.25, False, False]


def test_nan_observations_are_in_no_fraction() -> None:
    values, excluded = fraction(-math.inf, math.inf, columns([Plain(5, math.nan, positive={1: 4}), ONE]))
    assert values.tolist() == [0.8, 1]
    assert excluded.tolist() == [True, False]


@pytest.mark.parametrize(("lower", "upper"), [(3, 3), (4, 3), (math.inf, -math.inf)])
def test_nothing_is_between_bounds_that_are_the_wrong_way_round(lower: float, upper: float) -> None:
    assert fractions(lower, upper, ONE) == [0]


def test_a_fraction_with_nan_as_a_bound_is_nan() -> None:
    assert np.isnan(fractions(math.nan, 1, ONE) + fractions(0, math.nan, ONE)).all()


def test_buckets_that_reach_into_the_zero_bucket_begin_where_it_ends() -> None:
    one = Plain(2, zero_threshold=1.5, positive={1: 2})
    assert quantiles(0, one) == pytest.approx([1.5])
    assert quantiles(1, one) == pytest.approx([2])


def test_rows_of_very_different_lengths_are_told_apart() -> None:
    long = Plain(2, schema=8, positive={-5000: 1, 5000: 1})
    rows = [Plain(1, positive={index: 1}) for index in range(50)] + [long]
    assert quantiles(1, *rows)[:50] == [2.0**index for index in range(50)]
    assert quantiles(1, *rows)[50] == pytest.approx(2 ** (5000 / 256))
