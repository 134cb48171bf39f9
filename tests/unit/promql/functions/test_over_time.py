from __future__ import annotations

import numpy as np
import pytest

from support.functions import INF, NAN, over, over_points, over_values
from support.promql import samples
from watchkeeper_server.promql.annotations import Annotations
from watchkeeper_server.promql.functions import OVER_RANGE
from watchkeeper_server.promql.histograms import from_rows
from watchkeeper_server.promql.values import STALE, Samples, Steps

ALL = sorted(OVER_RANGE)
NUMBERS = {"quantile_over_time": [0.5], "predict_linear": [60.0], "double_exponential_smoothing": [0.5, 0.5]}
OF_TWO = {"rate", "increase", "delta", "irate", "idelta", "deriv", "predict_linear", "double_exponential_smoothing"}
OF_FLOATS = {
    *("max_over_time", "min_over_time", "quantile_over_time", "stddev_over_time", "stdvar_over_time", "mad_over_time"),
    *("ts_of_max_over_time", "ts_of_min_over_time", "deriv", "predict_linear", "double_exponential_smoothing"),
}


@pytest.mark.parametrize("name", ALL)
def test_an_empty_window_has_no_answer(name: str) -> None:
    assert over_points(name, [(2000, 1.0)], *NUMBERS.get(name, [])) == []


@pytest.mark.parametrize("name", ALL)
def test_one_sample_is_enough_but_for_a_change(name: str) -> None:
    answer = over_points(name, [(500, 3.0)], *NUMBERS.get(name, []))
    assert len(answer) == (name not in OF_TWO)


@pytest.mark.parametrize("name", ALL)
def test_no_series_have_no_answer(name: str) -> None:
    result = over(name, {}, 1000, *NUMBERS.get(name, []), steps=Steps(0, 5000, 1000))
    assert result.labels == []
    assert result.values.shape == result.present.shape == (0, 6)


@pytest.mark.parametrize("name", ALL)
def test_series_without_samples_have_no_answer(name: str) -> None:
    result = over(name, {"x": [], "y": []}, 1000, *NUMBERS.get(name, []), steps=Steps(0, 5000, 1000))
    assert not result.present.any()


@pytest.mark.parametrize("name", ALL)
def test_the_name_goes_unless_the_value_is_a_sample(name: str) -> None:
    series = {'x_total{a="1"}': [(500, 1.0), (900, 2.0)]}
    result = over(name, series, 1000, *NUMBERS.get(name, []), steps=Steps(1000, 1000, 0))
    kept = {"__name__": "x_total"} if name in {"first_over_time", "last_over_time"} else {}
    assert result.labels == [{"a": "1"} | kept]


def test_a_stale_marker_is_no_sample() -> None:
    assert over_values("count_over_time", [1, STALE, 3]) == [2]
    assert over_values("sum_over_time", [1, STALE, 3]) == [4]
    assert over_values("last_over_time", [1, 3, STALE]) == [3]


def test_a_window_does_not_hold_the_sample_at_its_start() -> None:
    assert over_points("sum_over_time", [(0, 1.0), (1, 2.0), (1000, 4.0), (1001, 8.0)]) == [6.0]


@pytest.mark.parametrize(
    ("values", "sum_", "mean"),
    [
        ([1, 1e100, 1, -1e100], 2.0, 0.5),
        ([0.1] * 10, 1.0, 0.1),
        ([1e308, 1e308], INF, 1e308),
        ([1e308, 1e308, -1e308, -1e308], INF, 0.0),
        ([INF, 1], INF, INF),
        ([-INF, 1e308, 1e308], -INF, -INF),
        ([5e-324, 5e-324], 1e-323, 5e-324),
    ],
)
def test_sums_and_means_lose_little_and_means_do_not_overflow(values: list[float], sum_: float, mean: float) -> None:
    assert over_values("sum_over_time", values) == [sum_]
    assert over_values("avg_over_time", values) == [mean]


@pytest.mark.parametrize("values", [[NAN], [1, NAN], [NAN, INF], [INF, -INF]])
def test_what_has_no_sum_is_nan(values: list[float]) -> None:
    assert np.isnan(over_values("sum_over_time", values)).all()
    assert np.isnan(over_values("avg_over_time", values)).all()


@pytest.mark.parametrize(
    ("values", "least", "greatest", "when_least", "when_greatest"),
    [
        ([2, 1, 3, 1, 3], 1, 3, 4, 5),
        ([NAN, 2], 2, 2, 2, 2),
        ([2, NAN], 2, 2, 1, 1),
        ([-INF, INF], -INF, INF, 1, 2),
    ],
)
def test_extremes_look_past_nan_and_were_last_seen(
    values: list[float], least: float, greatest: float, when_least: float, when_greatest: float
) -> None:
    assert over_values("min_over_time", values) == [least]
    assert over_values("max_over_time", values) == [greatest]
    assert over_values("ts_of_min_over_time", values) == [when_least]
    assert over_values("ts_of_max_over_time", values) == [when_greatest]


def test_the_extreme_of_nothing_but_nan_is_nan_and_last_seen_at_the_end() -> None:
    assert np.isnan(over_values("max_over_time", [NAN, NAN])).all()
    assert over_values("ts_of_max_over_time", [NAN, NAN]) == [2]


def test_changes_count_from_nan_to_number_but_not_from_nan_to_nan() -> None:
    assert over_values("changes", [NAN, NAN, 1, 1, NAN, INF, INF, -INF]) == [4]
    assert over_values("resets", [3, NAN, 1, 2, 1, -INF]) == [2]


def test_the_difference_from_one_series_to_the_next_counts_for_neither() -> None:
    result = over("resets", {"x": [(1, 5.0)], "y": [(1, 1.0), (2, 2.0)]}, 1000, steps=Steps(1000, 1000, 0))
    assert result.values.tolist() == [[0], [0]]


@pytest.mark.parametrize(
    ("q", "expected"), [(0, 1), (1, 9), (0.5, 4), (0.25, 1.75), (-0.1, -INF), (1.1, INF), (INF, INF)]
)
def test_a_quantile_lies_between_two_samples(q: float, expected: float) -> None:
    assert over_values("quantile_over_time", [9, 1, 6, 2], q) == [expected]


def test_a_quantile_counts_nan_as_less_than_all() -> None:
    assert np.isnan(over_values("quantile_over_time", [5, NAN, 1], 0)).all()
    assert over_values("quantile_over_time", [5, NAN, 1], 0.5) == [1]
    assert np.isnan(over_values("quantile_over_time", [5], NAN)).all()


def test_a_quantile_out_of_bounds_is_warned_of_once_and_only_where_there_are_samples() -> None:
    annotations = Annotations()
    over("quantile_over_time", {"x": [(1, 1.0)]}, 10, 1.5, steps=Steps(5, 8, 1), annotations=annotations)
    over("quantile_over_time", {"x": [(1, 1.0)]}, 10, 2.5, steps=Steps(50, 80, 10), annotations=annotations)
    assert annotations.warnings == ["PromQL warning: quantile value should be between 0 and 1, got 1.5"]


def test_the_median_deviation_is_that_from_the_median() -> None:
    assert over_values("mad_over_time", [4, 6, 2, 1, 999, 1, 2]) == [1]


@pytest.mark.parametrize(("values", "variance"), [([0, 8, 8, 2, 3], 10.56), ([7], 0), ([1.5990505637277868] * 3, 0)])
def test_variance_is_that_of_all_samples(values: list[float], variance: float) -> None:
    assert over_values("stdvar_over_time", values) == pytest.approx([variance])
    assert over_values("stddev_over_time", values) == pytest.approx([variance**0.5])


@pytest.mark.parametrize("values", [[INF], [1, INF], [NAN, 1]])
def test_what_is_not_finite_has_no_variance(values: list[float]) -> None:
    assert np.isnan(over_values("stdvar_over_time", values)).all()


def test_equal_large_samples_do_not_differ() -> None:
    assert over_values("stdvar_over_time", [1e17 / 3] * 1000) == [0]


def _mixed() -> Samples:
    """A float at 1 s, a histogram at 2 s, a float at 3 s."""
    held = samples({"x_total": [(1000, 4.0), (2000, 0.0), (3000, 8.0)]})
    histograms = from_rows([{"count": 2, "sum": 3, "positive": [2], "counter_reset": 3}])
    return Samples(held.labels, held.offsets, held.times, held.values, np.array([-1, 0, -1]), histograms)


@pytest.mark.parametrize("name", sorted(OF_FLOATS))
def test_functions_of_floats_ignore_histograms_and_say_so(name: str) -> None:
    annotations = Annotations()
    result = over(name, _mixed(), 3000, *NUMBERS.get(name, []), steps=Steps(3000, 3000, 0), annotations=annotations)
    alone = over_points(name, [(1000, 4.0), (3000, 8.0)], *NUMBERS.get(name, []), length=3000, end=3000)
    assert result.values.tolist() == [alone]
    assert annotations.infos == [
        'PromQL info: ignored histograms in a range containing both floats and histograms for metric name "x_total"'
    ]


@pytest.mark.parametrize("name", sorted(OF_FLOATS))
def test_functions_of_floats_have_no_answer_for_histograms_alone(name: str) -> None:
    annotations = Annotations()
    result = over(name, _mixed(), 1000, *NUMBERS.get(name, []), steps=Steps(2000, 2000, 0), annotations=annotations)
    assert not result.present.any()
    assert annotations.infos == []


@pytest.mark.parametrize("name", ["sum_over_time", "avg_over_time", "rate", "increase", "delta"])
def test_floats_and_histograms_cannot_be_added(name: str) -> None:
    annotations = Annotations()
    result = over(name, _mixed(), 3000, steps=Steps(3000, 3000, 0), annotations=annotations)
    assert not result.present.any()
    assert annotations.warnings == [
        'PromQL warning: encountered a mix of histograms and floats for metric name "x_total"'
    ]


def test_picking_and_counting_take_samples_of_both_kinds() -> None:
    steps = Steps(2000, 3000, 1000)
    assert over("count_over_time", _mixed(), 5000, steps=steps).values.tolist() == [[2, 3]]
    assert over("changes", _mixed(), 5000, steps=steps).values.tolist() == [[1, 2]]
    last = over("last_over_time", _mixed(), 5000, steps=steps)
    assert last.histogram_of is not None
    assert last.histogram_of.tolist() == [[0, -1]]
    assert last.values[0, 1] == 8
