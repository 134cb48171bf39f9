"""The checks of the process and its machine, and the circuit breaker."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import watchkeeper as wk
from support.sdk import dropped, eventually, serving, status
from watchkeeper.export.boundary import DROPPED
from watchkeeper.health.breaker import CircuitBreaker
from watchkeeper.health.checks.disk import Disk
from watchkeeper.health.checks.event_loop import EventLoop
from watchkeeper.health.checks.memory import Memory
from watchkeeper.health.checks.pipelines import Pipeline
from watchkeeper.metrics.runtime import EventLoops
from watchkeeper.testing import capture

GIB = 1 << 30
PAGE = os.sysconf("SC_PAGE_SIZE")


def machine(root: Path, *, available: int = 8 * GIB, resident: int = GIB, cgroup: str = "0::/\n") -> Path:
    """A machine of 16 GiB."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(
        f"MemTotal:   {16 * GIB // 1024} kB\nMemFree: 7 kB\nMemAvailable: {available // 1024} kB\nHugePages_Total: 0\n"
    )
    (root / "proc/self/statm").write_text(f"99999 {resident // PAGE} 1 1 0 1 0\n")
    (root / "proc/self/cgroup").write_text(cgroup)
    return root


def group(folder: Path, limit: str, used: int, inactive: int, version: int = 2) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = {
        2: ("memory.max", "memory.current", "inactive_file"),
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    }[version]
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]} {inactive}\n")


@pytest.mark.parametrize(
    ("available", "resident", "expected", "message"),
    [
        (8 * GIB, GIB, "healthy", ""),
        (3 * GIB, GIB, "degraded", "system memory: 81% used, the limit is 80%"),
        (GIB, GIB, "unhealthy", "system memory: 94% used, the limit is 90%"),
        (8 * GIB, 15 * GIB, "unhealthy", "process memory: 94% used, the limit is 90%"),
    ],
)
def test_memory_is_the_machines_and_the_processs(
    available: int, resident: int, expected: str, message: str, tmp_path: Path
) -> None:
    found = Memory(root=machine(tmp_path, available=available, resident=resident))()
    assert (found.status, found.message) == (expected, message)
    assert found.details["limit_bytes"] == 16 * GIB


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("place", ["", "kubepods/pod7"])
def test_a_control_groups_limit_counts_as_the_machines(version: int, place: str, tmp_path: Path) -> None:
    line = f"0::/{place}\n" if version == 2 else f"8:pids:/x\n4:cpu,memory:/{place}\n0::/\n"
    root = machine(tmp_path, cgroup=line)
    base = root / ("sys/fs/cgroup" if version == 2 else "sys/fs/cgroup/memory")
    group(base / place, str(2 * GIB), 2 * GIB, GIB // 2, version)
    found = Memory(root=root)()
    assert found.details["limit_bytes"] == 2 * GIB
    assert (found.details["system"], found.details["process"]) == (0.75, 0.5)
    assert found.status == "healthy"  # cached files can be had back


def test_the_tightest_group_counts_and_one_without_a_limit_does_not(tmp_path: Path) -> None:
    root = machine(tmp_path, cgroup="0::/a/b/c\n")
    group(root / "sys/fs/cgroup/a", str(4 * GIB), GIB, 0)
    group(root / "sys/fs/cgroup/a/b", str(2 * GIB), GIB, 0)
    group(root / "sys/fs/cgroup/a/b/c", "max", GIB, 0)
    assert Memory(root=root)().details["limit_bytes"] == 2 * GIB


def test_a_container_that_sees_its_own_group_as_the_root_is_limited_too(tmp_path: Path) -> None:
    root = machine(tmp_path, cgroup="0::/kubepods/of/the/host\n")
    group(root / "sys/fs/cgroup", str(2 * GIB), GIB, 0)
    assert Memory(root=root)().details["limit_bytes"] == 2 * GIB


def test_memory_of_a_system_that_does_not_tell_is_no_failure(tmp_path: Path) -> None:
    found = Memory(root=tmp_path)()
    assert (found.status, found.message) == ("healthy", "memory cannot be read on this system")


def test_this_machines_memory_can_be_read() -> None:
    found = Memory()()
    assert 0 < found.details["process"] < found.details["system"] < 1


def volume(**changes: int) -> os.statvfs_result:
    fields = {
        "f_bsize": 4096,
        "f_frsize": 4096,
        "f_blocks": 1000,
        "f_bfree": 600,
        "f_bavail": 500,
        "f_files": 100,
        "f_ffree": 90,
        "f_favail": 90,
        "f_flag": 0,
        "f_namemax": 255,
    } | changes
    return os.statvfs_result(tuple(fields.values()))


@pytest.mark.parametrize(
    ("changes", "expected", "message"),
    [
        ({}, "healthy", ""),
        ({"f_bfree": 250, "f_bavail": 150}, "degraded", "disk /data: 83% used, the limit is 80%"),
        ({"f_bfree": 100, "f_bavail": 0}, "unhealthy", "disk /data: 100% used, the limit is 90%"),
        ({"f_ffree": 5, "f_favail": 5}, "unhealthy", "inodes of /data: 95% used, the limit is 90%"),
        ({"f_files": 0, "f_ffree": 0, "f_favail": 0}, "healthy", ""),
    ],
)
def test_disk_is_space_and_inodes_as_df_counts_them(
    changes: dict[str, int], expected: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _path: volume(**changes))
    found = Disk("/data")()
    assert (found.status, found.message) == (expected, message)


def test_this_machines_disks_can_be_read_and_one_that_is_missing_is_unhealthy(tmp_path: Path) -> None:
    found = Disk(str(tmp_path), "/proc")()
    assert 0 < found.details[str(tmp_path)]["used"] <= 1
    assert found.details["/proc"]["used"] == 0
    gone = Disk(str(tmp_path / "gone"))()
    assert (gone.status, gone.message) == ("unhealthy", f"{tmp_path}/gone: No such file or directory")


@pytest.mark.parametrize("arguments", [{"warning": 0.9, "limit": 0.8}, {"warning": 0.0}, {"limit": 80}])
def test_limits_are_shares_in_order(arguments: Mapping[str, Any]) -> None:
    for register in (wk.check_memory, wk.check_disk):
        with pytest.raises(wk.ConfigurationError, match="they are shares, above 0 and up to 1, the warning first"):
            register(**arguments)


@pytest.mark.parametrize(
    ("lag", "expected", "message"),
    [
        (None, "healthy", "no event loop runs"),
        (0.0999, "healthy", ""),
        (0.1, "degraded", "the event loop was blocked for 100 ms"),
        (0.5, "unhealthy", "the event loop was blocked for 500 ms"),
    ],
)
def test_the_event_loops_limits(lag: float | None, expected: str, message: str) -> None:
    found = EventLoop(lambda: lag)()
    assert (found.status, found.message) == (expected, message)


async def test_the_worst_lag_is_told_once_and_a_loop_blocked_now_counts() -> None:
    loops = EventLoops()
    assert loops.take_worst_lag() is None
    loops.watch()
    first = loops.take_worst_lag()
    assert first is not None
    assert first < 0.1
    time.sleep(0.4)  # noqa: ASYNC251  # that is what it must see
    blocked = await asyncio.to_thread(loops.take_worst_lag)
    assert blocked is not None
    assert blocked >= 0.1
    loops.stop()


class Way:
    """A lane, or a buffer, as its check sees it."""

    def __init__(self, fullness: float = 0.0, trouble: str = "") -> None:
        self.fullness = fullness
        self.trouble = trouble


@pytest.mark.parametrize(
    ("lanes", "buffers", "expected", "message"),
    [
        ({}, [], "healthy", ""),
        ({"logs": Way()}, [Way(0.5)], "healthy", ""),
        ({"logs": Way(0.8)}, [], "degraded", "the queue of logs is 80% full"),
        ({"logs": Way(), "logs_loki": Way(0.0, "no route")}, [], "degraded", "logs are not delivered: no route"),
        ({"traces": Way(1.0, "no route")}, [], "healthy", ""),
        ({}, [Way(0.9)], "degraded", "lines are not written: nobody reads the stream, or the disk is too slow"),
    ],
)
def test_a_pipeline_that_does_not_deliver_is_degraded(
    lanes: dict[str, Any], buffers: list[Any], expected: str, message: str
) -> None:
    found = Pipeline("logs", lanes, lambda: buffers)()
    assert (found.status, found.message) == (expected, message)


def test_what_was_dropped_since_the_last_look_degrades_once() -> None:
    check = Pipeline("logs", {})
    assert check().status == "healthy"
    DROPPED.labels("logs", "queue_full").inc(3)
    DROPPED.labels("metrics", "queue_full").inc(5)
    DROPPED.labels("logs_loki", "http_400").inc(1)
    found = check()
    assert (found.status, found.message) == (
        "degraded",
        "logs were dropped since the last check: 3 queue_full, 1 http_400",
    )
    assert check().status == "healthy"


def test_what_two_ways_of_a_signal_dropped_for_one_reason_is_added_up() -> None:
    DROPPED.labels("logs_loki", "two_ways").inc(5)
    DROPPED.labels("logs", "two_ways").inc(1)
    check = Pipeline("logs", {})
    DROPPED.labels("logs_loki", "two_ways").inc(2)
    DROPPED.labels("logs", "two_ways").inc(1)
    assert check().message == "logs were dropped since the last check: 3 two_ways"


def test_the_pipelines_of_a_server_that_refuses_are_degraded_until_it_takes_again() -> None:
    with serving() as sink:
        sink.answers = [status(503)]
        options = sink.options(logs=wk.LogOptions(stream="off"), metrics=wk.MetricOptions(interval_seconds=0.1))
        wk.configure(options)
        try:
            wk.get_logger("shop").info("said")
            wk.flush(1)
            found = wk.health(fresh=True).checks
            assert {found[name].status for name in ("metrics_pipeline", "log_pipeline")} == {"degraded"}
            assert "answered 503" in found["log_pipeline"].message
            before = dropped("logs", "http_503")
            sink.answers = [status(200)]
            eventually(lambda: wk.flush(1) and not wk.health(fresh=True).checks["log_pipeline"].message, 10)
            assert dropped("logs", "http_503") == before
        finally:
            wk.shutdown(0.5)


def test_an_application_that_is_only_scraped_is_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    wk.configure(replace(wk.Options.from_environment(), logs=wk.LogOptions(stream="off")))
    try:
        wk.get_logger("shop").info("said")
        with wk.span("worked"):
            pass
        wk.flush(1)
        found = wk.health(fresh=True).checks
        for name in ("metrics_pipeline", "log_pipeline"):
            assert (found[name].status, found[name].details["exported"]) == ("healthy", False)
    finally:
        wk.shutdown(0.5)


class Turned:
    now = 0.0


def breaker() -> tuple[CircuitBreaker, Callable[[float], None]]:
    clock = Turned()

    def turn(seconds: float) -> None:
        clock.now += seconds

    return CircuitBreaker(3, 30.0, lambda: clock.now), turn


def test_a_circuit_opens_after_failures_in_a_row_and_one_try_decides() -> None:
    circuit, turn = breaker()
    for _ in range(2):
        circuit.failed()
    circuit.succeeded()
    for _ in range(2):
        circuit.failed()
    assert circuit.waits() == 0
    circuit.failed()
    assert circuit.waits() == 30
    turn(29)
    assert circuit.waits() == 1
    turn(1)
    assert circuit.waits() == 0
    circuit.failed()
    assert circuit.waits() == 30
    turn(30)
    circuit.succeeded()
    assert circuit.waits() == 0


@given(st.lists(st.sampled_from(["failed", "succeeded", "turn"]), max_size=60))
def test_a_circuit_is_never_open_longer_than_its_rest(steps: list[str]) -> None:
    circuit, turn = breaker()
    for step in steps:
        turn(7) if step == "turn" else getattr(circuit, step)()
        assert 0 <= circuit.waits() <= 30
    turn(30)
    assert circuit.waits() == 0


def test_a_client_of_the_tests_checks_nothing_of_its_machine() -> None:
    with capture():
        assert wk.health(fresh=True).checks == {}
