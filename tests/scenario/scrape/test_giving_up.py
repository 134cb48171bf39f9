"""Scrapes that are given up, by a reload or because all of it stops, and what becomes of what they were about."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.scrape_manager import Scraping, job, scraping
from support.scraping import STALE, Reply, serving, text, until, values
from watchkeeper_server.model.errors import BacklogFullError
from watchkeeper_server.receive.exposition.exposed import SeriesCache
from watchkeeper_server.receive.exposition.push import parse
from watchkeeper_server.receive.prompb import WriteRequest
from watchkeeper_server.receive.scrape import loop
from watchkeeper_server.receive.scrape.ingest import TargetSeries

TEXT = text("# TYPE a counter\na 1\n")
OTHER_LIMIT = "  sample_limit: 9\n"  # the same rules, so that the heir has the same cache


class Reading:
    """The reading of an exposition, in a thread however short it is; what it has read it keeps until it may go on."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.go_on = threading.Event()

    def parse(self, *arguments: Any) -> Any:
        self.happened.append("begun")
        exposed = parse(*arguments)
        self.go_on.wait(5)
        self.happened.append("done")
        return exposed


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reading]:
    slow = Reading()
    monkeypatch.setattr(loop, "parse", slow.parse)
    monkeypatch.setattr(loop, "_QUICK_BYTES", 0)
    monkeypatch.setattr(loop, "_QUICK_NEW_BYTES", 0)
    yield slow
    slow.go_on.set()


def at_work() -> list[str]:
    """What is at work besides the test and the servers that it asks."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks() - {asyncio.current_task()}]
    return [name for name in names if name != "TargetServer.handle"]


async def begin_to_read(running: Scraping, reading: Reading) -> None:
    await running.clock.advance(10)
    await until(lambda: reading.happened)


async def test_a_scrape_given_up_while_it_is_read_shares_nothing_with_the_next(
    tmp_path: Path, reading: Reading
) -> None:
    async with serving(TEXT) as server, scraping(tmp_path) as running:
        await running.load(job(server.address))
        await begin_to_read(running, reading)
        await running.load(job(server.address, OTHER_LIMIT))
        await running.clock.advance(10)
        await until(lambda: len(server.requests) == 2)
        await asyncio.sleep(0.05)
        assert reading.happened == ["begun"]
        reading.go_on.set()
        await until(lambda: running.written.attempts)
        assert reading.happened == ["begun", "done"] * 2


async def test_what_a_scrape_given_up_was_told_is_told_by_the_next(tmp_path: Path, reading: Reading) -> None:
    async with serving(TEXT) as server, scraping(tmp_path) as running:
        await running.load(job(server.address))
        await begin_to_read(running, reading)
        await running.load(job(server.address, OTHER_LIMIT))
        reading.go_on.set()
        [request] = await running.scrape()
        assert [told.metric_family_name for told in WriteRequest.FromString(request).metadata] == ["a"]


async def test_a_scrape_that_fails_touches_nothing_that_one_given_up_still_reads_with(
    tmp_path: Path, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    relearn = SeriesCache.relearn

    def recorded(cache: SeriesCache) -> None:
        reading.happened.append("changed")
        relearn(cache)

    monkeypatch.setattr(SeriesCache, "relearn", recorded)
    async with serving(TEXT) as server, scraping(tmp_path) as running:
        await running.load(job(server.address))
        await begin_to_read(running, reading)
        await running.load(job(server.address, OTHER_LIMIT))
        server.answer = Reply(status="500 Oops")
        await running.clock.advance(10)
        await until(lambda: ("failed", "j") in running.events.told)
        await running.settle()
        assert reading.happened == ["begun"]
        reading.go_on.set()
        await until(lambda: running.written.attempts)
        assert reading.happened == ["begun", "done", "changed", "changed"]


async def test_a_large_scrape_is_taken_in_where_it_is_read(
    tmp_path: Path, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, threads = TargetSeries.take, []

    def recorded(*arguments: Any) -> Any:
        threads.append(threading.current_thread())
        return take(*arguments)

    monkeypatch.setattr(TargetSeries, "take", recorded)
    reading.go_on.set()
    async with serving(TEXT) as server, scraping(tmp_path) as running:
        await running.load(job(server.address))
        await running.scrape()
        monkeypatch.setattr(loop, "_QUICK_BYTES", 1000)
        await running.scrape()
    assert [thread is threading.main_thread() for thread in threads] == [False, True]


@pytest.mark.parametrize("again", [False, True])
async def test_the_end_of_a_target_is_written_an_interval_later_if_need_be_and_counted_if_it_is_lost(
    tmp_path: Path, again: bool
) -> None:
    async with serving(TEXT) as server, scraping(tmp_path) as running:
        await running.load(job(server.address))
        await running.scrape()
        await running.load("")
        running.written.refusal = BacklogFullError("busy", 1)
        await running.clock.advance(21)
        await until(lambda: running.written.attempts == 2)
        assert ("not_written", "j") not in running.events.told
        running.written.refusal = BacklogFullError("busy", 1) if again else None
        await running.clock.advance(10)
        await until(lambda: running.written.attempts == 3)
        await running.settle()
        assert running.events.told.count(("not_written", "j")) == again
        assert (set(values(running.written.requests[-1]).values()) == {STALE}) is not again


async def test_stopping_while_jobs_are_reloaded_leaves_nothing_at_work(tmp_path: Path, reading: Reading) -> None:
    async with serving(TEXT) as server:
        running = Scraping(tmp_path)
        await running.manager.start()
        await running.load(job(server.address))
        await begin_to_read(running, reading)
        running.file.write_text("")
        reloading = asyncio.create_task(running.manager.reload(running.file))
        await until(lambda: not running.manager.targets().pools)
        stopping = asyncio.create_task(running.manager.stop())
        await running.settle()
        reading.go_on.set()
        await asyncio.gather(reloading, stopping)
        assert at_work() == []


async def test_stopping_as_targets_go_leaves_nothing_at_work(tmp_path: Path) -> None:
    running = Scraping(tmp_path)
    await running.manager.start()
    await running.load(job("127.0.0.1:1','127.0.0.1:2"))
    running.file.write_text(job("127.0.0.1:1"))
    await running.manager.reload(running.file)
    await running.manager.stop()
    assert at_work() == []
