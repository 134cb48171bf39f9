from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.native_histograms import Plain, added, alike, columns, context, custom, exponential, plain
from watchkeeper_server.promql.annotations import Annotations
from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.histograms import (
    add,
    avg_groups,
    compact,
    divide,
    equal,
    from_rows,
    scale,
    subtract,
    sum_groups,
    take,
)
from watchkeeper_server.promql.tree import Span
from watchkeeper_server.promql.values import Steps

UNKNOWN, RESET, NOT_RESET, GAUGE = range(4)
COLLIDE = "PromQL warning: conflicting counter resets during histogram "
RECONCILED = "PromQL info: mismatched custom buckets were reconciled during "


def pairs() -> st.SearchStrategy[tuple[Plain, Plain]]:
    return st.one_of(st.tuples(exponential(), exponential()), st.tuples(custom(), custom()))


@given(st.lists(pairs(), min_size=1, max_size=6))
def test_sums_and_differences_are_those_of_each_pair(rows: list[tuple[Plain, Plain]]) -> None:
    a, b = (columns(side) for side in zip(*rows, strict=True))
    total, possible = add(a, b, context())
    less, less_possible = subtract(a, b, context())
    kinds = [left.schema == right.schema == -53 or -53 not in {left.schema, right.schema} for left, right in rows]
    assert possible.tolist() == less_possible.tolist() == kinds
    for row, pair in enumerate(rows):
        assert plain(total, row) == added(pair)
        assert plain(less, row) == replace(added(pair, [1, -1]), hint=GAUGE)


@given(pairs())
def test_adding_is_commutative(pair: tuple[Plain, Plain]) -> None:
    a, b = columns(pair[:1]), columns(pair[1:])
    assert equal(add(a, b, context())[0], add(b, a, context())[0]).all()


@given(pairs(), st.sampled_from([-2.0, 0.5, 4.0]))
def test_scaling_distributes_over_adding(pair: tuple[Plain, Plain], factor: float) -> None:
    a, b, factors = columns(pair[:1]), columns(pair[1:]), np.array([factor])
    scaled = scale(add(a, b, context())[0], factors)
    assert equal(scaled, add(scale(a, factors), scale(b, factors), context())[0]).all()


@given(exponential(), st.integers(-4, 8))
def test_a_coarser_schema_keeps_every_observation(one: Plain, schema: int) -> None:
    coarse = Plain(schema=min(schema, one.schema), zero_threshold=one.zero_threshold)
    total = plain(add(columns([one]), columns([coarse]), context())[0])
    assert total.schema == coarse.schema
    assert (total.count, total.sum) == (one.count, one.sum)
    assert total.zero_count + sum(total.positive.values()) + sum(total.negative.values()) == one.count


def test_a_bucket_goes_into_the_coarser_one_that_ends_with_it_or_after_it() -> None:
    fine = Plain(schema=1, positive={0: 1, 1: 2, 2: 4, 3: 8, -1: 16, -2: 32})
    total = plain(add(columns([fine]), columns([Plain(schema=0)]), context())[0])
    assert total.positive == {0: 17, 1: 6, 2: 8, -1: 32}


def test_the_zero_bucket_is_widened_to_the_end_of_a_filled_bucket_that_it_would_cut() -> None:
    narrow = Plain(zero_threshold=0.25, zero_count=1, positive={0: 2, 1: 4, 2: 8}, negative={1: 16})
    wide = Plain(zero_threshold=1.5, zero_count=100, positive={3: 32})
    total = plain(add(columns([narrow]), columns([wide]), context())[0])
    assert (total.zero_threshold, total.zero_count) == (2, 100 + 1 + 2 + 4 + 16)
    assert (total.positive, total.negative) == ({2: 8, 3: 32}, {})


def test_the_zero_bucket_may_end_within_an_empty_bucket() -> None:
    narrow = Plain(zero_threshold=0.25, zero_count=1, positive={0: 2, 2: 8})
    wide = Plain(zero_threshold=1.5, zero_count=100)
    total = plain(add(columns([narrow]), columns([wide]), context())[0])
    assert (total.zero_threshold, total.zero_count, total.positive) == (1.5, 103, {2: 8})


def test_custom_buckets_are_brought_to_the_bounds_that_both_have() -> None:
    a = Plain(schema=-53, positive={0: 1, 1: 2, 2: 4, 3: 8}, custom=(1, 2, 3))
    b = Plain(schema=-53, positive={0: 16, 2: 32}, custom=(2, 5))
    told = context()
    total, possible = add(columns([a]), columns([b]), told)
    assert possible.all()
    assert plain(total) == Plain(schema=-53, positive={0: 1 + 2 + 16, 1: 4 + 8 + 32}, custom=(2.0,))
    assert told.annotations.infos == [RECONCILED + "addition"]
    subtract(columns([a]), columns([b]), told)
    assert told.annotations.infos[1:] == [RECONCILED + "subtraction"]


def test_custom_buckets_without_a_common_bound_become_one() -> None:
    a = Plain(schema=-53, positive={0: 1, 1: 2}, custom=(1,))
    total, _ = add(columns([a]), columns([replace(a, custom=(2,))]), context())
    assert plain(total) == Plain(schema=-53, positive={0: 6})


def test_exponential_and_custom_buckets_have_no_sum() -> None:
    a = columns([Plain(count=1, positive={1: 1}), Plain(count=2, positive={1: 2})])
    b = columns([Plain(schema=-53, positive={0: 3}, custom=(1,)), Plain(count=5, positive={1: 5})])
    told = context()
    total, possible = add(a, b, told)
    assert possible.tolist() == [False, True]
    assert plain(total, 1) == Plain(count=7, positive={1: 7})
    assert not told.annotations.warnings


@pytest.mark.parametrize(
    ("left", "right", "joint"),
    [
        (UNKNOWN, UNKNOWN, UNKNOWN),
        (RESET, RESET, RESET),
        (NOT_RESET, NOT_RESET, NOT_RESET),
        (GAUGE, NOT_RESET, GAUGE),
        (UNKNOWN, GAUGE, GAUGE),
        (UNKNOWN, RESET, UNKNOWN),
        (NOT_RESET, UNKNOWN, UNKNOWN),
        (RESET, NOT_RESET, UNKNOWN),
    ],
)
def test_what_is_known_of_resets_is_what_both_know(left: int, right: int, joint: int) -> None:
    told = context()
    total, _ = add(columns([Plain(hint=left)]), columns([Plain(hint=right)]), told)
    assert total.counter_reset.tolist() == [joint]
    assert told.annotations.warnings == ([COLLIDE + "addition"] if {left, right} == {RESET, NOT_RESET} else [])


def test_remarks_point_to_the_operation_and_to_what_is_aggregated() -> None:
    told = Context(Steps(0, 0, 0), Annotations("sum(a + b)"), Span(4, 9), (Span(6, 7),))
    reset, not_reset = columns([Plain(hint=RESET)]), columns([Plain(hint=NOT_RESET)])
    add(reset, not_reset, told)
    sum_groups(columns([Plain(hint=RESET), Plain(hint=NOT_RESET)]), np.zeros(2, np.int64), 1, told)
    assert told.annotations.warnings == [COLLIDE + "addition (1:5)", COLLIDE + "aggregation (1:7)"]


def test_a_negative_factor_makes_a_gauge() -> None:
    h = columns([Plain(count=1, hint=NOT_RESET)] * 2)
    assert scale(h, np.array([-1.0, 2.0])).counter_reset.tolist() == [GAUGE, NOT_RESET]
    assert divide(h, np.array([-1.0, 2.0])).counter_reset.tolist() == [GAUGE, NOT_RESET]


def test_dividing_by_zero_leaves_no_bucket_but_the_zero_bucket() -> None:
    one = Plain(2, 3, zero_count=1, positive={1: 1}, negative={1: 0.5})
    divided = divide(columns([one, one]), np.array([0.0, 2.0]))
    assert plain(divided, 0) == Plain(math.inf, math.inf, zero_count=math.inf)
    assert plain(divided, 1) == Plain(1, 1.5, zero_count=0.5, positive={1: 0.5}, negative={1: 0.25})


@given(alike(8), st.data())
def test_groups_are_summed_and_averaged_in_any_order_of_rows(rows: list[Plain], data: st.DataObject) -> None:
    group = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    total, possible = sum_groups(columns(rows), np.array(group), 4, context())
    mean, _ = avg_groups(columns(rows), np.array(group), 4, context())
    assert possible.all()
    assert len(total) == len(mean) == 4
    for number in range(4):
        members = [row for row, place in zip(rows, group, strict=True) if place == number]
        assert plain(total, number) == (added(members) if members else Plain())
        if members:
            part = scale(columns([added(members)]), np.array([1 / len(members)]))
            assert plain(mean, number).sum == pytest.approx(part.sum[0])
            assert compact(take(mean, [number])).positive_counts == pytest.approx(part.positive_counts)


def test_a_group_with_exponential_and_custom_buckets_has_no_sum() -> None:
    rows = [Plain(count=1), Plain(count=2, schema=-53), Plain(count=4)]
    total, possible = sum_groups(columns(rows), np.array([0, 0, 1]), 2, context())
    assert possible.tolist() == [False, True]
    assert plain(total, 1) == Plain(count=4)


def test_what_is_lost_to_rounding_when_adding_is_made_up_for() -> None:
    parts = [1.0, 1e100, 1.0, -1e100]
    h = from_rows({"sum": part, "count": abs(part), "positive": [part]} for part in parts)
    total, _ = sum_groups(h, np.zeros(4, np.int64), 1, context())
    assert (total.sum.tolist(), total.positive_counts.tolist()) == ([2.0], [2.0])
    tenths = from_rows({"sum": 0.1} for _ in range(10))
    assert sum_groups(tenths, np.zeros(10, np.int64), 1, context())[0].sum.tolist() == [1.0]


def test_infinity_and_nan_are_added_as_they_are() -> None:
    h = from_rows({"sum": value} for value in [1.0, math.inf, math.nan, 2.0, -math.inf, math.inf])
    total, _ = sum_groups(h, np.array([0, 0, 1, 1, 2, 2]), 3, context())
    assert str(total.sum.tolist()) == "[inf, nan, nan]"


def test_a_mean_does_not_overflow_when_the_sum_does() -> None:
    rows = [Plain(count=1e308, sum=-1e308, positive={3: 1e308})] * 3 + [Plain(count=4, sum=2)]
    mean, _ = avg_groups(columns(rows), np.array([0, 0, 0, 1]), 2, context())
    assert mean.count == pytest.approx([1e308, 4])
    assert mean.sum == pytest.approx([-1e308, 2])
    assert mean.positive_counts == pytest.approx([1e308])
    assert mean.positive_offset[0] == 3


def test_many_rows_are_added_as_few_are() -> None:
    rows = [Plain(1, 2, 3, 0, 1, {index % 50: 1.0, index % 50 + 40: 2.0}) for index in range(20_000)]
    group = np.arange(len(rows)) % 700
    total, _ = sum_groups(columns(rows), group, 700, context())
    assert plain(total, 699) == added(rows[699::700])
    assert total.count.sum() == len(rows)
