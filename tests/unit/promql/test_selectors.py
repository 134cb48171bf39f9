from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.promql import samples
from support.promqltest.histograms import from_columns
from watchkeeper_server.promql import selectors
from watchkeeper_server.promql.annotations import Annotations
from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.errors import ExecutionError
from watchkeeper_server.promql.extended import extended_windows, smoothed_vector
from watchkeeper_server.promql.histograms import from_rows
from watchkeeper_server.promql.tree import Span, VectorSelector
from watchkeeper_server.promql.values import STALE, Matrix, Samples, Steps, Windows

CONTEXT = Context(Steps(0, 0, 0), Annotations(), Span(0, 0))
TIMES = st.lists(st.integers(0, 60), unique=True, max_size=20).map(sorted)


def seen(windows: Windows) -> list[list[list[float]]]:
    """For each series and step the values in its window."""
    return [
        [windows.samples.values[low:high].tolist() for low, high in zip(first, last, strict=True)]
        for first, last in zip(windows.first.tolist(), windows.last.tolist(), strict=True)
    ]


def shown(matrix: Matrix) -> list[list[float | None]]:
    """For each series and step the value, None where there is none."""
    return [
        [value if here else None for value, here in zip(row, present, strict=True)]
        for row, present in zip(matrix.values.tolist(), matrix.present.tolist(), strict=True)
    ]


@given(st.lists(TIMES, max_size=6), st.lists(st.integers(-10, 70), min_size=1, max_size=8))
def test_places_are_those_that_a_search_in_each_series_would_find(series: list[list[int]], times: list[int]) -> None:
    held = samples([({"i": str(index)}, [(time, 0.0) for time in of]) for index, of in enumerate(series)])
    found = selectors.counts_until(held, np.array(times))
    expected = [
        [int(begin) + sum(each <= time for each in of) for time in times]
        for of, begin in zip(series, held.offsets, strict=False)
    ]
    assert found.tolist() == expected


@given(
    series=st.lists(TIMES, max_size=6),
    start=st.integers(-10, 70),
    step=st.integers(1, 30),
    count=st.integers(1, 12),
    length=st.integers(1, 40),
    whole=st.booleans(),
)
def test_windows_hold_what_is_between_their_ends_whether_or_not_they_start_where_others_end(
    series: list[list[int]], start: int, step: int, count: int, length: int, *, whole: bool
) -> None:
    length = step * length if whole else length
    held = samples([({"i": str(index)}, [(time, float(time)) for time in of]) for index, of in enumerate(series)])
    times = (start + step * np.arange(count)).tolist()
    expected = [[[float(each) for each in of if time - length < each <= time] for time in times] for of in series]
    assert seen(selectors.windows(held, np.array(times), length)) == expected


def test_a_sample_is_seen_until_just_before_it_is_as_old_as_the_lookback() -> None:
    held = samples({"m": [(100, 1.0)]})
    assert shown(selectors.vector(held, np.array([99, 100, 399, 400]), 300)) == [[None, 1.0, 1.0, None]]


def test_a_stale_marker_ends_a_series_until_its_next_sample() -> None:
    held = samples({"m": [(100, 1.0), (200, STALE), (300, 3.0)]})
    assert shown(selectors.vector(held, np.array([199, 200, 299, 300]), 300)) == [[1.0, None, None, 3.0]]


def test_other_nans_than_stale_markers_are_values() -> None:
    (row,) = selectors.vector(samples({"m": [(100, float("nan"))]}), np.array([100]), 300).present.tolist()
    assert row == [True]


def test_nothing_read_is_a_vector_of_nothing() -> None:
    assert shown(selectors.vector(selectors.NO_SAMPLES, np.array([1, 2]), 300)) == []
    assert seen(selectors.windows(selectors.NO_SAMPLES, np.array([1, 2]), 300)) == []


def test_a_window_is_open_on_the_left_and_closed_on_the_right() -> None:
    held = samples({"m": [(0, 0.0), (100, 1.0), (200, 2.0), (300, 3.0)]})
    assert seen(selectors.windows(held, np.array([200, 299]), 200)) == [[[1.0, 2.0], [1.0, 2.0]]]


def test_stale_markers_are_in_no_window() -> None:
    held = samples({"m": [(0, STALE), (100, 1.0), (200, STALE)], "n": [(50, STALE)], "o": [(60, 6.0)]})
    assert seen(selectors.windows(held, np.array([200]), 300)) == [[[1.0]], [[]], [[6.0]]]


def test_cutting_leaves_only_what_is_in_the_first_windows_sorted_by_labels() -> None:
    held = samples({"z": [(100, 1.0), (200, 2.0), (900, 9.0)], "y": [(900, 9.0)], "a": [(150, 3.0)]})
    cut = selectors.cut(selectors.windows(held, np.array([250]), 200))
    assert [of["__name__"] for of in cut.labels] == ["a", "z"]
    assert cut.offsets.tolist() == [0, 1, 3]
    assert cut.times.tolist() == [150, 100, 200]
    assert cut.values.tolist() == [3.0, 1.0, 2.0]


def test_a_subquerys_values_become_samples_where_they_are_present() -> None:
    matrix = Matrix(
        [{"a": "1"}, {"a": "2"}], np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[True, False], [True, True]])
    )
    made = selectors.as_samples(matrix, np.array([10, 20]))
    assert made.offsets.tolist() == [0, 1, 3]
    assert made.times.tolist() == [10, 10, 20]
    assert made.values.tolist() == [1.0, 3.0, 4.0]


def test_a_subquery_forgets_what_histograms_say_of_resets_but_not_that_they_are_gauges() -> None:
    rows = from_rows([{"count": 1, "counter_reset": hint} for hint in range(4)])
    present = np.ones((1, 4), np.bool_)
    matrix = Matrix([{}], np.zeros((1, 4)), present, np.arange(4)[None, :], rows)
    made = selectors.as_samples(matrix, np.arange(4))
    assert made.histograms is not None
    assert made.histograms.counter_reset.tolist() == [0, 0, 0, 3]


def extended(
    points: list[tuple[int, float]], modifier: str, function: str | None, end: int, length: int
) -> list[float]:
    selector = VectorSelector("m", (), anchored=modifier == "anchored", smoothed=modifier == "smoothed")
    windows = extended_windows(selector, function, samples({"m": points}), np.array([end]), length, 300, CONTEXT)
    return seen(windows)[0][0]


def test_an_anchored_window_starts_with_the_last_value_before_it() -> None:
    assert extended([(0, 1.0), (90, 2.0), (110, 3.0), (150, 4.0)], "anchored", "increase", 200, 100) == [
        2.0,
        3.0,
        4.0,
        4.0,
    ]


def test_an_anchored_window_without_a_sample_of_its_own_is_empty() -> None:
    assert extended([(0, 1.0), (90, 2.0)], "anchored", "increase", 200, 100) == []


def test_a_smoothed_window_starts_and_ends_on_the_lines_between_samples() -> None:
    assert extended([(50, 0.0), (150, 10.0), (250, 30.0)], "smoothed", "delta", 200, 100) == [5.0, 10.0, 20.0]


def test_a_counter_that_was_reset_rises_from_zero_on_the_line_between_samples() -> None:
    assert extended([(50, 8.0), (150, 6.0)], "smoothed", "increase", 150, 50) == [3.0, 6.0]


@pytest.mark.parametrize(("modifier", "function"), [("anchored", "max_over_time"), ("smoothed", "resets")])
def test_a_function_that_cannot_use_values_at_the_ends_is_refused(modifier: str, function: str) -> None:
    with pytest.raises(ExecutionError, match=f"{modifier} modifier can only be used with: .* - not with {function}"):
        extended([(0, 1.0)], modifier, function, 10, 100)


def test_a_native_histogram_lies_half_way_between_two() -> None:
    rows = from_rows([{"count": 4, "positive": [4]}, {"count": 8, "positive": [6, 2]}])
    held = Samples([{}], np.array([0, 2]), np.array([100, 200]), np.zeros(2), np.array([0, 1]), rows)
    vector = smoothed_vector(held, np.array([100, 150, 200]), 300, CONTEXT)
    assert vector.histogram_of is not None
    assert vector.histograms is not None
    found = [from_columns(vector.histograms, row) for row in vector.histogram_of[0].tolist()]
    assert [each.count for each in found] == [4.0, 6.0, 8.0]
    assert found[1].positive == {0: 5.0, 1: 1.0}


def test_a_smoothed_vector_lies_between_samples_and_goes_on_after_the_last() -> None:
    held = samples({"m": [(100, 1.0), (200, 3.0)], "n": [(500, 1.0)]})
    vector = smoothed_vector(held, np.array([50, 100, 150, 200, 300, 500]), 300, CONTEXT)
    assert shown(vector) == [[None, 1.0, 2.0, 3.0, 3.0, None], [None, None, None, None, None, 1.0]]
