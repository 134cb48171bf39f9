from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterator
from typing import Any

import pytest

import watchkeeper as wk
from watchkeeper import LogOptions, Options
from watchkeeper.context import REQUEST_KEY, Context, attach, detach
from watchkeeper.logging.timing import LOGGER, MOST_MARKS, _current_marks
from watchkeeper.testing import Captured, FakeClock, capture


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def timings(clock: FakeClock) -> Iterator[Captured]:
    with capture(Options(logs=LogOptions(stream="off", slow_seconds=2.0)), clock=clock.clock()) as captured:
        yield captured


def said(captured: Captured) -> list[tuple[int, str, dict[str, Any]]]:
    assert {record.logger for record in captured.records} <= {LOGGER}
    return [(record.level, record.message, record.fields) for record in captured.records]


def test_a_block_says_how_long_it_took(timings: Captured, clock: FakeClock) -> None:
    with wk.timed("load", shop="north") as timer:
        clock.advance(1.5)
    assert timer.seconds == 1.5
    assert said(timings) == [(20, "load", {"shop": "north", "duration_seconds": 1.5})]


def test_what_is_slower_than_the_threshold_warns_whatever_its_level(timings: Captured, clock: FakeClock) -> None:
    with wk.timed("by options", level="debug"):
        clock.advance(2.5)
    with wk.timed("by call", slow_seconds=0.5):
        clock.advance(1)
    with wk.timed("worse already", level="error", slow_seconds=0.5):
        clock.advance(1)
    with wk.timed("quiet", level="debug"):
        clock.advance(1)
    assert said(timings) == [
        (30, "by options", {"duration_seconds": 2.5, "slow": True}),
        (30, "by call", {"duration_seconds": 1.0, "slow": True}),
        (40, "worse already", {"duration_seconds": 1.0, "slow": True}),
    ]


def test_an_exception_passes_and_is_named(timings: Captured, clock: FakeClock) -> None:
    @wk.timed("divide")
    def divide() -> None:
        clock.advance(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        divide()
    assert said(timings) == [(20, "divide", {"duration_seconds": 1.0, "failed_by": "ZeroDivisionError"})]


async def test_functions_of_every_kind_are_timed_call_by_call(timings: Captured, clock: FakeClock) -> None:
    @wk.timed("plain")
    def plain(value: int) -> int:
        clock.advance(1)
        return value

    @wk.timed("coroutine")
    async def coroutine() -> int:
        clock.advance(1)
        return 2

    @wk.timed("generator")
    def generator() -> Generator[int]:
        yield 1
        clock.advance(1)
        yield 2

    @wk.timed("async generator")
    async def async_generator() -> AsyncGenerator[int]:
        yield 1
        clock.advance(1)

    assert (plain(1), plain(2), await coroutine()) == (1, 2, 2)
    assert list(generator()) == [1, 2]
    assert [item async for item in async_generator()] == [1]
    assert plain.__name__ == "plain"
    assert [(message, fields["duration_seconds"]) for _, message, fields in said(timings)] == [
        ("plain", 1.0),
        ("plain", 1.0),
        ("coroutine", 1.0),
        ("generator", 1.0),
        ("async generator", 1.0),
    ]


def test_the_time_between_marks_and_since_one_is_measured(timings: Captured, clock: FakeClock) -> None:
    wk.mark("a")
    clock.advance(1)
    wk.mark("b")
    clock.advance(2)
    assert wk.measure("to b", "a", "b", order_id=7) == 1.0
    assert wk.measure("to now", "a") == 3.0
    assert said(timings) == [
        (20, "to b", {"order_id": 7, "duration_seconds": 1.0}),
        (30, "to now", {"duration_seconds": 3.0, "slow": True}),
    ]


def test_a_mark_that_was_never_made_gives_nothing_and_raises_nothing(timings: Captured) -> None:
    assert wk.measure("x", "never made") is None
    assert [message for _, message, _ in said_of_timing(timings)] == []


def said_of_timing(captured: Captured) -> list[tuple[int, str, dict[str, Any]]]:
    return [(record.level, record.message, record.fields) for record in captured.records if record.logger == LOGGER]


def test_marks_of_a_request_are_not_the_next_ones(timings: Captured) -> None:
    class Served:
        request_id = correlation_id = "r"
        bound = span = None

    for _request in range(2):
        token = attach(Context({REQUEST_KEY: Served()}))
        assert _current_marks() == {}
        wk.mark("a")
        assert wk.measure("x", "a") is not None
        detach(token)


async def test_marks_of_concurrent_tasks_do_not_mix(timings: Captured, clock: FakeClock) -> None:
    async def work(name: str, other: str) -> None:
        wk.mark(name)
        await asyncio.sleep(0)
        assert list(_current_marks()) == ["common", name]
        assert other not in _current_marks()

    wk.mark("common")
    await asyncio.gather(work("a", "b"), work("b", "a"))


def test_marks_are_bounded(timings: Captured) -> None:
    for number in range(MOST_MARKS + 5):
        wk.mark(f"mark {number}")
    assert len(_current_marks()) == MOST_MARKS
    assert "mark 4" not in _current_marks()


def test_the_threshold_is_read_from_the_environment() -> None:
    assert Options.from_environment({"WATCHKEEPER_LOG_SLOW": "250"}).logs.slow_seconds == 0.25
