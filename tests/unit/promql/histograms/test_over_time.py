from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given

from support.native_histograms import CUSTOM, Plain, added, answers, context, counters, was_reset, windows
from watchkeeper_server.promql.histograms import avg_over_time, changes, resets, sum_over_time

UNKNOWN, RESET, NOT_RESET, GAUGE = range(4)
ONE, TWO = Plain(1, 2, positive={1: 1}), Plain(3, 4, positive={1: 1, 2: 2})
BOUNDS = Plain(1, 1, CUSTOM, positive={0: 1}, custom=(5.0,))


def points(*values: float | Plain) -> list[tuple[int, float | Plain]]:
    return list(enumerate(values))


def test_each_windows_histograms_are_summed_and_averaged() -> None:
    of = windows({"x": points(ONE, TWO, ONE, 5.0), "y": points(TWO)}, [-1, 0, 2, 8], [1, 2, 3, 9])
    assert answers(sum_over_time(of, context())) == [
        [added([ONE, TWO]), added([TWO, ONE]), None, None],
        [TWO, *[None] * 3],
    ]
    mean = Plain(2, 3, positive={1: 1, 2: 1})
    assert answers(avg_over_time(of, context())) == [[mean, mean, None, None], [TWO, *[None] * 3]]


def test_many_long_windows_are_summed_as_few_short_ones() -> None:
    row = Plain(1, 2, 3, positive=dict.fromkeys(range(40), 1.0))
    of = windows({"x": points(*[row] * 500)}, [k - 300 for k in range(500)], list(range(500)))
    [got] = answers(sum_over_time(of, context()))
    assert [one and one.count for one in got] == [min(k + 1, 300) for k in range(500)]
    assert got[-1] == added([row] * 300)


@pytest.mark.parametrize("function", [sum_over_time, avg_over_time])
def test_what_cannot_be_summed_is_warned_of(function: type) -> None:
    told = context()
    of = windows({"floats": points(ONE, 1.0), "buckets": points(ONE, BOUNDS), "fine": points(ONE, ONE)}, [-1], [2])
    assert [row is not None for [row] in answers(function(of, told))] == [False, False, True]
    floats, buckets = told.annotations.warnings
    assert floats == 'PromQL warning: encountered a mix of histograms and floats for metric name "floats"'
    mix = "a mix of histograms with exponential and custom buckets schemas"
    assert buckets == f'PromQL warning: vector contains {mix} for metric name "buckets"'


def test_contradicting_hints_and_differing_bounds_are_told() -> None:
    told = context()
    hinted = [replace(BOUNDS, hint=NOT_RESET), replace(BOUNDS, hint=RESET, custom=(5.0, 6.0))]
    [[got]] = answers(sum_over_time(windows({"x": points(*hinted)}, [-1], [2]), told))
    assert got == replace(BOUNDS, count=2, sum=2, positive={0: 2}, hint=UNKNOWN)
    assert told.annotations.warnings == ["PromQL warning: conflicting counter resets during histogram aggregation"]
    assert told.annotations.infos == ["PromQL info: mismatched custom buckets were reconciled during aggregation"]


@given(counters())
def test_resets_are_where_a_histogram_does_not_continue_the_one_before(values: list[Plain]) -> None:
    expected = [was_reset(before, after) for before, after in pairwise(values)]
    of = windows({"x": points(*values)}, [-1, 0], [len(values)] * 2)
    assert resets(of).tolist() == [[sum(expected), sum(expected[1:])]]


@given(counters())
def test_changes_are_where_a_histogram_is_not_the_one_before(values: list[Plain]) -> None:
    expected = [replace(before, hint=0) != replace(after, hint=0) for before, after in pairwise(values)]
    of = windows({"x": points(*values)}, [-1, 0], [len(values)] * 2)
    assert changes(of).tolist() == [[sum(expected), sum(expected[1:])]]


def test_going_from_floats_to_histograms_and_back_is_a_change_and_a_reset() -> None:
    of = windows({"x": points(1.0, 1.0, ONE, ONE, TWO, 3.0, 2.0, math.nan, math.nan)}, [-1, 4, 2, 20], [9, 6, 3, 30])
    assert changes(of).tolist() == [[5, 1, 0, 0]]
    assert resets(of).tolist() == [[3, 1, 0, 0]]


def test_the_first_sample_of_a_series_is_not_compared_with_another_series() -> None:
    of = windows({"x": points(TWO, TWO), "y": points(ONE, ONE), "z": points(0.0, 0.0)}, [-1], [9])
    assert changes(of).tolist() == [[0], [0], [0]]
    assert resets(of).tolist() == [[0], [0], [0]]


def test_a_wider_zero_bucket_and_a_coarser_schema_are_no_reset_by_themselves() -> None:
    fine = Plain(10, 0, 1, 0.25, 1, {0: 2, 1: 3, 2: 4})
    coarse = Plain(10, 0, 0, 0.25, 1, {0: 2, 1: 7})
    wide = Plain(10, 0, 1, 1.0, 3, {1: 3, 2: 4})
    cut = Plain(10, 0, 1, 1.2, 6, {2: 4})
    for after, reset in ((coarse, 0), (wide, 0), (cut, 1), (replace(coarse, positive={0: 1, 1: 8}), 1)):
        assert resets(windows({"x": points(fine, after)}, [-1], [9])).tolist() == [[reset]]
    for after in (coarse, wide):
        assert resets(windows({"x": points(after, fine)}, [-1], [9])).tolist() == [[1]]


def test_custom_bounds_that_come_and_go_are_no_reset_by_themselves() -> None:
    few = Plain(15, 0, CUSTOM, positive={0: 1, 1: 2, 2: 5, 3: 7}, custom=(2, 4, 6))
    more = Plain(18, 0, CUSTOM, positive={0: 1, 1: 1, 2: 2, 3: 6, 4: 8}, custom=(2, 3, 4, 6))
    less = replace(more, positive={0: 1, 1: 0.5, 2: 1, 3: 7, 4: 8.5})
    assert resets(windows({"x": points(few, more), "y": points(few, less)}, [-1], [9])).tolist() == [[0], [1]]
