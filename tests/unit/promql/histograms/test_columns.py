from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from support.native_histograms import Plain, alike, columns, plain
from watchkeeper_server.promql.histograms import EMPTY, compact, concat, equal, from_rows, take

ONE = Plain(7, 3.5, 2, 0.25, 1, {1: 2, 3: 4}, {-2: 1})


def test_what_is_left_out_of_a_row_is_empty_or_zero() -> None:
    assert plain(from_rows([{}])) == Plain()
    assert len(EMPTY) == 0


@given(alike(), st.data())
def test_rows_are_taken_in_the_order_asked_for(rows: list[Plain], data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, len(rows) - 1)))
    taken = take(columns(rows), places)
    assert [plain(taken, row) for row in range(len(taken))] == [rows[place] for place in places]


def test_a_mask_takes_what_it_marks() -> None:
    taken = take(columns([Plain(1), ONE, Plain(2)]), np.array([False, True, True]))
    assert [plain(taken, row) for row in range(len(taken))] == [ONE, Plain(2)]


@given(alike(), alike())
def test_parts_are_put_one_after_the_other(first: list[Plain], second: list[Plain]) -> None:
    joined = concat([columns(first), EMPTY, columns(second)])
    assert [plain(joined, row) for row in range(len(joined))] == first + second
    assert len(concat([])) == 0


def test_empty_buckets_at_the_ends_are_left_out_and_those_between_are_kept() -> None:
    h = from_rows(
        [
            {"positive": [0, 0, 1, 0, 2, 0], "positive_offset": -3, "negative": [0, 5], "negative_offset": 4},
            {"positive": [0, 0], "positive_offset": 9},
            {"positive": [3]},
        ]
    )
    small = compact(h)
    assert small.positive_counts.tolist() == [1, 0, 2, 3]
    assert small.positive_splits.tolist() == [0, 3, 3, 4]
    assert small.positive_offset.tolist() == [-1, 0, 0]
    assert small.negative_counts.tolist() == [5]
    assert small.negative_offset.tolist() == [5, 0, 0]
    assert equal(h, small).all()


@given(alike())
def test_a_row_is_equal_to_itself(rows: list[Plain]) -> None:
    assert equal(columns(rows), columns(rows)).all()


def test_rows_are_equal_only_if_everything_is() -> None:
    others = [
        replace(ONE, count=8),
        replace(ONE, sum=3),
        replace(ONE, schema=1),
        replace(ONE, zero_threshold=0.5),
        replace(ONE, zero_count=0),
        replace(ONE, positive={1: 2, 3: 5}),
        replace(ONE, positive={1: 2, 4: 4}),
        replace(ONE, positive={1: 2}),
        replace(ONE, negative={-3: 1}),
        replace(ONE, negative={}),
    ]
    assert not equal(columns([ONE] * len(others)), columns(others)).any()
    bounds = Plain(schema=-53, positive={0: 1}, custom=(1.0, 2.0))
    others = [replace(bounds, custom=(1.0, 3.0)), replace(bounds, custom=(1.0,))]
    assert not equal(columns([bounds] * 2), columns(others)).any()


def test_nan_is_equal_to_itself_and_what_is_known_of_resets_does_not_count() -> None:
    assert equal(columns([replace(ONE, sum=math.nan)]), columns([replace(ONE, sum=math.nan, hint=3)])).all()
