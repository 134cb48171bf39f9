"""Queries that would take too much memory or time, however little they read."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest

from support.promql import MemoryReader
from watchkeeper_server.model.patience import Asker, answering
from watchkeeper_server.promql.engine import Engine
from watchkeeper_server.promql.errors import QueryCanceledError, QueryTimeoutError, TooManySamplesError
from watchkeeper_server.promql.options import EngineOptions
from watchkeeper_server.promql.values import Samples

SERIES = {f'm{{i="{i}"}}': [(0, 1.0)] for i in range(100)}
OPTIONS = EngineOptions(most_cells=20_000)


@pytest.mark.parametrize(
    "query",
    [
        "m",
        "sum(m)",
        "rate(m[5m])",
        'count(count_values("v", vector(time())))',
        "count_over_time(vector(1)[290y:1ms])",
    ],
)
def test_a_matrix_beyond_bounds_is_refused_before_it_is_made(query: str) -> None:
    with pytest.raises(TooManySamplesError):
        Engine(MemoryReader(SERIES), OPTIONS).range(query, 0, 1_000_000, 1000)


def test_pairs_beyond_bounds_are_refused() -> None:
    each_at_a_step_of_its_own = {f'n{{i="{i}"}}': [(i * 1_000_000, 1.0)] for i in range(100)}
    engine = Engine(MemoryReader(each_at_a_step_of_its_own), OPTIONS)
    with pytest.raises(TooManySamplesError):
        engine.range("n + on() n", 0, 99_000_000, 1_000_000)


def test_series_that_a_comparison_left_out_are_paired_with_nothing() -> None:
    engine = Engine(MemoryReader(SERIES), EngineOptions(most_cells=150))
    result = engine.instant("(m > 5) + on() (m > 5)", 0)
    assert result.value.labels == []  # type: ignore[union-attr]


def test_nobody_may_take_longer_than_the_server_allows() -> None:
    clock = itertools.count(0, 10)
    engine = Engine(MemoryReader(SERIES), EngineOptions(timeout_seconds=25), lambda: float(next(clock)))
    with pytest.raises(QueryTimeoutError):
        engine.instant("m + m + m", 0, timeout_seconds=1e9)


def test_an_answer_that_came_too_late_is_none() -> None:
    times = iter([0.0, 0.0, 30.0, 30.0, 30.0])
    engine = Engine(MemoryReader(SERIES), EngineOptions(timeout_seconds=25), lambda: next(times))
    with pytest.raises(QueryTimeoutError):
        engine.instant("m", 0)


def test_an_evaluation_ends_when_whoever_asked_leaves() -> None:
    who, asked = Asker(), []

    class Reader(MemoryReader):
        def select(self, *arguments: Any) -> Samples:
            asked.append(arguments)
            who.leave()
            return super().select(*arguments)

    with answering(who), pytest.raises(QueryCanceledError):
        Engine(Reader(SERIES)).instant("m + n + o", 0)
    assert len(asked) == 1


def test_the_time_that_a_query_waited_for_its_turn_counts() -> None:
    who = Asker()
    time.sleep(0.02)
    with answering(who), pytest.raises(QueryTimeoutError, match="query timed out in query queue"):
        Engine(MemoryReader(SERIES)).instant("m", 0, timeout_seconds=0.01)
