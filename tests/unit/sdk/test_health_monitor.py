"""The thread that runs checks: what they do to it, and what it does to them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import watchkeeper as wk
from support.health import check, no_checks_left, watching
from support.sdk import eventually
from watchkeeper.health.monitor import Monitor
from watchkeeper.health.registry import Registry
from watchkeeper.health.results import Change
from watchkeeper.testing import Captured, FakeClock


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    with no_checks_left():
        yield


def threads(name: str) -> int:
    return sum(thread.name == f"health-check-{name}" for thread in threading.enumerate())


class MuteError(Exception):
    def __str__(self) -> str:
        raise SystemExit("not even this")


def raising(error: BaseException) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionRefusedError("refused"), "ConnectionRefusedError: refused"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (GeneratorExit(), "GeneratorExit"),
        (asyncio.CancelledError("who?"), "asyncio.exceptions.CancelledError: who?"),
        (ValueError("two\nlines"), "ValueError: two lines"),
    ],
)
async def test_whatever_is_raised_is_unhealthy_and_hurts_nobody(error: BaseException, message: str) -> None:
    async def coroutine() -> None:
        raise error

    with watching(check("sync", raising(error)), check("async", coroutine), check("well", lambda: None)) as monitor:
        monitor.server_started()
        await asyncio.to_thread(monitor.wait)
        found = monitor.snapshot.report.checks
    assert [found[name].message for name in ("sync", "async")] == [message, message]
    assert [found[name].status for name in ("sync", "async", "well")] == ["unhealthy", "unhealthy", "healthy"]


def test_an_error_that_cannot_be_printed_is_reported_all_the_same() -> None:
    with watching(check("mute", raising(MuteError()))) as monitor:
        monitor.wait()
    assert monitor.snapshot.report.checks == {}  # forgotten at the end
    with watching(check("mute", raising(MuteError()))) as monitor:
        monitor.wait()
        assert monitor.snapshot.report.checks["mute"].message.endswith("<unprintable MuteError: SystemExit>")


def test_a_check_that_hangs_is_timed_out_and_costs_one_thread() -> None:
    release, clock = threading.Event(), FakeClock()
    calls: list[int] = []

    def hanging() -> None:
        calls.append(1)
        release.wait()

    with watching(check("hanging", hanging, timeout_seconds=2.0), clock=clock.clock()) as monitor:
        monitor.begin()
        eventually(lambda: calls)
        clock.advance(1.9)
        monitor.step()
        assert monitor.snapshot.report.pending == ("hanging",)
        clock.advance(0.2)
        monitor.step()
        assert monitor.snapshot.report.checks["hanging"].message == "timed out after 2 s"
        for _ in range(3):
            clock.advance(10)
            monitor.step()
        found = monitor.snapshot.report.checks["hanging"]
        assert (found.status, found.message) == ("unhealthy", "has not returned for 32 s")
        assert (len(calls), threads("hanging")) == (1, 1)
        release.set()
        eventually(lambda: monitor.snapshot.report.checks["hanging"].status == "healthy")
        assert len(calls) == 2  # what it said when it came back at last was not believed


def test_who_waits_for_a_check_that_hangs_waits_no_longer_than_its_time() -> None:
    release = threading.Event()
    with watching(check("hanging", release.wait, timeout_seconds=0.05)) as monitor:
        began = time.monotonic()
        monitor.wait()
        monitor.refresh()
        assert time.monotonic() - began < 2
        assert monitor.snapshot.report.checks["hanging"].status == "unhealthy"
        release.set()


def test_what_comes_after_its_time_is_not_believed() -> None:
    release, clock = threading.Event(), FakeClock()
    answers = iter([{"status": "degraded", "message": "stale"}, {"status": "healthy"}])

    def late() -> Any:
        answer = next(answers)
        release.wait()
        return answer

    with watching(check("late", late, timeout_seconds=1.0), clock=clock.clock()) as monitor:
        said: list[Change] = []
        monitor.start(10, clock.clock(), say=said.append)
        monitor.begin()
        eventually(lambda: threads("late"))
        clock.advance(1.1)
        monitor.step()
        release.set()
        eventually(lambda: monitor.snapshot.report.checks["late"].status == "healthy")
    assert [(change.before, change.now.status) for change in said] == [(None, "unhealthy"), ("unhealthy", "healthy")]


def test_checks_run_side_by_side() -> None:
    both = threading.Barrier(2, timeout=5)
    with watching(check("one", lambda: both.wait() >= 0), check("other", lambda: both.wait() >= 0)) as monitor:
        monitor.wait()
        assert monitor.snapshot.report.status == "healthy"


def test_a_result_is_good_for_its_interval_however_often_it_is_asked_for() -> None:
    clock = FakeClock()
    often, seldom = [], []
    checks = (
        check("often", lambda: often.append(1)),
        check("seldom", lambda: seldom.append(1), interval_seconds=60.0),
    )
    with watching(*checks, clock=clock.clock()) as monitor:
        monitor.wait()
        for _ in range(50):
            monitor.wait()
            monitor.step()
        eventually(lambda: not monitor._active)
        assert (len(often), len(seldom)) == (1, 1)
        for times in range(2, 8):
            clock.advance(10.001)
            monitor.step()
            eventually(lambda times=times: len(often) == times and not monitor._active)
        assert len(seldom) == 2


def test_a_check_that_takes_longer_than_its_interval_runs_once_at_a_time() -> None:
    release, clock = threading.Event(), FakeClock()
    calls: list[int] = []

    def slow() -> None:
        calls.append(1)
        release.wait(5)

    with watching(check("slow", slow, interval_seconds=0.5), clock=clock.clock()) as monitor:
        monitor.begin()
        eventually(lambda: calls)
        clock.advance(2)
        monitor.step()
        assert (len(calls), threads("slow")) == (1, 1)
        release.set()
        eventually(lambda: len(calls) == 2)  # it was due meanwhile


def test_many_who_ask_for_fresh_results_at_once_share_them() -> None:
    release = threading.Event()
    calls: list[int] = []

    def slow() -> None:
        calls.append(1)
        release.wait(5)

    with watching(check("slow", slow)) as monitor:
        asking = [threading.Thread(target=monitor.refresh) for _ in range(20)]
        for thread in asking:
            thread.start()
        eventually(lambda: calls)
        release.set()
        for thread in asking:
            thread.join(5)
        assert len(calls) <= 2  # one under way when they asked, and one for who came just after its end


def test_nothing_runs_before_configure_nor_after_shutdown() -> None:
    calls: list[int] = []
    wk.health_check("counted")(lambda: calls.append(1))
    assert wk.health(fresh=True).pending == ("counted",)
    assert calls == []
    with wk.testing.capture():
        assert wk.health(fresh=True).checks["counted"].status == "healthy"
        count = len(calls)
        assert count
    assert wk.health(fresh=True).pending == ("counted",)
    assert len(calls) == count
    assert threads("counted") == 0


def test_checks_begin_by_themselves_after_ten_seconds() -> None:
    clock, calls = FakeClock(), []
    with watching(check("one", lambda: calls.append(1)), clock=clock.clock()) as monitor:
        clock.advance(9.9)
        monitor.step()
        assert calls == []
        clock.advance(0.2)
        monitor.step()
        eventually(lambda: calls)


async def test_an_async_check_runs_on_the_applications_own_loop() -> None:
    loops = []

    async def where() -> None:
        loops.append(asyncio.get_running_loop())

    with watching(check("where", where), check("answering with one", lambda: where(*()))) as monitor:
        monitor.server_started()
        await asyncio.to_thread(monitor.wait)
    assert loops == [asyncio.get_running_loop()] * 2


async def test_an_async_check_runs_as_soon_as_the_applications_loop_is_known() -> None:
    calls = []

    async def where() -> None:
        calls.append(asyncio.get_running_loop())

    with watching(check("where", where), clock=FakeClock().clock()) as monitor:
        monitor.begin()
        monitor.step()
        eventually(lambda: not monitor._active)
        assert (calls, monitor.snapshot.report.pending) == ([], ("where",))
        monitor.note_loop()
        await asyncio.to_thread(monitor.wait)
        assert calls == [asyncio.get_running_loop()]


def test_an_async_check_of_an_application_without_a_loop_keeps_one() -> None:
    loops = []

    async def where() -> None:
        loops.append(asyncio.get_running_loop())

    with watching(check("where", where)) as monitor:
        monitor.server_started()
        monitor.wait()
        monitor.refresh()
        assert len(set(loops)) == 1
        assert not loops[0].is_closed()
    assert loops[0].is_closed()


async def test_an_async_check_that_hangs_is_cancelled() -> None:
    ended = asyncio.Event()

    async def hanging() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    with watching(check("hanging", hanging, timeout_seconds=0.05)) as monitor:
        monitor.server_started()
        await asyncio.to_thread(monitor.wait)
        assert monitor.snapshot.report.checks["hanging"].message == "timed out after 0.05 s"
        await asyncio.wait_for(ended.wait(), 5)


async def test_a_timeout_of_the_checks_own_is_not_taken_for_ours() -> None:
    async def own() -> None:
        raise TimeoutError("of the gateway")

    with watching(check("own", own)) as monitor:
        monitor.server_started()
        await asyncio.to_thread(monitor.wait)
        assert monitor.snapshot.report.checks["own"].message == "TimeoutError: of the gateway"


async def test_a_blocked_event_loop_times_its_checks_out() -> None:
    with watching(check("blocked", lambda: asyncio.sleep(0), timeout_seconds=0.05)) as monitor:
        monitor.server_started()
        eventually(lambda: not monitor.snapshot.report.pending)  # blocks the loop
        assert monitor.snapshot.report.checks["blocked"].message.startswith("timed out after 0.05 s")
        eventually(lambda: threads("blocked") == 0)  # no thread waits for it
        await asyncio.sleep(0.01)


def test_a_change_is_said_once_with_its_reason_and_so_is_its_end(seen: Captured) -> None:
    state: dict[str, Any] = {"status": "healthy"}
    wk.health_check("stock", critical=True)(lambda: dict(state))
    wk.health(fresh=True)
    state.update(status="unhealthy", message="connect to postgresql://shop:hunter2@db failed")
    for _ in range(3):
        wk.health(fresh=True)
    state.update(status="degraded", message="slow")
    wk.health(fresh=True)
    state.update(status="healthy", message="")
    wk.health(fresh=True)
    assert seen.messages() == [
        "health check stock is unhealthy: connect to postgresql://shop:[redacted]@db failed",
        "health check stock is degraded: slow",
        "health check stock is healthy",
    ]
    assert [record.level for record in seen.records] == [40, 30, 20]


def test_secrets_are_taken_out_of_messages_and_details(seen: Captured) -> None:
    wk.health_check("leaky")(
        lambda: {"message": "password=hunter2", "api_key": "abc", "nested": {"token": "x", "n": 1}}
    )
    found = wk.health(fresh=True).checks["leaky"]
    assert "hunter2" not in found.message
    assert found.details == {"api_key": "[redacted]", "nested": {"token": "[redacted]", "n": 1}}


def test_details_share_nothing_with_the_application(seen: Captured) -> None:
    class Odd:
        def __str__(self) -> str:
            raise ValueError("no")

    rows = [1]
    wk.health_check("odd")(lambda: {"rows": rows, "odd": Odd(), 7: b"\xff"})
    found = wk.health(fresh=True).checks["odd"]
    rows.append(2)
    assert found.status == "healthy"
    assert found.details == {"rows": (1,), "odd": "<unprintable Odd: ValueError>", "7": b"\xff"}


def test_a_check_may_be_added_replaced_and_removed_while_all_run() -> None:
    own = Registry()
    monitor = Monitor(own)
    own.listeners.append(monitor.registry_changed)
    monitor.start(10)
    try:
        monitor.begin()
        own.add(check("one", lambda: None))
        assert monitor.snapshot.report.pending == ("one",)
        monitor.wait()
        own.add(check("one", lambda: False))
        monitor.wait()
        assert monitor.snapshot.report.checks["one"].status == "unhealthy"
        own.remove("one")
        assert monitor.snapshot.report.checks == {}
    finally:
        monitor.stop(1)


def test_two_checks_of_one_name_are_said(production: None, caplog: pytest.LogCaptureFixture) -> None:
    own = Registry()
    own.add(check("twice", lambda: None))
    own.add(check("twice", Monitor.begin))
    assert "two health checks are named 'twice'" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": ""}, "a health check is named ''"),
        ({"name": "a b"}, "letters, digits, dots, dashes and underscores"),
        ({"name": 7}, "a health check is named 7"),
        ({"timeout": 0}, "the timeout of health check 'x' is 0 s: it must be above 0, and 5 at most"),
        ({"timeout": 5.1}, "it must be above 0, and 5 at most"),
        ({"timeout": float("nan")}, "it must be above 0, and 5 at most"),
        ({"weight": 0}, "the weight of health check 'x' is 0: it must be above 0"),
        ({"interval": 0.01}, "the interval of health check 'x' is 0.01 s: it must be between 0.1 and 86400"),
    ],
)
def test_values_that_cannot_be_are_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(wk.ConfigurationError, match=message):
        wk.health_check(**{"name": "x", **arguments})(lambda: None)


def test_the_function_stays_as_it_is() -> None:
    def function() -> None:
        """Untouched."""

    assert wk.health_check("plain")(function) is function
    with pytest.raises(
        wk.ConfigurationError, match="the function of health check 'plain' is a int: it must be callable"
    ):
        wk.health_check("plain")(7)  # type: ignore[type-var]


def test_stopping_does_not_wait_for_a_check_that_hangs() -> None:
    release = threading.Event()
    try:
        with watching(check("hanging", release.wait)) as monitor:
            monitor.begin()
            eventually(lambda: threads("hanging"))
            began = time.monotonic()
            monitor.stop(1.5)
            assert time.monotonic() - began < 1.0
    finally:
        release.set()


def test_a_process_that_forks_leaves_the_checks_to_its_children_until_it_is_asked() -> None:
    calls: list[int] = []
    clock = FakeClock()
    with watching(check("one", lambda: calls.append(1)), clock=clock.clock()) as monitor:
        monitor.wait()
        monitor.forked()
        assert monitor.snapshot.report.pending == ("one",)
        count = len(calls)
        clock.advance(3600)
        monitor.step()
        assert len(calls) == count
        monitor.wait()
        assert len(calls) == count + 1


async def test_a_process_that_serves_goes_on_though_it_forks() -> None:
    with watching(check("one", lambda: None)) as monitor:
        monitor.server_started()
        await asyncio.to_thread(monitor.wait)
        monitor.forked()
        assert monitor.snapshot.report.pending == ()


def test_a_wsgi_worker_that_forks_stays_as_unready_as_it_was() -> None:
    with watching(check("database", raising(OSError("down")), critical=True)) as monitor:
        monitor.server_started()
        monitor.wait()
        monitor.forked()
        assert monitor.snapshot.report.status == "unhealthy"


def test_a_fork_waits_for_the_end_of_checks_under_way() -> None:
    release, began = threading.Event(), threading.Event()

    def slow() -> None:
        began.set()
        release.wait(5)

    with watching(check("slow", slow)) as monitor:
        monitor.begin()
        assert began.wait(5)
        busy, _ = monitor.locks()
        assert not busy.acquire(timeout=0.01)
        release.set()
        assert busy.acquire(timeout=5)
        with contextlib.ExitStack() as forking:
            forking.callback(busy.release)
            monitor.refresh(0.1)  # while the fork is under way, nothing is started
            assert threads("slow") == 0
        monitor.refresh(5)
        assert monitor.snapshot.report.checks["slow"].status == "healthy"


def test_what_a_check_says_in_a_log_is_heard(seen: Captured) -> None:
    @wk.health_check("stock")
    def stock() -> None:
        logging.getLogger("shop").warning("the last import is a day old")

    wk.health(fresh=True)
    assert "the last import is a day old" in [record.message for record in seen.records]


def test_a_signal_s_handler_may_drain_wherever_it_comes() -> None:
    with watching(check("one", lambda: None)) as monitor:
        monitor.wait()

        def interrupted() -> None:
            with monitor._changed:
                monitor.drain()

        thread = threading.Thread(target=interrupted, daemon=True)
        thread.start()
        thread.join(5)
        assert not thread.is_alive()
        assert monitor.snapshot.draining
