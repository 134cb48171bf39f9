"""Series of the last days are found without looking at all that have ended; those of other times as before."""

from __future__ import annotations

import time
from typing import Any

import pytest

from watchkeeper_server.model.times import format_time
from watchkeeper_server.promql.parser import parse_selector
from watchkeeper_server.query.series_index import SeriesIndex, Version
from watchkeeper_server.store.engine import Engine
from watchkeeper_server.store.statements import migrations
from watchkeeper_server.store.store import Store

HOUR, DAY = 3600, 86_400
_ADD = """
INSERT INTO series
SELECT
    'pods', {id:UInt64}, map('pod', {pod:String}), fromUnixTimestamp({first:UInt32}), fromUnixTimestamp({last:UInt32})
"""


def _add(engine: Engine, id_: int, pod: str, first: float, last: float) -> None:
    engine.execute(_ADD, {"id": id_, "pod": pod, "first": int(first), "last": int(last)})


def _found(store: Store, start: float, end: float) -> list[int]:
    index = SeriesIndex(store.read, store.read, lambda: Version(0, 0), lambda: Version(0, 0))
    matchers = parse_selector("pods")
    ids: list[int] = index.find(matchers, int(start) * 1000, int(end) * 1000).ids.tolist()
    return ids


def _pods(store: Store, start: float, end: float) -> dict[str, Any]:
    seconds = {"start": int(start), "end": int(end)}
    text = {name: format_time(value * 1_000_000_000).removesuffix("Z") for name, value in seconds.items()}
    labels = store.read("read_metric_labels", text | {"metric": "pods", "limit": 9}).to_pylist()
    return {
        "values": store.read("read_label_values", seconds | {"name": "pod"}).column(0).to_pylist(),
        "names": store.read("read_label_names", seconds).column(0).to_pylist(),
        "metrics": store.read("read_metric_names", seconds).column(0).to_pylist(),
        "labels": [row["label_values"] for row in labels],
    }


@pytest.mark.parametrize("days_ago", [0.1, 1, 1.9, 2.1, 2.9, 3.1, 20])
def test_a_series_is_found_by_every_question_about_its_time_and_by_no_other(
    store: Store, engine: Engine, days_ago: float
) -> None:
    now = time.time()
    seen = now - days_ago * DAY
    _add(engine, 1, "a", seen - HOUR, seen)
    _add(engine, 2, "b", now - 25 * DAY, now - 24 * DAY)
    assert _found(store, seen - 600, seen + 600) == [1]
    assert _found(store, seen - 30 * DAY, now) == [1, 2]
    assert _found(store, seen + 600, now) == []
    nothing: dict[str, Any] = {"values": [], "names": [], "metrics": [], "labels": []}
    assert _pods(store, seen - 600, now) == {
        "values": ["a"], "names": ["pod"], "metrics": ["pods"], "labels": [["a"]]
    }  # fmt: skip
    assert _pods(store, seen + 600, now) == nothing


def test_a_series_that_lives_on_for_days_is_found_once(store: Store, engine: Engine) -> None:
    now = time.time()
    for hours in range(0, 100, 5):
        _add(engine, 1, "a", now - (hours + 5) * HOUR, now - hours * HOUR)
    for hours in (1, 30, 60, 90):
        assert _found(store, now - hours * HOUR, now) == [1]
    assert _found(store, now - 40 * HOUR, now - 30 * HOUR) == [1]


def test_a_deleted_series_is_gone_for_questions_about_any_time(store: Store, engine: Engine) -> None:
    now = time.time()
    _add(engine, 1, "a", now - 5 * DAY, now)
    _add(engine, 2, "b", now - 5 * DAY, now)
    store.delete(["pods"], [1], 0, int(now * 1000), series=True)
    assert _found(store, now - HOUR, now) == _found(store, now - 4 * DAY, now) == [2]


def test_the_series_of_a_store_from_before_are_found_after_it_is_migrated(store: Store, engine: Engine) -> None:
    now = time.time()
    _add(engine, 1, "a", now - 5 * DAY, now)
    engine.execute("DROP TABLE recent_series")
    engine.execute("DROP VIEW series_to_recent_series")
    for step in range(len(migrations()["0007_recent_series"])):
        engine.execute(f"DELETE FROM schema_migrations WHERE name = '0007_recent_series:{step}'")  # noqa: S608  a number
    store.migrate()
    assert _found(store, now - HOUR, now) == [1]
    _add(engine, 2, "b", now - HOUR, now)
    assert _found(store, now - HOUR, now) == [1, 2]


def test_a_day_of_series_that_have_ended_is_not_read(store: Store, engine: Engine) -> None:
    now = time.time()
    engine.execute(
        "INSERT INTO series SELECT 'pods', number, map('pod', toString(number)), now() - 172800, now() - 90000 "
        "FROM numbers(10000)"
    )
    _add(engine, 99_999, "living", now - HOUR, now)
    start = int(now) - HOUR
    plan = engine.query(
        f"EXPLAIN ESTIMATE SELECT labels FROM recent_series WHERE last_seen >= toDateTime({start}, 'UTC')"  # noqa: S608  ours
    )
    assert sum(plan.column("rows").to_pylist()) == 1
    assert _found(store, start, now) == [99_999]
