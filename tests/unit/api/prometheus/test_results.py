from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.promql import samples
from watchkeeper_server.api.prometheus.results import instant_json, range_json
from watchkeeper_server.promql.histograms import from_rows
from watchkeeper_server.promql.values import Labels, Matrix, Result, Samples, Scalar, Steps, Text

INSTANT = Steps(1_500, 1_500, 0)
RANGE = Steps(0, 2_000, 1_000)
HISTOGRAM = from_rows([{"count": 3, "sum": 4.5, "schema": 0, "positive_offset": 0, "positive": [1, 0, 2]}])
HISTOGRAM_JSON = '{"count":"3","sum":"4.5","buckets":[[0,"0.5","1","1"],[0,"2","4","2"]]}'


def matrix(*rows: list[float | None], labels: list[dict[str, str]] | None = None) -> Matrix:
    """A row a series; None is nothing."""
    values = np.array([[0.0 if value is None else value for value in row] for row in rows])
    present = np.array([[value is not None for value in row] for row in rows])
    return Matrix(labels or [{"i": str(index)} for index in range(len(rows))], values, present)


@pytest.mark.parametrize(
    ("result", "written"),
    [
        (Result(Scalar(np.array([1e-7])), INSTANT), '"resultType":"scalar","result":[1.5,"0.0000001"]'),
        (Result(Scalar(np.array([math.nan])), Steps(2_000, 2_000, 0)), '"resultType":"scalar","result":[2,"NaN"]'),
        (Result(Text('a "b"'), INSTANT), '"resultType":"string","result":[1.5,"a \\"b\\""]'),
        (
            Result(Matrix([], np.zeros((0, 1)), np.zeros((0, 1), np.bool_)), INSTANT),
            '"resultType":"vector","result":[]',
        ),
        (
            Result(matrix([1e-7], [None], [-math.inf], labels=[{"b": "1", "a": "é"}, {}, {}]), INSTANT),
            (
                '"resultType":"vector","result":[{"metric":{"a":"é","b":"1"},"value":[1.500,"1e-07"]},'
                '{"metric":{},"value":[1.500,"-Inf"]}]'
            ),
        ),
        (
            Result(samples({'x{a="1"}': [(1, 2.0), (1_000, 3.0)]}), INSTANT),
            '"resultType":"matrix","result":[{"metric":{"__name__":"x","a":"1"},"values":[[0.001,"2"],[1,"3"]]}]',
        ),
        (
            Result(Matrix([{}], np.zeros((1, 1)), np.ones((1, 1), np.bool_), np.array([[0]]), HISTOGRAM), INSTANT),
            f'"resultType":"vector","result":[{{"metric":{{}},"histogram":[1.500,{HISTOGRAM_JSON}]}}]',
        ),
        (
            Result(
                Samples([{}], np.array([0, 2]), np.array([1, 2]), np.zeros(2), np.array([-1, 0]), HISTOGRAM), INSTANT
            ),
            (
                '"resultType":"matrix","result":[{"metric":{},"values":[[0.001,"0"]],'
                f'"histograms":[[0.002,{HISTOGRAM_JSON}]]}}]'
            ),
        ),
    ],
    ids=["scalar", "full second", "string", "nothing", "vector", "range vector", "histogram", "mixed samples"],
)
def test_an_instant_result_is_written_as_prometheus_writes_it(result: Result, written: str) -> None:
    assert instant_json(result, 0) == (f"{{{written}}}".encode(), False)
    json.loads(f"{{{written}}}")


@pytest.mark.parametrize(
    ("result", "written"),
    [
        (
            Result(matrix([1, None, 2.5], [None, None, None]), RANGE),
            '"resultType":"matrix","result":[{"metric":{"i":"0"},"values":[[0,"1"],[2,"2.5"]]}]',
        ),
        (
            Result(Scalar(np.array([1.0, 2.0, math.nan])), RANGE),
            '"resultType":"matrix","result":[{"metric":{},"values":[[0,"1"],[1,"2"],[2,"NaN"]]}]',
        ),
        (
            Result(
                Matrix(
                    [{"a": "1"}, {"a": "2"}],
                    np.zeros((2, 3)),
                    np.ones((2, 3), np.bool_),
                    np.array([[-1, 0, -1], [0, 0, 0]]),
                    HISTOGRAM,
                ),
                RANGE,
            ),
            (
                '"resultType":"matrix","result":[{"metric":{"a":"1"},"values":[[0,"0"],[2,"0"]],'
                f'"histograms":[[1,{HISTOGRAM_JSON}]]}},'
                f'{{"metric":{{"a":"2"}},"histograms":[[0,{HISTOGRAM_JSON}],[1,{HISTOGRAM_JSON}],[2,{HISTOGRAM_JSON}]]}}]'
            ),
        ),
    ],
    ids=["gaps", "scalar", "floats and histograms"],
)
def test_a_range_result_is_written_as_prometheus_writes_it(result: Result, written: str) -> None:
    assert range_json(result, 0) == (f"{{{written}}}".encode(), False)
    json.loads(f"{{{written}}}")


@pytest.mark.parametrize(("limit", "kept", "truncated"), [(0, 3, False), (3, 3, False), (2, 2, True), (1, 1, True)])
def test_the_first_series_up_to_the_limit_are_kept(limit: int, kept: int, truncated: bool) -> None:
    # the one without anything does not count
    result = Result(matrix([1, 2, 3], [None, None, None], [4, None, None], [5, 6, None]), RANGE)
    written, cut = range_json(result, limit)
    assert cut is truncated
    assert [series["metric"]["i"] for series in json.loads(written)["result"]] == ["0", "2", "3"][:kept]


def test_a_limit_says_nothing_about_a_scalar() -> None:
    assert not instant_json(Result(Scalar(np.array([1.0])), INSTANT), 1)[1]


cells = st.none() | st.floats(allow_nan=False)


@given(st.integers(0, 4).flatmap(lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), max_size=5)))
def test_every_value_is_found_in_its_series_at_its_time(rows: list[list[float | None]]) -> None:
    width = len(rows[0]) if rows else 0
    if not width:
        return
    written, _ = range_json(Result(matrix(*rows), Steps(500, 500 + 250 * (width - 1), 250)), 0)
    found: list[dict[str, Any]] = json.loads(written)["result"]
    assert {series["metric"]["i"]: [(time, float(value)) for time, value in series["values"]] for series in found} == {
        str(index): [(0.5 + 0.25 * step, value) for step, value in enumerate(row) if value is not None]
        for index, row in enumerate(rows)
        if any(value is not None for value in row)
    }


@pytest.mark.parametrize(
    "labels",
    [
        {"b": "", "a": "1", "é": "2", "B": "3", "😀": "4", "\uffff": "5"},
        {'a"},\n,{"b': "},\n,{", "c": "\\\n\u2028\x00"},
        {},
    ],
    ids=["names in order", "what could part sets of labels", "none"],
)
def test_labels_are_written_by_name(labels: dict[str, str]) -> None:
    written, _ = instant_json(Result(matrix([1], [2], labels=[labels, {"a": "1"}]), INSTANT), 0)
    first, second = json.loads(written)["result"]
    assert [*first["metric"].items()] == sorted(labels.items())
    assert second["metric"] == {"a": "1"}


def test_an_answer_of_any_length_is_written_point_by_point() -> None:
    random = np.random.default_rng(1)
    texts = ["0", "-7", "100000000000", "-0", "0.5", "0.3333333333333333", "1e-07", "100000000000000000", "NaN", "+Inf"]
    picked = random.integers(0, len(texts), (400, 250))
    # some are integers from end to end
    picked[:150] = random.integers(0, 3, (150, 250))
    present = random.random(picked.shape) < 0.8
    present[:7] = present[160:170] = present[-3:] = False
    steps = Steps(1_700_000_000_000, 1_700_000_000_000 + 249 * 12_345, 12_345)
    times = [f"{time // 1000}.{time % 1000:03}".removesuffix(".000") for time in steps.times.tolist()]
    series = []
    for row in np.flatnonzero(present.any(axis=1)).tolist():
        points = [f'[{times[step]},"{texts[picked[row, step]]}"]' for step in np.flatnonzero(present[row])]
        series.append(f'{{"metric":{{"a":"é","b":"{row}"}},"values":[{",".join(points)}]}}')
    whole = f'{{"resultType":"matrix","result":[{",".join(series)}]}}'.encode()
    labels: list[Labels] = [{"b": str(row), "a": "é"} for row in range(len(picked))]
    values = np.array(texts, np.float64)[picked]
    assert range_json(Result(Matrix(labels, values, present), steps), 0) == (whole, False)
    rows, at = np.nonzero(present)
    samples = Samples(labels, np.searchsorted(rows, np.arange(len(labels) + 1)), steps.times[at], values[rows, at])
    assert instant_json(Result(samples, INSTANT), 0) == (whole, False)


def test_what_it_took_is_said_at_the_end() -> None:
    written, _ = instant_json(Result(Scalar(np.array([1.0])), INSTANT), 0, {"timings": {"evalTotalTime": 0.5}})
    assert written == b'{"resultType":"scalar","result":[1.5,"1"],"stats":{"timings":{"evalTotalTime":0.5}}}'
    written, _ = range_json(Result(matrix([None]), INSTANT), 0, {})
    assert written == b'{"resultType":"matrix","result":[],"stats":{}}'
