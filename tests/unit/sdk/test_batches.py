"""Counting together."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

import watchkeeper as wk
from support.databases import new_table
from watchkeeper.metrics import batches
from watchkeeper.metrics.batches import Batches
from watchkeeper.metrics.declare import declarations
from watchkeeper.metrics.restart import restart
from watchkeeper.metrics.sets import database
from watchkeeper.testing import Captured


class Counted:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.totals: Counter[str] = Counter()
        self.calls = 0
        self.batches: Batches[str] = Batches(self.registry, self.count)

    def count(self, kind: str, values: Sequence[float], spans: Sequence[Any]) -> None:
        assert len(values) == len(spans)
        self.calls += 1
        self.totals[kind] += int(sum(values))

    def scrape(self) -> None:
        list(self.registry.collect())


def test_a_scrape_counts_what_waits_once_and_by_kind() -> None:
    counted = Counted()
    for _ in range(3):
        counted.batches.add("a", 1, None)
        counted.batches.add("b", 2, None)
    assert counted.totals == {}
    counted.scrape()
    counted.scrape()
    assert counted.totals == {"a": 3, "b": 6}
    assert counted.calls == 2


def test_no_more_waits_than_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "SETTLE_AT", 10)
    counted = Counted()
    for _ in range(95):
        counted.batches.add("a", 1, None)
    assert counted.totals == {"a": 90}


def test_threads_lose_and_double_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "SETTLE_AT", 7)
    counted = Counted()

    def work() -> None:
        for _ in range(2_000):
            counted.batches.add("a", 1, None)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        counted.scrape()
    counted.scrape()
    assert counted.totals == {"a": 8_000}


def test_a_child_counts_nothing_of_its_parents() -> None:
    counted = Counted()
    counted.batches.add("a", 1, None)
    counted.batches._settling.acquire()  # by a thread that is not there
    restart(counted.registry)
    counted.scrape()
    assert counted.totals == {}


def test_a_forked_child_counts_its_own_queries(seen: Captured) -> None:
    table = new_table()
    database().query("SELECT", table, 0.1)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        database().query("SELECT", table, 0.1)
        value = Captured.metric("db_queries_total", operation="SELECT", table=table, status="ok")
        os.write(writing, str(value).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100) == b"1.0"
    os.close(reading)
    os.close(writing)
    assert seen.metric("db_queries_total", operation="SELECT", table=table, status="ok") == 1


def test_queries_have_their_own_span_as_exemplar(seen: Captured) -> None:
    table = new_table()
    with wk.span("work") as span:
        pass
    database().query("SELECT", table, 0.003, span=span)
    found = {
        sample.name: sample.exemplar.labels
        for family in declarations.registry.collect()
        for sample in family.samples
        if sample.labels.get("table") == table and sample.exemplar is not None
    }
    context = span.get_span_context()
    expected = {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
    assert found == {"db_queries_total": expected, "db_query_duration_seconds_bucket": expected}
