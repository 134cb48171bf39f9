from __future__ import annotations

import math

import pytest

from support.native_histograms import CUSTOM, Plain, columns
from watchkeeper_server.promql.histograms import all_to_json, to_json, to_text

BOTH = Plain(11, -1.5, 0, 0.25, 2, {0: 3, 2: 1}, {1: 5})


def test_a_bucket_tells_which_of_its_bounds_belong_to_it() -> None:
    assert to_json(columns([Plain(), BOTH]), 1) == {
        "count": "11",
        "sum": "-1.5",
        "buckets": [
            [1, "-2", "-1", "5"],
            [3, "-0.25", "0.25", "2"],
            [0, "0.5", "1", "3"],
            [0, "2", "4", "1"],
        ],
    }
    assert to_text(columns([BOTH]), 0) == "{count:11, sum:-1.5, [-2,-1):5, [-0.25,0.25]:2, (0.5,1]:3, (2,4]:1}"


def test_the_lowest_custom_bucket_has_both_of_its_bounds() -> None:
    one = columns([Plain(3, 4, CUSTOM, positive={0: 1, 1: 1, 2: 1}, custom=(-1.5, 10)), Plain()])
    assert to_json(one, 0)["buckets"] == [
        [3, "-Inf", "-1.5", "1"],
        [0, "-1.5", "10", "1"],
        [0, "10", "+Inf", "1"],
    ]
    assert to_text(one, 0) == "{count:3, sum:4, [-Inf,-1.5]:1, (-1.5,10]:1, (10,+Inf]:1}"


def test_without_filled_buckets_there_are_none() -> None:
    assert to_json(columns([Plain(3, math.nan)]), 0) == {"count": "3", "sum": "NaN"}
    assert to_text(columns([Plain(3, math.inf)]), 0) == "{count:3, sum:+Inf}"


@pytest.mark.parametrize(
    ("value", "json", "text"),
    [
        (0.1, "0.1", "0.1"),
        (1e6, "1000000", "1e+06"),
        (1e20, "100000000000000000000", "1e+20"),
        (1e21, "1e+21", "1e+21"),
        (0.00001, "0.00001", "1e-05"),
        (-0.00000025, "-2.5e-07", "-2.5e-07"),
    ],
)
def test_numbers_are_written_as_prometheus_writes_them(value: float, json: str, text: str) -> None:
    one = columns([Plain(0, value)])
    assert to_json(one, 0)["sum"] == json
    assert to_text(one, 0) == f"{{count:0, sum:{text}}}"


def test_many_rows_are_written_as_each_is() -> None:
    rows = columns([BOTH, Plain(), Plain(1, 1, 3, positive={-7: 1})])
    assert all_to_json(rows, [2, 0, 1, 0]) == [to_json(rows, row) for row in (2, 0, 1, 0)]
    assert all_to_json(rows, []) == []
