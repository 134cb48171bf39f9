from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncIterator, Generator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

import watchkeeper as wk
from watchkeeper import LogOptions, Options, TraceOptions
from watchkeeper.testing import Captured, FakeClock, SequentialIds, capture
from watchkeeper.tracing.span import MAX_ATTRIBUTES


def test_spans_nest_and_share_a_trace(seen: Captured) -> None:
    with wk.span("outer") as outer, wk.span("inner", order_id=7):
        pass
    inner = seen.span("inner")
    assert inner.parent_id == outer.span_id
    assert inner.trace_id == outer.trace_id
    assert inner.attributes == {"order_id": 7}


def test_an_exception_fails_the_span_and_goes_on(seen: Captured) -> None:
    with pytest.raises(ValueError, match="no"), wk.span("broken"):
        raise ValueError("no")
    span = seen.span("broken")
    assert (span.status_code, span.status_message) == (StatusCode.ERROR, "ValueError: no")
    event = span.events[0]
    assert event.name == "exception"
    assert event.attributes["exception.type"] == "ValueError"
    assert "raise ValueError" in event.attributes["exception.stacktrace"]


def test_a_cancellation_is_no_failure(seen: Captured) -> None:
    async def main() -> None:
        with wk.span("cancelled"):
            await asyncio.sleep(10)

    async def cancel() -> None:
        task = asyncio.create_task(main())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert seen.span("cancelled").status_code is StatusCode.UNSET


def test_traced_keeps_the_kind_of_function() -> None:
    def plain() -> None: ...
    async def coroutine() -> None: ...
    def generator() -> Generator[Any, Any, Any]:
        yield

    async def async_generator() -> AsyncIterator[Any]:
        yield

    assert not inspect.iscoroutinefunction(wk.traced(plain))
    assert inspect.iscoroutinefunction(wk.traced(coroutine))
    assert inspect.isgeneratorfunction(wk.traced(generator))
    assert inspect.isasyncgenfunction(wk.traced(async_generator))
    assert wk.traced(plain).__name__ == "plain"


def test_traced_functions_and_methods_make_a_span_each_call(seen: Captured) -> None:
    class Till:
        @wk.traced
        def settle(self, amount: int) -> int:
            return amount

        @wk.traced
        @staticmethod
        def empty() -> str:
            return "empty"

        @wk.traced(name="opened", till=1)
        @classmethod
        def open(cls) -> type:
            return cls

    till = Till()
    assert (till.settle(3), till.settle(amount=4), till.empty(), Till.open()) == (3, 4, "empty", Till)
    names = [span.name.rpartition(".")[2] for span in seen.spans]
    assert names == ["settle", "settle", "empty", "opened"]
    assert seen.span("opened").attributes == {"till": 1}


def test_traced_properties_stay_properties(seen: Captured) -> None:
    class Basket:
        items = 0

        @wk.traced
        @property
        def total(self) -> int:
            """What it costs."""
            return self.items * 3

        @total.setter
        def total(self, value: int) -> None:
            self.items = value // 3

        @wk.traced(name="weighed", scale=2)
        @functools.cached_property
        def weight(self) -> int:
            return 5

    basket = Basket()
    basket.total = 6
    assert (basket.total, basket.weight, basket.weight) == (6, 5, 5)
    assert Basket.total.__doc__ == "What it costs."
    assert [span.name.rpartition(".")[2] for span in seen.spans] == ["total", "weighed"]
    assert seen.span("weighed").attributes == {"scale": 2}


def test_traced_is_refused_above_what_cannot_be_called() -> None:
    nothing: Any = 7
    with pytest.raises(TypeError, match="decorator of functions, not of a int"):
        wk.traced(nothing)


async def test_a_span_is_around_an_async_block_too(seen: Captured) -> None:
    async def charge() -> None:
        async with wk.span("charge card") as span:
            assert trace.get_current_span() is span
            raise ValueError("declined")

    with pytest.raises(ValueError, match="declined"):
        await charge()
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert seen.span("charge card").status.status_code is StatusCode.ERROR


async def test_traced_coroutines_run_within_their_span(seen: Captured) -> None:
    @wk.traced
    async def work() -> int:
        await asyncio.sleep(0)
        return trace.get_current_span().get_span_context().span_id

    first, second = await asyncio.gather(work(), work())
    assert first != second
    assert {span.span_id for span in seen.spans} == {first, second}


def test_a_generators_span_is_current_in_its_body_only(seen: Captured) -> None:
    @wk.traced(name="numbers")
    def numbers() -> Generator[Any, Any, Any]:
        sent = yield trace.get_current_span().get_span_context().span_id
        try:
            yield sent
        except KeyError:
            yield "caught"
        return "result"

    def consume() -> Generator[Any, Any, Any]:
        result = yield from numbers()
        assert result == "result"

    steps = consume()
    span_id = next(steps)
    assert span_id
    assert not trace.get_current_span().get_span_context().is_valid
    assert steps.send("hello") == "hello"
    assert steps.throw(KeyError()) == "caught"
    assert seen.spans == []
    assert list(steps) == []
    assert seen.span("numbers").span_id == span_id
    assert seen.span("numbers").status_code is StatusCode.UNSET


def test_a_generator_closed_early_ends_its_span_without_failure(seen: Captured) -> None:
    @wk.traced(name="endless")
    def endless() -> Generator[Any, Any, Any]:
        while True:
            yield 1

    steps = endless()
    next(steps)
    steps.close()
    assert seen.span("endless").status_code is StatusCode.UNSET


async def test_async_generators_are_traced_alike(seen: Captured) -> None:
    @wk.traced(name="numbers")
    async def numbers() -> AsyncIterator[Any]:
        for number in range(3):
            yield number, trace.get_current_span().get_span_context().is_valid

    assert [item async for item in numbers()] == [(0, True), (1, True), (2, True)]

    @wk.traced(name="broken")
    async def broken() -> AsyncIterator[Any]:
        yield 1
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        _ = [item async for item in broken()]
    assert seen.span("broken").status_code is StatusCode.ERROR


def test_opentelemetrys_api_makes_our_spans(seen: Captured) -> None:
    tracer = trace.get_tracer("library", "1.0")
    with tracer.start_as_current_span("from library", kind=SpanKind.CLIENT, attributes={"a": 1}) as span:
        assert trace.get_current_span() is span
        with wk.span("ours"):
            pass
    assert seen.span("ours").parent_id == span.get_span_context().span_id
    assert (span.scope.name, span.scope.version, span.kind) == ("library", "1.0", SpanKind.CLIENT)


def test_a_tracer_decorates_functions(seen: Captured) -> None:
    tracer = trace.get_tracer("library")

    @tracer.start_as_current_span("work")
    def work() -> int:
        return 1

    assert work() + work() == 2
    assert [span.name for span in seen.spans] == ["work", "work"]


def test_start_span_takes_explicit_parents_links_and_times(seen: Captured) -> None:
    tracer = trace.get_tracer("library")
    remote = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1), trace_state=trace.TraceState([("k", "v")]))
    context = trace.set_span_in_context(trace.NonRecordingSpan(remote))
    span = tracer.start_span("child", context, links=[Link(remote, {"why": "batch"})], start_time=1_000)
    span.end(2_000)
    child = seen.span("child")
    assert (child.trace_id, child.parent_id, child.parent_is_remote) == (1, 2, True)
    assert (child.start_time, child.end_time) == (1_000, 2_000)
    assert child.trace_state_text == "k=v"
    assert child.links[0].attributes == {"why": "batch"}


def test_nothing_changes_after_the_end(seen: Captured) -> None:
    span = trace.get_tracer("x").start_span("done")
    span.end()
    span.set_attribute("late", 1)
    span.add_event("late")
    span.update_name("late")
    span.set_status(StatusCode.ERROR)
    span.end()
    assert not span.is_recording()
    assert len(seen.spans) == 1
    done = seen.span("done")
    assert (done.attributes, done.events, done.status_code) == ({}, None, StatusCode.UNSET)


def test_status_ok_is_final_and_unset_changes_nothing(seen: Captured) -> None:
    with wk.span("s") as span:
        span.set_status(Status(StatusCode.ERROR, "bad"))
        span.set_status(StatusCode.UNSET)
        assert span.status.status_code is StatusCode.ERROR
        span.set_status(StatusCode.OK, "ignored")
        span.set_status(StatusCode.ERROR, "too late")
    assert (span.status_code, span.status_message) == (StatusCode.OK, "")


def test_attributes_are_bounded_and_the_rest_is_counted(seen: Captured) -> None:
    with wk.span("wide") as span:
        for number in range(MAX_ATTRIBUTES + 5):
            span.set_attribute(f"key{number}", number)
    assert len(span.attributes) == MAX_ATTRIBUTES
    assert span.dropped_attributes == 5


def test_a_list_changed_later_does_not_change_the_span(seen: Captured) -> None:
    items = [1, 2]
    with wk.span("s", items=items) as span:
        items.append(3)
    assert span.attributes["items"] == (1, 2)


def test_an_unprintable_attribute_never_raises(seen: Captured) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no words")

    with wk.span("s", broken=Broken()) as span:
        span.set_attribute("also", Broken())
    assert "unprintable Broken" in span.attributes["also"]


def test_time_and_ids_are_given() -> None:
    time = FakeClock()
    with capture(clock=time.clock(), ids=SequentialIds()) as seen, wk.span("s"):
        time.advance(1.5)
    span = seen.span("s")
    assert (span.trace_id, span.span_id) == (1, 1)
    assert span.end_time - span.start_time == 1_500_000_000


@pytest.mark.parametrize("integrations", [("threading",), ()])
def test_a_thread_goes_on_with_the_trace_only_where_threads_are_instrumented(integrations: tuple[str, ...]) -> None:
    def work() -> None:
        with wk.span("elsewhere"):
            pass

    with capture(Options(logs=LogOptions(stream="off"), integrations=integrations)) as seen, wk.span("here"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert (seen.span("elsewhere").trace_id == seen.span("here").trace_id) is bool(integrations)


def test_an_unsampled_trace_records_nothing_below_it_either() -> None:
    options = Options(traces=TraceOptions(sampler="parentbased_always_off"), logs=LogOptions(stream="off"))
    with capture(options) as seen, wk.span("root") as root, wk.span("child") as child:
        assert not root.is_recording()
        assert child.get_span_context().trace_id == root.get_span_context().trace_id != 0
        assert not child.get_span_context().trace_flags.sampled
    assert seen.spans == []


def test_before_configure_everything_works_and_does_nothing() -> None:
    wk.shutdown()
    with wk.span("nowhere") as span:
        assert not span.is_recording()
    assert wk.flush() is False
