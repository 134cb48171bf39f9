from __future__ import annotations

import asyncio
import gc
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry

import watchkeeper as wk
from support.sdk import request
from watchkeeper import testing
from watchkeeper.metrics import runtime as module
from watchkeeper.metrics.runtime import EventLoops, GarbagePauses, Runtime, runtime, threads_and_age
from watchkeeper.metrics.sockets import Sockets, read_sockets


def values(registry: CollectorRegistry) -> dict[str, float]:
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
    }


def test_pauses_of_the_garbage_collector_are_counted_by_generation() -> None:
    ticks = iter([10.0, 10.003])
    pauses = GarbagePauses(lambda: next(ticks))
    was_enabled = gc.isenabled()
    gc.disable()
    pauses.install()
    try:
        gc.collect(1)
    finally:
        pauses.uninstall()
        if was_enabled:
            gc.enable()
    gc.collect(1)
    counts = {(s.name, s.labels["generation"], s.labels.get("le")): s.value for s in pauses.family().samples}
    assert counts["python_gc_pause_seconds_count", "1", None] == 1
    assert counts["python_gc_pause_seconds_count", "0", None] == 0
    assert counts["python_gc_pause_seconds_bucket", "1", "0.0025"] == 0
    assert counts["python_gc_pause_seconds_bucket", "1", "0.005"] == 1
    assert counts["python_gc_pause_seconds_sum", "1", None] == pytest.approx(0.003)


class Loop:
    """An event loop whose time the test turns."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Any, tuple[Any, ...]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, callback: Any, *args: Any) -> None:
        self.timers.append((self.now + seconds, callback, args))

    def is_closed(self) -> bool:
        return False

    def turn(self, late: float) -> None:
        due, callback, args = self.timers.pop()
        self.now = due + late
        callback(*args)


def test_a_loop_that_runs_late_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, loops = Loop(), EventLoops()
    monkeypatch.setattr(module.asyncio, "get_running_loop", lambda: loop)
    monkeypatch.setattr(module.asyncio, "all_tasks", lambda _loop: {1, 2, 3})
    loops.watch()
    loops.watch()
    assert len(loop.timers) == 1
    loop.turn(0.0002)
    loop.turn(0.3)
    lag, tasks = loops.families()
    counts = {s.name + s.labels.get("le", ""): s.value for s in lag.samples}
    assert counts["asyncio_event_loop_lag_seconds_bucket0.001"] == 1
    assert counts["asyncio_event_loop_lag_seconds_bucket0.25"] == 1
    assert counts["asyncio_event_loop_lag_seconds_count"] == 2
    assert counts["asyncio_event_loop_lag_seconds_sum"] == pytest.approx(0.3002)
    assert tasks.samples[0].value == 3
    loops.stop()
    loop.turn(9)
    assert loop.timers == []


def test_there_is_nothing_to_say_of_loops_where_there_is_none() -> None:
    loops = EventLoops()
    loops.watch()
    assert list(loops.families()) == []


async def test_a_served_application_has_its_loop_watched_and_no_task_more(seen: testing.Captured) -> None:
    async def serve(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    tasks = len(asyncio.all_tasks())
    await request(wk.instrument(serve), "/")
    assert len(asyncio.all_tasks()) == tasks
    assert REGISTRY.get_sample_value("asyncio_tasks") == tasks


async def test_a_program_that_configures_itself_in_a_loop_has_it_watched() -> None:
    with testing.capture():
        assert REGISTRY.get_sample_value("asyncio_tasks") == len(asyncio.all_tasks())


def test_threads_and_age_are_those_of_the_process() -> None:
    threads, age = threads_and_age()
    release = threading.Event()
    more = threading.Thread(target=release.wait)
    more.start()
    try:
        assert threads_and_age()[0] == threads + 1
        assert age <= threads_and_age()[1] < 86_400
    finally:
        release.set()
        more.join()


def test_connections_of_a_server_are_counted_where_it_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        before = read_sockets()
        clients = [socket.create_connection(server.getsockname()) for _ in range(3)]
        accepted = [server.accept()[0] for _ in range(2)]
        after = read_sockets()
        for each in (*clients, *accepted):
            each.close()
    assert before is not None
    assert after is not None
    assert (after.connections - before.connections, after.waiting - before.waiting) == (2, 1)


@pytest.mark.parametrize("trouble", ["no such folder", "a table without end"])
def test_connections_that_cannot_be_known_are_not_claimed(trouble: str, tmp_path: Path) -> None:
    if trouble == "a table without end":
        (tmp_path / "fd").mkdir()
        (tmp_path / "net").mkdir()
        (tmp_path / "fd" / "3").symlink_to("socket:[7]")
        (tmp_path / "net" / "tcp").write_text("x" * 5_000_000)
    assert read_sockets(tmp_path) is None


def test_a_part_that_fails_takes_nothing_else_with_it(production: None) -> None:
    def failing() -> Sockets | None:
        raise RuntimeError("no sockets")

    registry = CollectorRegistry()
    mine = Runtime(registry, failing)
    mine.install()
    try:
        assert values(registry)["process_threads"] >= 1
    finally:
        mine.uninstall()
    assert values(registry) == {}


def test_everything_is_shown_while_the_sdk_runs_and_nothing_is_left_of_it() -> None:
    with testing.capture():
        shown = values(REGISTRY)
    expected = {"process_threads", "process_uptime_seconds", "python_gc_pause_seconds_count 0"}
    assert expected <= set(shown)
    assert not expected & set(values(REGISTRY))
    assert runtime.garbage._heard not in gc.callbacks


def test_what_prometheus_client_says_already_is_not_said_twice() -> None:
    with testing.capture():
        names = [family.name for family in REGISTRY.collect()]
    assert len(names) == len(set(names))
