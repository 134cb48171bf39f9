"""Rates worked out by hand; `test_windows_naive` compares them at random."""

from __future__ import annotations

import numpy as np
import pytest

from support.functions import INF, NAN, over, over_points
from watchkeeper_server.promql.annotations import Annotations
from watchkeeper_server.promql.values import Steps


def _minutes(*values: float, first: int = 1) -> list[tuple[int, float]]:
    return [(60_000 * minute, value) for minute, value in enumerate(values, first)]


def _increase(*values: float, first: int = 1, minutes: int = 5) -> list[float]:
    return over_points("increase", _minutes(*values, first=first), length=60_000 * minutes, end=60_000 * minutes)


def test_what_is_seen_is_extended_to_edges_that_are_near() -> None:
    assert _increase(100, 160, 220, 280, 340) == [300]


def test_a_far_edge_is_taken_to_be_half_a_distance_away() -> None:
    assert _increase(1000, 1060, 1120, first=4, minutes=10) == [180]


def test_a_counter_is_not_extended_to_below_zero() -> None:
    assert _increase(6, 66, 126, first=3) == [126]
    assert over_points("delta", _minutes(6, 66, 126, first=3), length=300_000, end=300_000) == [150]


def test_a_counter_that_was_reset_began_again_at_zero() -> None:
    assert _increase(100, 160, 30, 90, 150) == [pytest.approx(210 * 5 / 4)]


def test_each_reset_counts() -> None:
    assert _increase(5, 3, 2, 1, 0) == [pytest.approx((-5 + 5 + 3 + 2 + 1) * 5 / 4)]


def test_the_drop_into_the_window_does_not_count() -> None:
    points = [(60_000, 900.0), (120_000, 10.0), (180_000, 20.0)]
    assert over_points("increase", points, length=120_000, end=180_000) == [20]


def test_negative_counters_are_extended_like_gauges() -> None:
    assert _increase(-40, -30, -20, -10, 0) == [50]


def test_rate_is_the_increase_a_second() -> None:
    points = _minutes(100, 160, 220, 280, 340)
    assert over_points("rate", points, length=300_000, end=300_000) == [1]


def test_what_is_not_a_number_stays_so() -> None:
    assert np.isnan(_increase(1, NAN, 3, NAN)).all()
    assert _increase(1, INF) == [INF]
    assert _increase(1, INF, 2) == [INF]


def test_a_reset_from_infinity_does_not_spoil_the_next_series() -> None:
    series = {"a_total": _minutes(1, INF, 2, 3, 4), "b_total": _minutes(1, 2, 1, 2, 3)}
    result = over("increase", series, 180_000, steps=Steps(180_000, 300_000, 120_000))
    assert result.values[0, 0] == INF
    assert result.values[:, 1].tolist() == [3, pytest.approx(3)]


def test_irate_and_idelta_look_at_the_last_two() -> None:
    points = [(0, 50.0), (1000, 7.0), (3000, 11.0)]
    assert over_points("irate", points, length=9000, end=9000) == [2]
    assert over_points("idelta", points, length=9000, end=9000) == [4]
    assert over_points("irate", points[:2], length=9000, end=5000) == [7]
    assert over_points("idelta", points[:2], length=9000, end=5000) == [-43]


@pytest.mark.parametrize("name", ["rate", "increase"])
def test_a_metric_not_named_like_a_counter_is_remarked(name: str) -> None:
    annotations = Annotations()
    series = {name_: _minutes(1, 2) for name_ in ("up", "x_total", "x_sum", "x_count", "x_bucket", '{a="1"}')}
    over(name, {**series, "once": _minutes(1)}, 300_000, steps=Steps(300_000, 300_000, 0), annotations=annotations)
    over("delta", {"gauge": _minutes(1, 2)}, 300_000, steps=Steps(300_000, 300_000, 0), annotations=annotations)
    assert annotations.infos == [
        'PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "up"'
    ]
