from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given

from support.native_histograms import (
    CUSTOM,
    Plain,
    added,
    answers,
    context,
    counters,
    plain,
    reduced,
    was_reset,
    windows,
)
from watchkeeper_server.promql.histograms import compact, delta, histogram_counts, idelta, increase, irate, rate
from watchkeeper_server.promql.values import Windows

GAUGE = 3
NOT_COUNTER = 'PromQL warning: this native histogram metric is not a counter: "x"'
NOT_GAUGE = 'PromQL warning: this native histogram metric is not a gauge: "x"'
MIXED_TYPES = 'PromQL warning: encountered a mix of histograms and floats for metric name "x"'
MIXED_BUCKETS = (
    "PromQL warning: vector contains a mix of histograms with exponential and custom buckets schemas for metric name"
    ' "x"'
)
RECONCILED = "PromQL info: mismatched custom buckets were reconciled during "


def every_minute(values: Sequence[float | Plain]) -> list[tuple[int, float | Plain]]:
    return [(60 * place, value) for place, value in enumerate(values)]


def whole(values: Sequence[float | Plain]) -> Windows:
    """One window that extrapolation does not change: it begins just before the first sample and ends with the last."""
    series = {"x": [(1 + 60 * place, value) for place, value in enumerate(values)]}
    return windows(series, [0], [1 + 60 * (len(values) - 1)])


def grown(values: Sequence[Plain]) -> Plain:
    """By how much a counter grew between its first and last sample."""
    resets = [was_reset(before, after) for before, after in pairwise(values)]
    parts, weights = [values[-1]], [1.0]
    considered = values[1:] if resets[0] else values
    parts.append(values[1] if resets[0] else values[0])
    weights.append(0.0 if resets[0] else -1.0)
    for before, reset in zip(values[1:], resets[1:], strict=False):
        if reset:
            parts.append(before)
            weights.append(1.0)
    result = added(parts, weights)
    coarsest = min(value.schema for value in considered)
    return replace(result if coarsest == CUSTOM else reduced(result, coarsest), hint=GAUGE)


def scaled(one: Plain, factor: float) -> Plain:
    def buckets(counts: dict[int, float]) -> dict[int, float]:
        return {index: count * factor for index, count in counts.items()}

    return replace(
        one,
        count=one.count * factor,
        sum=one.sum * factor,
        zero_count=one.zero_count * factor,
        positive=buckets(one.positive),
        negative=buckets(one.negative),
    )


def assert_near(got: Plain | None, expected: Plain) -> None:
    assert got is not None
    for name in Plain.__dataclass_fields__:
        assert getattr(got, name) == pytest.approx(getattr(expected, name), rel=1e-9, abs=1e-9), name


@given(counters())
def test_a_counter_grows_by_its_differences_and_starts_from_zero_after_a_reset(values: list[Plain]) -> None:
    of_window = whole(values)
    [[got]] = answers(increase(of_window, context()))
    if len(values) < 2:
        assert got is None
        return
    expected = grown(values)
    seconds = 60 * (len(values) - 1)
    # the second before the first sample is extrapolated unless the counter was zero later than that
    zero_seconds = seconds * values[0].count / expected.count if expected.count > 0 else 1
    assert_near(got, scaled(expected, (seconds + min(1, zero_seconds)) / seconds))


def growing(n: int, step: float = 6) -> list[Plain]:
    return [Plain(100 + step * k, 10 + k, 1, 0.5, 1, {2: 60 + step * k}, {1: 39}) for k in range(n)]


def test_a_rate_is_the_increase_of_a_second() -> None:
    of_window = windows({"x": every_minute(growing(6))}, [0, 60], [300, 360])
    [first, _] = answers(rate(of_window, context()))[0]
    [same, _] = answers(increase(of_window, context()))[0]
    assert first is not None
    assert same is not None
    assert_near(first, Plain(0.1, 1 / 60, 1, 0.5, positive={2: 0.1}, hint=GAUGE))
    assert_near(same, scaled(first, 300))


def test_growth_is_extrapolated_to_the_ends_only_where_samples_would_be_due() -> None:
    late = windows({"x": [(time + 200, value) for time, value in every_minute(growing(5))]}, [0, 20], [500, 520])
    grown_a_minute = Plain(6, 1, 1, 0.5, positive={2: 6}, hint=GAUGE)
    [[near, far]] = answers(increase(late, context()))
    assert_near(near, scaled(grown_a_minute, 4 + 0.5 + 1))
    assert_near(far, scaled(grown_a_minute, 4 + 0.5 + 0.5))


def test_a_counter_is_not_extrapolated_to_before_it_was_zero() -> None:
    young = [Plain(3, 0, positive={1: 3}), Plain(33, 0, positive={1: 33})]
    [[got]] = answers(increase(windows({"x": [(50, young[0]), (110, young[1])]}, [0], [110]), context()))
    assert_near(got, Plain(33, 0, positive={1: 33}, hint=GAUGE))


def test_each_series_and_step_has_its_own_window() -> None:
    fast, slow = growing(10, 60), growing(10, 6)
    series = {"slow": every_minute(slow), "fast": every_minute(fast), "one": every_minute(growing(1))}
    got = answers(rate(windows(series, [0, 120, 240, 900], [300, 420, 540, 1200]), context()))
    for rows, step in zip(got, (6, 60), strict=False):
        assert [row and row.count for row in rows] == [*[pytest.approx(step / 60)] * 3, None]
    assert got[2] == [None] * 4


def test_a_reset_in_one_bucket_alone_counts() -> None:
    values = [
        Plain(4, 5, positive={0: 1, 1: 2, 2: 1}),
        Plain(5, 6, positive={0: 1, 1: 1, 2: 3}),
        Plain(6, 7, positive={0: 1, 1: 2, 2: 3}),
    ]
    [[got]] = answers(increase(windows({"x": every_minute(values)}, [-60], [120]), context()))
    assert_near(got, scaled(Plain(6, 7, positive={0: 1, 1: 2, 2: 3}, hint=GAUGE), 1.5))


def test_nan_before_a_reset_does_not_spoil_what_comes_after() -> None:
    values = [Plain(9, math.nan), Plain(10, math.nan), Plain(1, 1), Plain(2, 2), Plain(3, 3)]
    got = answers(increase(windows({"x": every_minute(values)}, [60, 90], [240, 270]), context()))[0]
    assert [row and row.sum for row in got] == [pytest.approx(3), pytest.approx(3.0)]
    assert answers(increase(windows({"x": every_minute(values)}, [-1], [240]), context()))[0][0].sum != 0  # type: ignore[union-attr]


def test_a_hint_is_believed_more_than_the_counts() -> None:
    values = [Plain(5, positive={1: 5}), Plain(9, positive={1: 9})]
    for hint, growth in ((0, 4), (1, 9), (2, 4)):
        [[got]] = answers(increase(whole([values[0], replace(values[1], hint=hint)]), context()))
        assert got is not None
        assert got.positive == {1: pytest.approx(growth * 61 / 60)}
    shrunk = replace(values[0], hint=2)
    [[got]] = answers(increase(whole([values[1], shrunk]), context()))
    assert got is not None
    assert got.count == pytest.approx(-4 * 61 / 60)


def test_the_coarsest_schema_in_a_window_is_that_of_its_growth() -> None:
    values = [
        Plain(2, schema=1, positive={2: 2}),
        Plain(4, schema=0, positive={1: 4}),
        Plain(1, schema=1, positive={2: 1}),
        Plain(3, schema=1, positive={2: 3}),
    ]
    got = answers(increase(windows({"x": every_minute(values)}, [-1, 119], [180, 299]), context()))[0]
    assert [row and row.schema for row in got] == [0, 1]


def test_gauges_are_warned_of_where_counters_are_due_and_counters_where_gauges_are() -> None:
    gauges = [replace(value, hint=GAUGE) for value in growing(4)]
    for function, wrong, right, warning in (
        (rate, gauges, growing(4), NOT_COUNTER),
        (increase, [*growing(2), *gauges[2:]], growing(4), NOT_COUNTER),
        (irate, gauges, growing(4), NOT_COUNTER),
        (delta, growing(4), gauges, NOT_GAUGE),
        (idelta, growing(4), gauges, NOT_GAUGE),
    ):
        told = context()
        [[got]] = answers(function(whole(wrong), told))
        assert got is not None
        assert told.annotations.warnings == [warning]
        told = context()
        function(whole(right), told)
        assert not told.annotations.warnings


def test_a_window_of_floats_and_histograms_has_no_answer_and_a_warning() -> None:
    mixed = windows({"x": every_minute([1.0, 2.0, *growing(2)])}, [-1, -1, 61, 0], [60, 180, 180, 130])
    assert histogram_counts(mixed).tolist() == [[0, 2, 2, 1]]
    for function in (rate, increase, delta):
        told = context()
        got = answers(function(mixed, told))[0]
        assert [row is not None for row in got] == [False, False, True, False]
        assert MIXED_TYPES in told.annotations.warnings


def test_only_the_last_two_samples_count_for_irate_and_idelta() -> None:
    mixed = windows({"x": every_minute([1.0, 2.0, *growing(2)])}, [-1, -1, 61, 0], [60, 180, 180, 130])
    for function in (irate, idelta):
        told = context()
        got = answers(function(mixed, told))[0]
        assert [row is not None for row in got] == [False, True, True, False]
        assert MIXED_TYPES in told.annotations.warnings


def test_irate_is_the_last_difference_of_a_second_or_all_of_it_after_a_reset() -> None:
    [[got]] = answers(irate(whole(growing(5)), context()))
    assert_near(got, Plain(0.1, 1 / 60, 1, 0.5, positive={2: 0.1}, hint=GAUGE))
    [[got]] = answers(irate(whole([*growing(3), growing(1)[0]]), context()))
    assert_near(got, scaled(replace(growing(1)[0], hint=GAUGE), 1 / 60))


def test_delta_and_idelta_do_not_care_for_resets() -> None:
    values = [replace(value, hint=GAUGE) for value in (growing(5)[4], *growing(2))]
    [[got]] = answers(delta(whole(values), context()))
    assert_near(got, scaled(Plain(-18, -3, 1, 0.5, positive={2: -18}, hint=GAUGE), 121 / 120))
    [[got]] = answers(idelta(whole(values[:2]), context()))
    assert_near(got, Plain(-24, -4, 1, 0.5, positive={2: -24}, hint=GAUGE))


def test_exponential_and_custom_buckets_in_a_window_have_no_difference() -> None:
    fine, bounds = Plain(4, positive={1: 4}), Plain(5, schema=CUSTOM, positive={0: 5}, custom=(1,))
    for values in ([fine, bounds, fine], [bounds, fine, bounds]):
        told = context()
        assert answers(rate(whole(values), told)) == [[None]]
        assert told.annotations.warnings == [MIXED_BUCKETS]
    told = context()
    assert answers(delta(whole([fine, bounds]), told)) == [[None]]
    assert answers(idelta(whole([fine, bounds]), told)) == [[None]]
    assert MIXED_BUCKETS in told.annotations.warnings


def test_the_first_histogram_is_of_no_account_after_a_reset_whatever_its_layout() -> None:
    fine, bounds = Plain(4, positive={1: 4}), Plain(5, schema=CUSTOM, positive={0: 5}, custom=(1,))
    told = context()
    [[got]] = answers(increase(whole([fine, bounds]), told))
    assert got is not None
    assert got.positive == {0: pytest.approx(5 * 61 / 60)}
    assert not told.annotations.warnings


def custom_series(*bounds: tuple[float, ...]) -> list[Plain]:
    return [Plain(k, schema=CUSTOM, positive={0: k}, custom=of) for k, of in enumerate(bounds, 1)]


def test_bounds_that_changed_are_reconciled_and_said_to_be() -> None:
    for function in (rate, delta, irate, idelta):
        told = context()
        [[got]] = answers(function(whole(custom_series((1, 5), (1, 5), (5, 9))), told))
        assert got is not None
        assert got.custom == (5,)
        assert told.annotations.infos == [RECONCILED + "subtraction"]
        told = context()
        function(whole(custom_series((1, 5), (1, 5), (1, 5))), told)
        assert not told.annotations.infos


def test_bounds_that_differ_only_at_a_reset_are_added() -> None:
    told = context()
    values = [*custom_series((5,), (5, 9)), *custom_series((5,))]
    [[got]] = answers(rate(whole(values), told))
    assert got is not None
    assert got.custom == (5,)
    assert told.annotations.infos == [RECONCILED + "addition"]


def test_without_histograms_there_is_nothing_to_say() -> None:
    floats = windows({"x": every_minute([1.0, 2.0])}, [-1], [100])
    floats = replace(floats, samples=replace(floats.samples, histogram_of=None, histograms=None))
    for function in (rate, increase, delta, irate, idelta):
        assert answers(function(floats, context())) == [[None]]
    assert histogram_counts(floats).tolist() == [[0]]


def test_empty_buckets_are_left_out_of_a_difference() -> None:
    [[_]], h = (answer := rate(whole(growing(3)), context()))[0].tolist(), answer[1]
    assert np.array_equal(h.positive_counts, compact(h).positive_counts)
    assert len(h.negative_counts) == 0
    assert plain(h).negative == {}
