from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.promql import MemoryReader, key, told
from watchkeeper_server.promql.engine import Engine, EngineOptions
from watchkeeper_server.promql.errors import ExecutionError
from watchkeeper_server.promql.histograms import from_rows
from watchkeeper_server.promql.values import Matrix, Result, Samples

NAN, INF = math.nan, math.inf
MINUTE = 60_000


def engine(vector: dict[str, float]) -> Engine:
    return Engine(MemoryReader({of: [(0, value)] for of, value in vector.items()}), EngineOptions(experimental=True))


def ask(query: str, vector: dict[str, float]) -> dict[frozenset[tuple[str, str]], float]:
    return told(engine(vector).instant(query, 0))


def of_values(query: str, values: list[float]) -> float:
    (value,) = ask(query, {f'm{{i="{index}"}}': value for index, value in enumerate(values)}).values()
    return value


GROUPED = {'m{i="1",j="x"}': 1.0, 'm{i="2",j="x"}': 2.0, 'm{i="3",j="y"}': 5.0, 'm{i="4"}': 7.0}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("sum(m)", {"": 15}),
        ("sum by () (m)", {"": 15}),
        ("sum by (j) (m)", {'{j="x"}': 3, '{j="y"}': 5, "": 7}),
        ("sum without (i) (m)", {'{j="x"}': 3, '{j="y"}': 5, "": 7}),
        ("sum by (__name__) (m)", {"m": 15}),
        ("sum by (nothing) (m)", {"": 15}),
        ("avg by (j) (m)", {'{j="x"}': 1.5, '{j="y"}': 5, "": 7}),
        ("min by (j) (m)", {'{j="x"}': 1, '{j="y"}': 5, "": 7}),
        ("max by (j) (m)", {'{j="x"}': 2, '{j="y"}': 5, "": 7}),
        ("count by (j) (m)", {'{j="x"}': 2, '{j="y"}': 1, "": 1}),
        ("group by (j) (m)", {'{j="x"}': 1, '{j="y"}': 1, "": 1}),
        ("stdvar by (j) (m)", {'{j="x"}': 0.25, '{j="y"}': 0, "": 0}),
        ("stddev by (j) (m)", {'{j="x"}': 0.5, '{j="y"}': 0, "": 0}),
        ("quantile by (j) (0.9, m)", {'{j="x"}': 1.9, '{j="y"}': 5, "": 7}),
        ("topk by (j) (1, m)", {'m{i="2",j="x"}': 2, 'm{i="3",j="y"}': 5, 'm{i="4"}': 7}),
        ("bottomk without (i) (1, m)", {'m{i="1",j="x"}': 1, 'm{i="3",j="y"}': 5, 'm{i="4"}': 7}),
        ("limitk by (j) (1, m)", {'m{i="1",j="x"}': 1, 'm{i="3",j="y"}': 5, 'm{i="4"}': 7}),
        ("sum(nothing)", {}),
        ("topk(0, m)", {}),
        ("topk(-1, m)", {}),
        ("limitk(0, m)", {}),
        ("limit_ratio(0, m)", {}),
        ("count_values('v', nothing)", {}),
    ],
)
def test_groups_are_of_the_labels_named_or_of_all_others(query: str, expected: dict[str, float]) -> None:
    assert ask(query, GROUPED) == pytest.approx({key(text): value for text, value in expected.items()})


@pytest.mark.parametrize(
    ("query", "values", "expected"),
    [
        ("sum(m)", [1, 1e100, 1, -1e100], 2),
        ("sum(m)", [1e308, 1e308, -1e308, -1e308, 3], INF),
        ("sum(m)", [-1e308, 0, 1e308, 1e308], 1e308),
        ("sum(m)", [1e308, 1e308, NAN], NAN),
        ("sum(m)", [1e308, 1e308], INF),
        ("sum(m)", [INF, 1, 2], INF),
        ("sum(m)", [INF, -INF], NAN),
        ("sum(m)", [1, NAN], NAN),
        ("avg(m)", [1e308, 1e308, 1e308], 1e308),
        ("avg(m)", [-INF, 1], -INF),
        ("avg(m)", [0.1] * 10, 0.1),
        ("min(m)", [NAN, 2, 1], 1),
        ("max(m)", [NAN, 2, 1], 2),
        ("max(m)", [NAN, NAN], NAN),
        ("min(m)", [INF, NAN], INF),
        ("stddev(m)", [1e9 + 1, 1e9 + 2, 1e9 + 3], math.sqrt(2 / 3)),
        ("stddev(m)", [1, INF], NAN),
        ("stdvar(m)", [NAN], NAN),
        ("quantile(0.5, m)", [NAN, 1, 2], 1),
        ("quantile(0, m)", [NAN, 1, 2], NAN),
        ("quantile(1, m)", [3, 1, 2], 3),
        ("count(m)", [NAN, INF], 2),
    ],
)
def test_numbers_at_the_edges_are_treated_as_prometheus_does(query: str, values: list[float], expected: float) -> None:
    assert of_values(query, values) == pytest.approx(expected, rel=1e-12, nan_ok=True)


@given(st.lists(st.floats(-1e15, 1e15), min_size=1, max_size=40), st.integers(0, 2**32))
def test_a_sum_loses_nothing_to_rounding_on_its_way(values: list[float], seed: int) -> None:
    values = [*values, *(-value for value in values[1:])]
    random.Random(seed).shuffle(values)
    assert of_values("sum(m)", values) == pytest.approx(math.fsum(values), rel=1e-15, abs=1e-12)


def test_steps_are_independent_of_each_other() -> None:
    reader = MemoryReader({'m{i="1"}': [(0, 1.0), (10 * MINUTE, 3.0)], 'm{i="2"}': [(10 * MINUTE, 4.0)]})
    value = Engine(reader).range("sum(m)", 0, 20 * MINUTE, 10 * MINUTE).value
    assert isinstance(value, Matrix)
    assert value.present.tolist() == [[True, True, False]]
    assert value.values[0, :2].tolist() == [1, 7]


def test_the_number_of_series_to_keep_may_change_with_the_step() -> None:
    reader = MemoryReader({f'm{{i="{index}"}}': [(0, float(index)), (MINUTE, float(-index))] for index in range(3)})
    value = Engine(reader).range("topk(scalar(m{i='1'}) + 1, m)", 0, MINUTE, MINUTE).value
    assert isinstance(value, Matrix)
    assert value.labels == [{"__name__": "m", "i": "1"}, {"__name__": "m", "i": "2"}]
    assert value.present.tolist() == [[True, False], [True, False]]


@given(st.lists(st.lists(st.sampled_from([1.0, 2.0, 3.0, NAN]), min_size=6, max_size=6), min_size=1, max_size=5))
def test_of_equal_values_the_first_are_kept_however_many_there_are_to_keep(rows: list[list[float]]) -> None:
    limits = [-3.0, 0.0, 1.0, 2.0, 4.0, 99.0]
    series = {f'm{{i="{row}"}}': [(step * MINUTE, each) for step, each in enumerate(of)] for row, of in enumerate(rows)}
    reader = MemoryReader(series | {"limit": [(step * MINUTE, each) for step, each in enumerate(limits)]})
    value = Engine(reader).range("topk(scalar(limit), m)", 0, 5 * MINUTE, MINUTE).value
    assert isinstance(value, Matrix)
    kept = {
        (int(of["i"]), step)
        for of, row in zip(value.labels, value.present, strict=True)
        for step in np.flatnonzero(row)
    }
    for step, limit in enumerate(limits):
        best = sorted(range(len(rows)), key=lambda row: math.inf if math.isnan(rows[row][step]) else -rows[row][step])
        assert {row for row, at in kept if at == step} == set(best[: max(0, int(limit))])


def test_an_instant_query_shows_the_greatest_first_within_each_group() -> None:
    series = {
        'm{g="1",i="1"}': 1.0,
        'm{g="2",i="2"}': 9.0,
        'm{g="1",i="3"}': 3.0,
        'm{g="1",i="4"}': NAN,
        'm{g="1",i="5"}': 2.0,
    }
    assert [*ask("topk by (g) (3, m)", series).values()] == [3, 2, 1, 9]
    assert [*ask("bottomk by (g) (2, m)", series).values()] == [1, 2, 9]


def test_nan_is_kept_only_where_there_is_room_for_it() -> None:
    series = {'m{i="1"}': NAN, 'm{i="2"}': -INF, 'm{i="3"}': 1.0}
    assert [*ask("topk(2, m)", series).values()] == [1, -INF]
    assert math.isnan([*ask("bottomk(3, m)", series).values()][2])


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("topk(NaN, m)", "Parameter value is NaN"),
        ("limitk(NaN, m)", "Parameter value is NaN"),
        ("topk(1e30, m)", r"Scalar value 1e\+30 overflows int64"),
        ("bottomk(Inf, m)", r"Scalar value \+Inf overflows int64"),
        ("limit_ratio(NaN, m)", "Ratio value is NaN"),
        ("count_values('', m)", 'invalid label name ""'),
    ],
)
def test_a_parameter_that_makes_no_sense_is_named(query: str, message: str) -> None:
    with pytest.raises(ExecutionError, match=f"^{message}$"):
        ask(query, {"m": 1.0})


@pytest.mark.parametrize(
    ("query", "expected", "warning"),
    [
        ("quantile(1.5, m)", INF, "quantile value should be between 0 and 1, got 1.5 (1:10)"),
        ("quantile(-1, m)", -INF, "quantile value should be between 0 and 1, got -1 (1:10)"),
        ("quantile(NaN, m)", NAN, "quantile value should be between 0 and 1, got NaN (1:10)"),
        ("limit_ratio(2, m)", 1, "ratio value should be between -1 and 1, got 2, capping to 1 (1:13)"),
        ("limit_ratio(-1e6, m)", 1, "ratio value should be between -1 and 1, got -1e+06, capping to -1 (1:13)"),
    ],
)
def test_a_parameter_out_of_range_is_warned_of(query: str, expected: float, warning: str) -> None:
    result = engine({"m": 1.0}).instant(query, 0)
    assert [*told(result).values()] == pytest.approx([expected], nan_ok=True)
    assert result.warnings == [f"PromQL warning: {warning}"]


def test_values_are_counted_by_how_they_are_written() -> None:
    series = {'m{i="1"}': 1.0, 'm{i="2"}': 1.0, 'm{i="3"}': 1e21, 'm{i="4"}': NAN, 'm{i="5"}': -INF, 'm{i="6"}': 0.25}
    expected = {"1": 2, "1000000000000000000000": 1, "NaN": 1, "-Inf": 1, "0.25": 1}
    assert ask("count_values('v', m)", series) == {key(f'{{v="{text}"}}'): count for text, count in expected.items()}


def test_the_label_of_a_counted_value_replaces_one_of_its_name() -> None:
    series = {'m{i="1",j="x"}': 6.0, 'm{i="2",j="x"}': 6.0, 'm{i="3",j="y"}': 7.0}
    assert ask("count_values by (j) ('i', m)", series) == {key('{i="6",j="x"}'): 2, key('{i="7",j="y"}'): 1}
    assert ask("count_values without (i) ('j', m)", series) == {key('{j="6"}'): 2, key('{j="7"}'): 1}
    assert ask("count_values without (j) ('j', m)", series) == {
        key('{i="1"}'): 1,
        key('{i="2"}'): 1,
        key('{i="3"}'): 1,
    }


def test_a_ratio_and_its_negative_complement_share_all_series_between_them() -> None:
    series = {f'm{{i="{index}"}}': 1.0 for index in range(200)}
    low, high = ask("limit_ratio(0.3, m)", series), ask("limit_ratio(-0.7, m)", series)
    assert 40 < len(low) < 80
    assert low.keys() | high.keys() == {key(text) for text in series}
    assert not low.keys() & high.keys()


def histograms(*rows: dict[str, object] | float) -> Engine:
    """`m{i="0"}`, `m{i="1"}`, …: histograms and floats."""
    given_rows = [row for row in rows if isinstance(row, dict)]
    is_row = np.array([isinstance(row, dict) for row in rows])
    series = Samples(
        [{"__name__": "m", "i": str(index)} for index in range(len(rows))],
        np.arange(len(rows) + 1),
        np.zeros(len(rows), np.int64),
        np.array([NAN if isinstance(row, dict) else row for row in rows]),
        np.where(is_row, np.cumsum(is_row) - 1, -1),
        from_rows(given_rows),
    )
    return Engine(MemoryReader(series), EngineOptions(experimental=True))


def counts(result: Result) -> list[float]:
    assert isinstance(result.value, Matrix)
    value = result.value
    assert value.histograms is not None
    assert value.histogram_of is not None
    found: list[float] = value.histograms.count[value.histogram_of[:, 0]].tolist()
    return found


TWO: dict[str, object] = {"count": 2, "sum": 3, "positive": [1, 1]}
FOUR: dict[str, object] = {"count": 4, "sum": 5, "positive": [1, 3]}
CUSTOM: dict[str, object] = {"count": 2, "schema": -53, "positive": [2], "custom_values": [1.0]}


def test_native_histograms_have_sums_and_means() -> None:
    assert counts(histograms(TWO, FOUR).instant("sum(m)", 0)) == [6]
    assert counts(histograms(TWO, FOUR).instant("avg(m)", 0)) == [3]
    assert counts(histograms(TWO, FOUR, 7.0).instant("limitk by (i) (1, m)", 0))[:2] == [2, 4]
    assert told(histograms(TWO, FOUR, 7.0).instant("count(m)", 0)) == {key(""): 3}


def test_a_group_of_floats_and_histograms_has_no_sum() -> None:
    result = histograms(TWO, 1.0).instant("sum(m)", 0)
    assert told(result) == {}
    text = "PromQL warning: encountered a mix of histograms and floats for aggregation"
    assert result.warnings == [f"{text} (1:5)"]


def test_histograms_with_bounds_of_their_own_do_not_add_to_others() -> None:
    result = histograms(TWO, CUSTOM).instant("avg(m)", 0)
    assert told(result) == {}
    assert len(result.warnings) == 1
    assert "mix of histograms with exponential and custom buckets" in result.warnings[0]


@pytest.mark.parametrize("op", ["min", "max", "stddev", "stdvar"])
def test_what_only_floats_have_ignores_histograms_with_a_remark(op: str) -> None:
    result = histograms(TWO, 1.0).instant(f"{op} (m)", 0)
    assert [*told(result).values()] == [0 if op.startswith("std") else 1]
    assert result.infos == [f"PromQL info: ignored histogram in {op} aggregation (1:{len(op) + 3})"]


@pytest.mark.parametrize(("query", "place"), [("quantile(0.5, m)", 15), ("topk(2, m)", 1), ("bottomk(2, m)", 1)])
def test_ranks_are_of_floats_only(query: str, place: int) -> None:
    result = histograms(TWO, 1.0).instant(query, 0)
    assert [*told(result).values()] == [1]
    op = query.split("(", maxsplit=1)[0]
    assert result.infos == [f"PromQL info: ignored histogram in {op} aggregation (1:{place})"]
