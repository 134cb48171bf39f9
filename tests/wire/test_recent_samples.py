"""Answers out of memory are those out of the store, and what was in memory is there again after a start."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.otlp_metrics import gauge, metrics_request, number
from support.remote_write import request_v1, snappy
from support.server import ServerProcess, eventually

QUERIES = [
    "recent",
    'recent{l=~"[0-4]"}',
    "rate(recent[2m])",
    "sum by (l) (increase(recent[1m])) > 0",
    "max_over_time(recent[10m:30s])",
    "last_over_time(sent_by_otlp[5m])",
    "twice",
    "count_over_time(twice[5m])",
    '{__name__=~"recent|twice"} offset 2m',
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path) as running:
        yield running


def write(server: ServerProcess, *series: Any) -> None:
    headers = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}
    assert server.request("POST", "/api/v1/write", snappy(request_v1(*series)), headers).status == 204
    server.wait_drained()


def answers(server: ServerProcess, end: float) -> list[Any]:
    asked = [server.get("/api/v1/query_range", query=query, start=end - 600, end=end, step=15) for query in QUERIES]
    asked += [server.get("/api/v1/query", query=query, time=end) for query in QUERIES]
    return [answer.json()["data"] for answer in asked]


def test_answers_are_the_same_out_of_memory_out_of_the_store_and_after_a_start(server: ServerProcess) -> None:
    end = time.time_ns() // 1_000_000
    for part in range(4):
        times = range(end - 900_000 + part * 15_000, end, 60_000)
        for first in (0, 5):
            some = [
                ({"__name__": "recent", "l": str(i)}, [(at, float((at // 1000 * (i + 1)) % 997)) for at in times])
                for i in range(first, first + 5)
            ]
            write(server, *some)
    write(server, ({"__name__": "twice"}, [(end - 60_000, 1.0)]))
    write(server, ({"__name__": "twice"}, [(end - 60_000, 0.5), (end, 2.0)]))
    sent = metrics_request([gauge("sent_by_otlp", number(3.5, at=end * 1_000_000))]).SerializeToString()
    assert server.post("/v1/metrics", sent).status == 200
    server.wait_drained()
    fresh = answers(server, end / 1000)
    assert all(data["result"] for data in fresh)
    asked = server.figures()
    assert [data["result"] for data in answers(server, end / 1000)] == [data["result"] for data in fresh]
    from_memory = statements(server.figures()) - statements(asked)
    server.stop()
    with ServerProcess(server.data, arguments=["--recent-samples", "0"]) as forgetful:
        assert answers(forgetful, end / 1000) == fresh
        before = statements(forgetful.figures())
        answers(forgetful, end / 1000)
        assert statements(forgetful.figures()) - before > from_memory
    server.start()
    assert answers(server, end / 1000) == fresh

    def restored() -> bool | None:
        before = statements(server.figures())
        answers(server, end / 1000)
        return statements(server.figures()) - before <= from_memory or None

    assert eventually(restored)


def statements(figures: dict[tuple[str, ...], float]) -> float:
    """How many statements the store has run for questions."""
    return sum(value for key, value in figures.items() if key[0].endswith("query_seconds_count"))
