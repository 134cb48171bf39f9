from __future__ import annotations

import math

import numpy as np
import pytest

from support.functions import INF, NAN, instant, vector, written
from watchkeeper_server.promql.histograms import from_rows
from watchkeeper_server.promql.values import Matrix


def _of(name: str, value: float, *numbers: float) -> float:
    result = instant(name, vector({'x{a="1"}': value}), *numbers)
    assert isinstance(result, Matrix)
    assert result.labels == [{"a": "1"}]
    assert result.present.all()
    return float(result.values[0, 0])


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("abs", -2, 2),
        ("ceil", 1.2, 2),
        ("floor", -1.2, -2),
        ("exp", 1, math.e),
        ("exp", 1000, INF),
        ("ln", math.e, 1),
        ("ln", 0, -INF),
        ("ln", -1, NAN),
        ("log2", 8, 3),
        ("log10", 0.001, -3),
        ("sqrt", 9, 3),
        ("sqrt", -1, NAN),
        ("sgn", -7, -1),
        ("sgn", INF, 1),
        ("sgn", 0, 0),
        ("sgn", NAN, NAN),
        ("deg", math.pi, 180),
        ("rad", 180, math.pi),
        ("sin", math.pi / 2, 1),
        ("cos", 0, 1),
        ("tan", 0, 0),
        ("asin", 1, math.pi / 2),
        ("asin", 2, NAN),
        ("acos", 1, 0),
        ("atan", INF, math.pi / 2),
        ("sinh", 0, 0),
        ("cosh", 0, 1),
        ("tanh", INF, 1),
        ("asinh", 0, 0),
        ("acosh", 1, 0),
        ("acosh", 0, NAN),
        ("atanh", 1, INF),
    ],
)
def test_each_value_is_computed(name: str, value: float, expected: float) -> None:
    assert _of(name, value) == pytest.approx(expected, rel=1e-15, abs=1e-300, nan_ok=True)


@pytest.mark.parametrize(
    ("value", "numbers", "expected"),
    [(2.5, [], 3), (-2.5, [], -2), (2.4, [], 2), (5.44, [0.1], 5.4), (13, [5], 15), (12, [-5], 10), (NAN, [], NAN)],
)
def test_round_goes_to_the_nearest_multiple_and_up_between_two(
    value: float, numbers: list[float], expected: float
) -> None:
    assert _of("round", value, *numbers) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("name", "value", "numbers", "expected"),
    [
        ("clamp", 5, [1, 3], 3),
        ("clamp", -5, [1, 3], 1),
        ("clamp", 2, [1, 3], 2),
        ("clamp", 2, [3, 3], 3),
        ("clamp", NAN, [1, 3], NAN),
        ("clamp", 2, [NAN, 3], NAN),
        ("clamp", 2, [1, NAN], NAN),
        ("clamp_min", 2, [3], 3),
        ("clamp_min", 2, [NAN], NAN),
        ("clamp_min", NAN, [INF], INF),
        ("clamp_max", 2, [1], 1),
        ("clamp_max", NAN, [-INF], -INF),
        ("clamp_max", NAN, [1], NAN),
    ],
)
def test_clamping_keeps_within_bounds(name: str, value: float, numbers: list[float], expected: float) -> None:
    assert _of(name, value, *numbers) == pytest.approx(expected, nan_ok=True)


def test_nothing_fits_between_bounds_that_are_the_wrong_way_round() -> None:
    assert written(instant("clamp", vector({"x": 2.0}), 3, 1)) == {"": [None]}


def test_what_is_absent_stays_so() -> None:
    result = instant("abs", vector({'{a="1"}': [None, -1], '{a="2"}': [-2, None]}))
    assert written(result) == {'{a="1"}': [None, 1], '{a="2"}': [2, None]}


def test_histograms_are_left_out() -> None:
    of_floats = vector({'{a="1"}': [-1, -1]})
    mixed = Matrix(of_floats.labels, of_floats.values, of_floats.present, np.array([[-1, 0]]), from_rows([{}]))
    for name in ("abs", "round", "hour"):
        assert [value is None for value in written(instant(name, mixed))['{a="1"}']] == [False, True]
    assert [value is None for value in written(instant("clamp", mixed, 0, 1))['{a="1"}']] == [False, True]


def test_scalar_is_the_only_float_or_nan() -> None:
    several = vector({"x": [1, 2, None, NAN], "y": [None, 3, None, None]})
    np.testing.assert_array_equal(instant("scalar", several).values, [1, NAN, NAN, NAN])  # type: ignore[union-attr]


def test_vector_time_and_pi_need_no_series() -> None:
    assert written(instant("vector", 7)) == {"": [7]}
    assert instant("time", end=1500).values.tolist() == [1.5]  # type: ignore[union-attr]
    assert instant("pi").values.tolist() == [math.pi]  # type: ignore[union-attr]
