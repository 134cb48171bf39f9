from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given

from support.native_histograms import CUSTOM, Plain, alike, columns
from watchkeeper_server.promql.histograms import avg, stddev, stdvar


def variance(one: Plain) -> float:
    def middle(lower: float, upper: float) -> float:
        if one.schema == CUSTOM:
            return (lower + upper) / 2
        if lower <= 0 <= upper:
            return 0
        return math.copysign(math.sqrt(lower * upper), upper)

    mean = one.sum / one.count
    return sum(count * (middle(lower, upper) - mean) ** 2 for lower, upper, count in one.ladder()) / one.count


@given(alike())
def test_each_row_has_the_variance_of_its_buckets_middles(rows: list[Plain]) -> None:
    expected = [variance(row) if row.count else math.nan for row in rows]
    assert stdvar(columns(rows)) == pytest.approx(expected, rel=1e-9, nan_ok=True)
    assert stddev(columns(rows)) == pytest.approx(np.sqrt(expected), rel=1e-9, nan_ok=True)


def test_the_mean_is_exact() -> None:
    assert avg(columns([Plain(4, 5), Plain(0, 0), Plain(2, math.inf)])) == pytest.approx(
        [1.25, math.nan, math.inf], nan_ok=True
    )


def test_observations_at_zero_and_on_both_sides_spread() -> None:
    one = Plain(3, 0, zero_threshold=0.5, zero_count=1, positive={2: 1}, negative={2: 1})
    assert stdvar(columns([one])) == pytest.approx([16 / 3])


def test_nan_and_infinite_observations_make_the_spread_so() -> None:
    rows = [Plain(3, math.nan, positive={1: 2}), Plain(3, math.inf, positive={1: 3})]
    assert stddev(columns(rows)) == pytest.approx([math.nan, math.inf], nan_ok=True)
