from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.otlp import load, log_record, logs_request
from watchkeeper_server.journal.segment import write_segment
from watchkeeper_server.model.filters import LogFilter
from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.query.logs import LogQueries
from watchkeeper_server.query.tail import LogTail
from watchkeeper_server.store.store import Store

START = 1_795_240_800 * 10**9
DAY = 86_400 * 10**9

Arrive = Callable[..., int]


@pytest.fixture
def logs(store: Store) -> LogQueries:
    return LogQueries(store.read)


@pytest.fixture
def arrive(store: Store, tmp_path: Path) -> Arrive:
    def arrive(*bodies: str, time: int = START, service: str = "shop") -> int:
        records = [log_record(time=time + i, body=body) for i, body in enumerate(bodies)]
        return load(store, Kind.LOGS, tmp_path, logs_request(records, service))

    return arrive


def seen(tail: LogTail, limit: int = 100) -> list[Any]:
    return [record["body"] for record in tail.look(limit)[0]]


def test_only_what_arrives_afterwards_is_seen_once_and_in_order(logs: LogQueries, arrive: Arrive) -> None:
    arrive("before")
    tail = LogTail(logs, LogFilter())
    assert seen(tail) == []
    arrive("a", "b")
    arrive("c", time=START + 1_000)
    assert seen(tail) == ["a", "b", "c"]
    assert seen(tail) == []
    arrive("d")
    assert seen(tail) == ["d"]


def test_records_that_arrive_late_are_seen_however_old(logs: LogQueries, arrive: Arrive) -> None:
    tail = LogTail(logs, LogFilter())
    arrive("now")
    assert seen(tail) == ["now"]
    arrive("a day late", time=START - DAY)
    assert seen(tail) == ["a day late"]


def test_equal_records_are_seen_as_often_as_they_came(logs: LogQueries, arrive: Arrive) -> None:
    tail = LogTail(logs, LogFilter())
    arrive("again")
    assert seen(tail) == ["again"]
    arrive("again")
    assert seen(tail) == ["again"]


def test_only_matching_records_are_seen(logs: LogQueries, arrive: Arrive) -> None:
    tail = LogTail(logs, LogFilter(service="b"))
    arrive("from a", service="a")
    assert seen(tail) == []
    arrive("from b", service="b")
    assert seen(tail) == ["from b"]


def test_of_more_than_the_limit_the_newest_are_kept(logs: LogQueries, arrive: Arrive) -> None:
    tail = LogTail(logs, LogFilter())
    arrive(*map(str, range(10)))
    records, more = tail.look(3)
    assert ([record["body"] for record in records], more) == (["7", "8", "9"], True)
    assert tail.look(3) == ([], False)


def test_a_segment_is_seen_that_was_stored_after_one_with_a_higher_number(
    logs: LogQueries, store: Store, tmp_path: Path, arrive: Arrive
) -> None:
    arrive("before")
    tail = LogTail(logs, LogFilter())
    for number in (10**9 + 2, 10**9 + 1):  # the half of a split segment is numbered after those that wait
        path = tmp_path / f"{number}.segment"
        write_segment(path, [logs_request([log_record(time=START, body=str(number))])])
        store.load(Kind.LOGS, path, (number,), replayed=False)
        assert seen(tail) == [str(number)]
