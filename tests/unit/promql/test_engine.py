from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count

import pytest

from support.promql import MemoryReader, key, told
from watchkeeper_server.promql.engine import Engine, EngineOptions
from watchkeeper_server.promql.errors import (
    ExecutionError,
    InvalidQueryError,
    ParseError,
    QueryTimeoutError,
    TooManySamplesError,
)
from watchkeeper_server.promql.tree import Matcher
from watchkeeper_server.promql.values import Matrix, Samples, Scalar, Text

SECOND, MINUTE = 1000, 60_000
# Each minute its number.
MINUTES = {"m": [(index * MINUTE, float(index)) for index in range(61)]}
EXPERIMENTAL = EngineOptions(experimental=True)


def values(query: str, steps: Sequence[int], series: dict[str, list[tuple[int, float]]] | None = None) -> list[float]:
    """A range query's only series at each step, NaN where it is not; `steps` are minutes."""
    engine = Engine(MemoryReader(MINUTES if series is None else series), EXPERIMENTAL)
    step = steps[1] - steps[0] if len(steps) > 1 else 1
    value = engine.range(query, steps[0] * MINUTE, steps[-1] * MINUTE, step * MINUTE).value
    if isinstance(value, Scalar):
        return value.values.tolist()
    assert isinstance(value, Matrix)
    (row,) = range(len(value.labels))
    return [
        each if here else math.nan for each, here in zip(value.values[row].tolist(), value.present[row], strict=True)
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("m", [10, 20, 30]),
        ("m offset 5m", [5, 15, 25]),
        ("m offset -5m", [15, 25, 35]),
        ("m @ 600", [10, 10, 10]),
        ("m @ 600 offset 1m", [9, 9, 9]),
        ("m @ start()", [10, 10, 10]),
        ("m @ end() + m", [40, 50, 60]),
        ("sum(m @ 600) + 1", [11, 11, 11]),
        ("count_over_time(m[10m])", [10, 10, 10]),
        ("count_over_time(m[90s])", [2, 2, 2]),
        ("sum_over_time(m[2m] offset 1m)", [17, 37, 57]),
        ("sum_over_time(m[2m] @ 600)", [19, 19, 19]),
        ("predict_linear(m[5m] @ 600, 0)", [10, 20, 30]),
        ("sum_over_time(m[6m:2m])", [24, 54, 84]),
        ("sum_over_time(m[6m:4m])", [8, 36, 28]),
        ("sum_over_time(m[2m:])", [19, 39, 59]),
        ("sum_over_time((m offset 1m)[2m:1m] offset 1m)", [15, 35, 55]),
        ("sum_over_time(m[2m:1m] @ 600)", [19, 19, 19]),
        ("sum_over_time((m @ 600)[2m:1m])", [20, 20, 20]),
        ("sum_over_time((m @ end())[2m:1m])", [60, 60, 60]),
        ("max_over_time(sum_over_time(m[2m:1m])[3m:1m])", [19, 39, 59]),
        ("timestamp(m offset 30s)", [540, 1140, 1740]),
        ("timestamp(m @ 600)", [600, 600, 600]),
        ("timestamp(m + 0)", [600, 1200, 1800]),
        ("time()", [600, 1200, 1800]),
        ("minute(m @ 600)", [0, 0, 0]),
        ("1", [1, 1, 1]),
        ("+m", [10, 20, 30]),
        ("absent(nothing)", [1, 1, 1]),
        ("absent_over_time(m[1m] offset 15m)", [1, math.nan, math.nan]),
        ("absent_over_time(nothing[1m:30s])", [1, 1, 1]),
        ("start()", [600, 600, 600]),
        ("end()", [1800, 1800, 1800]),
        ("range()", [1200, 1200, 1200]),
        ("step()", [600, 600, 600]),
        ("count_over_time(m[step()])", [10, 10, 10]),
    ],
)
def test_a_query_answers_at_each_step(query: str, expected: list[float]) -> None:
    assert values(query, [10, 20, 30]) == pytest.approx(expected, nan_ok=True)


def test_a_subquery_is_evaluated_at_multiples_of_its_step_whatever_the_time() -> None:
    assert values("sum_over_time(m[3m:1m])", [10]) == [27]
    shifted = Engine(MemoryReader(MINUTES)).instant("timestamp(m)[3m:1m]", 10 * MINUTE + 7).value
    assert isinstance(shifted, Samples)
    assert shifted.times.tolist() == [8 * MINUTE, 9 * MINUTE, 10 * MINUTE]


def test_a_subquery_before_1970_has_its_steps_there_too() -> None:
    series = {"m": [(-5 * MINUTE, 1.0)]}
    value = Engine(MemoryReader(series)).instant("m[3m:1m]", -4 * MINUTE).value
    assert isinstance(value, Samples)
    assert value.times.tolist() == [-5 * MINUTE, -4 * MINUTE]


def test_an_instant_query_may_be_a_range_vector_a_string_or_a_number() -> None:
    engine = Engine(MemoryReader(MINUTES))
    samples = engine.instant("(m[2m])", 10 * MINUTE).value
    assert isinstance(samples, Samples)
    assert samples.labels == [{"__name__": "m"}]
    assert samples.times.tolist() == [9 * MINUTE, 10 * MINUTE]
    assert engine.instant("'text'", 0).value == Text("text")
    number = engine.instant("scalar(m)", 10 * MINUTE).value
    assert isinstance(number, Scalar)
    assert number.values.tolist() == [10]


@pytest.mark.parametrize(
    ("query", "kind"), [("m[5m]", "range vector"), ("(m[5m:1m])", "range vector"), ("'a'", "string")]
)
def test_a_range_query_is_of_numbers_and_instant_vectors(query: str, kind: str) -> None:
    message = f'^invalid expression type "{kind}" for range query, must be Scalar or instant Vector$'
    with pytest.raises(InvalidQueryError, match=message):
        Engine(MemoryReader({})).range(query, 0, MINUTE, MINUTE)


def test_what_is_not_promql_is_refused() -> None:
    with pytest.raises(ParseError):
        Engine(MemoryReader({})).instant("sum(", 0)
    with pytest.raises(ParseError):
        Engine(MemoryReader({})).instant("limitk(1, m)", 0)


def test_series_of_a_range_query_are_sorted_and_those_never_there_left_out() -> None:
    series = {'m{b="1"}': [(0, 1.0)], 'm{a="2"}': [(0, 2.0)], "m": [(0, 3.0)], 'm{a="10"}': [(0, 9.0)]}
    value = Engine(MemoryReader(series)).range("m < 5", 0, MINUTE, MINUTE).value
    assert isinstance(value, Matrix)
    assert value.labels == [{"__name__": "m"}, {"__name__": "m", "a": "2"}, {"__name__": "m", "b": "1"}]


def test_an_instant_query_keeps_the_order_that_was_asked_for() -> None:
    series = {f'm{{i="{index}"}}': [(0, float(index % 3))] for index in range(4)}
    assert [*told(Engine(MemoryReader(series)).instant("sort_desc(m)", 0)).values()] == [2, 1, 0, 0]


def test_selectors_that_say_the_same_are_read_once_and_no_earlier_or_later_than_needed() -> None:
    reader = MemoryReader(MINUTES)
    Engine(reader).range("rate(m[2m]) / rate(m[2m]) + m offset 1m", 10 * MINUTE, 20 * MINUTE, MINUTE)
    asked = [(start // MINUTE, end // MINUTE) for _, start, end in reader.asked]
    assert asked == [(8, 20), (4, 19)]


def test_the_lookback_is_an_option_and_may_be_another_for_one_query() -> None:
    reader = MemoryReader({"m": [(0, 1.0)]})
    engine = Engine(reader, EngineOptions(lookback_ms=10))
    assert told(engine.instant("m", 9)) == {key("m"): 1}
    assert told(engine.instant("m", 10)) == {}
    assert told(engine.instant("m", 10, lookback_ms=11)) == {key("m"): 1}


def test_a_subquerys_step_is_an_option() -> None:
    engine = Engine(MemoryReader(MINUTES), EngineOptions(default_subquery_step_ms=30 * SECOND))
    assert told(engine.instant("count_over_time(m[2m:])", 10 * MINUTE)) == {key(""): 4}


def test_labels_of_what_is_absent_are_those_it_would_have() -> None:
    engine = Engine(MemoryReader(MINUTES))
    query = 'absent(x{a="1",b=~"2",c!="3",d="4",d="5",e=""})'
    assert told(engine.instant(query, 0)) == {key('{a="1"}'): 1}
    assert told(engine.instant('absent_over_time(x{a="1"}[5m])', 0)) == {key('{a="1"}'): 1}
    assert told(engine.instant('absent(sum(x{a="1"}))', 0)) == {key(""): 1}
    assert told(engine.instant("absent(m)", 0)) == {}


@pytest.mark.parametrize(
    ("query", "most"),
    [("m", 3), ("count_over_time(m[30m])", 29), ("m + m", 10), ("1", 2), ("rate(m[2m] anchored)", 8)],
)
def test_a_query_may_hold_only_so_many_samples(query: str, most: int) -> None:
    with pytest.raises(TooManySamplesError, match="query processing would load too many samples into memory"):
        Engine(MemoryReader(MINUTES), EngineOptions(most_samples=most, experimental=True)).range(
            query, 30 * MINUTE, 32 * MINUTE, MINUTE
        )


def test_samples_of_one_part_of_a_query_do_not_count_for_the_next() -> None:
    engine = Engine(MemoryReader(MINUTES), EngineOptions(most_samples=20))
    assert told(engine.instant(" + ".join(["m"] * 50), 30 * MINUTE)) == {key(""): 1500}


def test_a_query_may_take_only_so_long() -> None:
    ticks = count()
    engine = Engine(MemoryReader(MINUTES), EngineOptions(timeout_seconds=60), clock=lambda: next(ticks))
    assert told(engine.instant("m", 0, timeout_seconds=10)) == {key("m"): 0}
    with pytest.raises(QueryTimeoutError, match="query timed out in expression evaluation"):
        engine.instant("m + m + m + m", 0, timeout_seconds=10)
    assert told(engine.instant("m + m + m + m", 0)) == {key(""): 0}


def test_a_function_over_ranges_must_not_make_two_series_the_same() -> None:
    series = {"m": [(0, 1.0)], "n": [(30 * MINUTE, 1.0)]}
    with pytest.raises(ExecutionError, match="vector cannot contain metrics with the same labelset"):
        Engine(MemoryReader(series)).range('count_over_time({__name__=~"m|n"}[1m])', 0, 30 * MINUTE, 30 * MINUTE)
    assert told(Engine(MemoryReader(series)).instant('count_over_time({__name__=~"m|n"}[1m])', 0)) == {key(""): 1}


def test_names_go_at_the_end_where_that_is_asked_for() -> None:
    series = {'m{i="1"}': [(0, 1.0)], 'n{i="1"}': [(0, 2.0)]}
    engine = Engine(MemoryReader(series), EngineOptions(delayed_names=True))
    assert told(engine.instant('sum by (i) (-{i="1"})', 0)) == {key('{i="1"}'): -3}
    assert told(engine.instant('label_replace(-{i="1"}, "was", "$1", "__name__", "(.*)")', 0)) == {
        key('{i="1",was="m"}'): -1,
        key('{i="1",was="n"}'): -2,
    }
    assert told(engine.instant('label_replace(abs(m), "__name__", "new_$1", "__name__", "(.*)")', 0)) == {
        key('new_m{i="1"}'): 1
    }
    with pytest.raises(ExecutionError, match="vector cannot contain metrics with the same labelset"):
        engine.instant('-{i="1"}', 0)


def test_the_deepest_trees_that_can_be_parsed_can_be_evaluated() -> None:
    engine = Engine(MemoryReader(MINUTES))
    assert told(engine.instant("sum(" * 98 + "m" + ")" * 98, MINUTE)) == {key(""): 1}
    assert told(engine.instant("m" + " + m" * 198, MINUTE)) == {key(""): 199}


@pytest.mark.parametrize("duration", ["1m - 1m", "step()", "-(5m)"])
def test_a_range_that_comes_to_nothing_is_refused(duration: str) -> None:
    with pytest.raises(ExecutionError, match="duration must be greater than 0"):
        Engine(MemoryReader(MINUTES), EXPERIMENTAL).instant(f"count_over_time(m[{duration}])", 0)


class Refusing:
    """A reader whose limit is what it is told."""

    def __init__(self) -> None:
        self.most = 0

    def select(self, _matchers: Sequence[Matcher], _start: int, _end: int, most: int) -> Samples:
        self.most = most
        raise TooManySamplesError

    def grid(self, *_asked: object) -> None:
        """Nothing is computed here."""


def test_the_reader_is_told_how_many_samples_are_left() -> None:
    reader = Refusing()
    with pytest.raises(TooManySamplesError):
        Engine(reader, EngineOptions(most_samples=100)).instant("1 + m", 0)
    assert reader.most == 99
