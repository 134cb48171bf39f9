from __future__ import annotations

import math

import numpy as np
import pytest

from support.promql import MemoryReader, key, told
from watchkeeper_server.promql.annotations import Annotations
from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.engine import Engine
from watchkeeper_server.promql.errors import ExecutionError
from watchkeeper_server.promql.histograms import from_rows
from watchkeeper_server.promql.operators import Cells, combined
from watchkeeper_server.promql.options import EngineOptions
from watchkeeper_server.promql.tree import NOWHERE
from watchkeeper_server.promql.values import Matrix, Samples, Scalar, Steps

NAN, INF = math.nan, math.inf


def engine(vector: dict[str, float]) -> Engine:
    return Engine(MemoryReader({of: [(1000, value)] for of, value in vector.items()}), EngineOptions(experimental=True))


def ask(query: str, series: dict[str, float]) -> dict[frozenset[tuple[str, str]], float]:
    return told(engine(series).instant(query, 1000))


def expect(answer: dict[frozenset[tuple[str, str]], float], expected: dict[str, float]) -> None:
    assert answer == pytest.approx({key(text): value for text, value in expected.items()}, nan_ok=True)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("1 / 0", INF),
        ("-1 / 0", -INF),
        ("0 / 0", NAN),
        ("5 % 3", 2),
        ("-5 % 3", -2),
        ("5 % -3", 2),
        ("5 % 0", NAN),
        ("5 % Inf", 5),
        ("Inf % 5", NAN),
        ("2 ^ 3 ^ 2", 512),
        ("-2 ^ 2", -4),
        ("(-8) ^ 0.5", NAN),
        ("NaN ^ 0", 1),
        ("1 ^ NaN", 1),
        ("0 ^ -1", INF),
        ("1 atan2 0", math.pi / 2),
        ("1 == bool 1", 1),
        ("NaN == bool NaN", 0),
        ("NaN != bool NaN", 1),
        ("2 >= bool 3", 0),
    ],
)
def test_scalars_follow_ieee_754_as_go_does(query: str, expected: float) -> None:
    value = engine({}).instant(query, 0).value
    assert isinstance(value, Scalar)
    assert value.values.tolist() == pytest.approx([expected], nan_ok=True)


SERIES = {'m{i="1"}': 1.0, 'm{i="2"}': 2.0, 'm{i="3"}': NAN}


def test_arithmetic_with_a_scalar_drops_names() -> None:
    expect(ask("m * 2", SERIES), {'{i="1"}': 2, '{i="2"}': 4, '{i="3"}': NAN})
    expect(ask("2 - m", SERIES), {'{i="1"}': 1, '{i="2"}': 0, '{i="3"}': NAN})


def test_a_comparison_with_a_scalar_keeps_the_vectors_values_and_names_on_either_side() -> None:
    expect(ask("m > 1", SERIES), {'m{i="2"}': 2})
    expect(ask("1 < m", SERIES), {'m{i="2"}': 2})
    expect(ask("m != 1", SERIES), {'m{i="2"}': 2, 'm{i="3"}': NAN})


def test_bool_gives_zeros_and_ones_without_names() -> None:
    expect(ask("m > bool 1", SERIES), {'{i="1"}': 0, '{i="2"}': 1, '{i="3"}': 0})
    expect(ask("m <= bool m", SERIES), {'{i="1"}': 1, '{i="2"}': 1, '{i="3"}': 0})


def test_dropping_names_must_not_make_two_series_the_same() -> None:
    with pytest.raises(ExecutionError, match=r"^vector cannot contain metrics with the same labelset$"):
        ask('{__name__=~"m|n"} + 1', {"m": 1, "n": 2})


def test_series_that_become_the_same_at_different_steps_are_joined() -> None:
    reader = MemoryReader({"m": [(0, 1.0)], "n": [(600_000, 2.0)]})
    value = Engine(reader).range('-{__name__=~"m|n"}', 0, 600_000, 600_000).value
    assert isinstance(value, Matrix)
    assert value.labels == [{}]
    assert value.values.tolist() == [[-1, -2]]


TWO = {'m{i="1",j="x"}': 1.0, 'm{i="2",j="x"}': 2.0, 'n{i="2",j="y"}': 20.0, 'n{i="3",j="y"}': 30.0}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("m + n", {}),
        ("m + on (i) n", {'{i="2"}': 22}),
        ("m + ignoring (j) n", {'{i="2"}': 22}),
        ("m < on (i) n", {'{i="2"}': 2}),
        ("m < ignoring (j) n", {'m{i="2"}': 2}),
        ("m > ignoring (j) n", {}),
        ("m + on (i) group_left () n", {'{i="2",j="x"}': 22}),
        ("m + on (i) group_left (j) n", {'{i="2",j="y"}': 22}),
        ("m - on (i) group_right () n", {'{i="2",j="y"}': -18}),
        ("m < on (i) group_right () n", {'n{i="2",j="y"}': 2}),
        ("m and on (i) n", {'m{i="2",j="x"}': 2}),
        ("m unless on (i) n", {'m{i="1",j="x"}': 1}),
        ("m or on (i) n", {'m{i="1",j="x"}': 1, 'm{i="2",j="x"}': 2, 'n{i="3",j="y"}': 30}),
        ("m and n", {}),
        ("m or on () n", {'m{i="1",j="x"}': 1, 'm{i="2",j="x"}': 2}),
        ("m + on (i) fill (0) n", {'{i="1"}': 1, '{i="2"}': 22, '{i="3"}': 30}),
        ("m - on (i) fill_left (0) n", {'{i="2"}': -18, '{i="3"}': -30}),
        ("m - on (i) fill_right (5) n", {'{i="1"}': -4, '{i="2"}': -18}),
        ("m - on (i) group_right () fill_left (0) n", {'{i="2",j="y"}': -18, '{i="3",j="y"}': -30}),
        ("m + on (i) group_left (j) fill_right (1) n", {'{i="1"}': 2, '{i="2",j="y"}': 22}),
        ("n + on (i) nothing", {}),
        ("n + on (i) fill_right (1) nothing", {'{i="2"}': 21, '{i="3"}': 31}),
    ],
)
def test_two_vectors_are_matched_by_labels(query: str, expected: dict[str, float]) -> None:
    expect(ask(query, TWO), expected)


def test_two_series_on_the_side_of_one_are_named() -> None:
    message = (
        r'^found duplicate series for the match group {j="y"} on the right hand-side of the operation: '
        r'\[{__name__="n", i="3", j="y"}, {__name__="n", i="2", j="y"}\]'
        r";many-to-many matching not allowed: matching labels must be unique on one side$"
    )
    with pytest.raises(ExecutionError, match=message):
        ask("m + on (j) n", TWO)
    with pytest.raises(ExecutionError, match="on the left hand-side of the operation"):
        ask("n + on (j) group_right () m", TWO)


def test_many_series_need_a_modifier_to_match_one() -> None:
    with pytest.raises(ExecutionError, match=r"many-to-one matching must be explicit \(group_left/group_right\)$"):
        ask('m + on (j) n{i="2"}', {**TWO, 'n{i="2",j="x"}': 1})


def test_included_labels_must_not_make_two_results_the_same() -> None:
    series = {'m{i="1",j="x"}': 1.0, 'm{i="2",j="x"}': 2.0, 'n{j="x",i="9"}': 3.0}
    with pytest.raises(
        ExecutionError, match=r"^multiple matches for labels: grouping labels must ensure unique matches$"
    ):
        ask("m + on (j) group_left (i) n", series)


def test_a_conflict_counts_only_at_steps_where_both_sides_are() -> None:
    reader = MemoryReader(
        {
            "m": [(0, 1.0)],
            'n{i="1"}': [(0, 10.0), (600_000, 10.0)],
            'n{i="2"}': [(600_000, 20.0)],
        }
    )
    value = Engine(reader).range("m + on () n", 0, 600_000, 600_000).value
    assert isinstance(value, Matrix)
    assert value.values[value.present].tolist() == [11]


def test_the_partner_may_be_another_series_at_each_step() -> None:
    reader = MemoryReader(
        {
            "m": [(0, 1.0), (600_000, 1.0)],
            'n{i="1"}': [(0, 10.0)],
            'n{i="2"}': [(600_000, 20.0)],
        }
    )
    value = Engine(reader).range("m + on () n", 0, 600_000, 600_000).value
    assert isinstance(value, Matrix)
    assert value.values.tolist() == [[11, 21]]
    split = Engine(reader).range("m + on () group_left (i) n", 0, 600_000, 600_000).value
    assert isinstance(split, Matrix)
    assert split.labels == [{"i": "1"}, {"i": "2"}]
    assert split.present.tolist() == [[True, False], [False, True]]


def mixed() -> Engine:
    """`f` is a float of 2, `h` and `g` are histograms of 4 observations, `c` is one with bounds of its own."""
    of_four = {"count": 4, "sum": 5, "positive": [1, 3]}
    rows = from_rows([of_four, of_four, {"count": 2, "schema": -53, "positive": [2], "custom_values": [1.0]}])
    values, histogram_of = np.array([2, NAN, NAN, NAN]), np.array([-1, 0, 1, 2])
    names = [{"__name__": name} for name in "fhgc"]
    series = Samples(names, np.arange(5), np.full(4, 1000), values, histogram_of, rows)
    return Engine(MemoryReader(series), EngineOptions(experimental=True))


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("h + on () g", 8),
        ("h - on () g", 0),
        ("h * 3", 12),
        ("0.5 * h", 2),
        ("h * on () f", 8),
        ("f * on () h", 8),
        ("h / 2", 2),
        ("-h", -4),
        ("h == on () g", 4),
        ("h or on () f", 4),
    ],
)
def test_native_histograms_are_added_scaled_and_compared(query: str, count: float) -> None:
    value = mixed().instant(query, 1000).value
    assert isinstance(value, Matrix)
    assert value.histograms is not None
    assert value.histogram_of is not None
    assert value.histograms.count[value.histogram_of[0]].tolist() == [count]


@pytest.mark.parametrize(
    ("query", "operands"),
    [
        ("h + on () f", '"+": histogram + float'),
        ("f - on () h", '"-": float - histogram'),
        ("h > on () g", '">": histogram > histogram'),
        ("h + 1", '"+": histogram + float'),
        ("1 / h", '"/": float / histogram'),
        ("h == 1", '"==": histogram == float'),
        ("h * on () g", '"*": histogram * histogram'),
    ],
)
def test_what_cannot_be_combined_is_left_out_with_a_remark(query: str, operands: str) -> None:
    result = mixed().instant(query, 1000)
    assert told(result) == {}
    text = "PromQL info: incompatible sample types encountered for binary operator"
    assert result.infos == [f"{text} {operands} (1:1)"]


def test_bucket_layouts_that_do_not_fit_are_warned_of() -> None:
    result = mixed().instant("h + on () c", 1000)
    assert told(result) == {}
    assert result.warnings == ["PromQL warning: incompatible bucket layout encountered for binary operator + (1:1)"]


def test_only_histograms_can_be_trimmed() -> None:
    steps, annotations = Steps(0, 0, 0), Annotations()
    cells = Cells(np.array([[2.0], [NAN]]), np.array([[-1], [0]]), from_rows([{"count": 4, "positive": [1, 3]}]))
    limits = Cells(np.full((2, 1), 1.0))
    made = combined("</", cells, limits, np.ones((2, 1), np.bool_), Context(steps, annotations, NOWHERE))
    assert made.holds.tolist() == [[False], [True]]
    assert made.cells.histograms is not None
    assert made.cells.histograms.count.tolist() == [1]
    assert annotations.infos == [
        'PromQL info: incompatible sample types encountered for binary operator "</": float </ float'
    ]


def test_histograms_compared_with_bool_are_zeros_and_ones() -> None:
    assert told(mixed().instant("h == bool on () g", 1000)) == {key(""): 1}
    assert told(mixed().instant("h != bool on () g", 1000)) == {key(""): 0}
