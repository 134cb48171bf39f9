from __future__ import annotations

import numpy as np
import pytest

from support.functions import INF, over, over_values
from watchkeeper_server.promql.errors import ExecutionError
from watchkeeper_server.promql.values import Steps

STEPS = Steps(3000, 3000, 0)


def test_the_slope_of_a_line_is_found() -> None:
    assert over_values("deriv", [10, 12, 14, 16]) == [2]


def test_a_line_goes_on_after_the_step() -> None:
    assert over_values("predict_linear", [10, 12, 14, 16], 5) == [26]


def test_the_step_counts_although_the_samples_are_older() -> None:
    series = {"x": [(1000, 1.0), (2000, 2.0)]}
    result = over("predict_linear", series, 9000, 0, steps=Steps(2000, 8000, 3000))
    assert result.values.tolist() == [[2, 5, 8]]


def test_equal_samples_have_no_slope_however_large() -> None:
    assert over_values("deriv", [1e300] * 5) == [0]
    assert over_values("predict_linear", [1e300] * 5, 60) == [1e300]


def test_infinite_samples_have_no_line() -> None:
    assert np.isnan(over_values("deriv", [INF, INF])).all()
    assert np.isnan(over_values("predict_linear", [-INF, -INF], 1)).all()
    assert np.isnan(over_values("deriv", [1, INF])).all()


def test_smoothing_follows_a_line_exactly() -> None:
    assert over_values("double_exponential_smoothing", [1, 2, 3, 4], 0.3, 0.4) == pytest.approx([4])


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ((0, 0.5), "invalid smoothing factor. Expected: 0 < sf < 1, got: 0.000000"),
        ((1, 0.5), "invalid smoothing factor. Expected: 0 < sf < 1, got: 1.000000"),
        ((0.5, 0), "invalid trend factor. Expected: 0 < tf < 1, got: 0.000000"),
        ((0.5, 1.5), "invalid trend factor. Expected: 0 < tf < 1, got: 1.500000"),
    ],
)
def test_a_factor_must_lie_between_zero_and_one(factors: tuple[float, float], message: str) -> None:
    with pytest.raises(ExecutionError) as raised:
        over("double_exponential_smoothing", {"x": [(2000, 1.0)]}, 3000, *factors, steps=STEPS)
    assert str(raised.value) == message
