from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

import watchkeeper as wk
from watchkeeper import testing
from watchkeeper.context import with_span
from watchkeeper.integrations.calls import CACHE, DATABASE, HTTP, MODEL, Call, busy
from watchkeeper.options import Options
from watchkeeper.testing import Captured, FakeClock
from watchkeeper.tracing.api import Origin


def test_a_call_is_a_client_span_below_the_current_one(seen: Captured) -> None:
    with wk.span("work") as work, Call("GET", HTTP, {"server.address": "shop.example"}) as call:
        assert get_current_span() is call.span
    span = seen.span("GET")
    assert (span.kind, span.parent_id) == (SpanKind.CLIENT, work.span_id)  # type: ignore[attr-defined]
    assert span.attributes == {"server.address": "shop.example"}
    assert span.status_code is StatusCode.UNSET


def test_a_call_takes_as_long_as_the_clock_says() -> None:
    clock = FakeClock()
    with testing.capture(clock=clock.clock()), Call("GET", CACHE) as call:
        clock.advance(0.25)
    assert call.seconds == 0.25
    clock.advance(1)
    call.end()
    assert call.seconds == 0.25


def test_an_exception_fails_the_call_and_goes_on(seen: Captured) -> None:
    with pytest.raises(ValueError, match="no"), Call("SELECT", DATABASE) as call:
        raise ValueError("no")
    span = seen.span("SELECT")
    assert call.error_type == span.attributes["error.type"] == "ValueError"
    assert span.status_code is StatusCode.ERROR
    assert [event.name for event in span.events or ()] == ["exception"]


def test_a_failure_may_be_said_without_an_exception(seen: Captured) -> None:
    with Call("GET", HTTP) as call:
        call.fail("503")
    span = seen.span("GET")
    assert (span.attributes["error.type"], span.status_code) == ("503", StatusCode.ERROR)
    assert not span.events


async def test_a_cancelled_call_says_so_and_is_no_failure(seen: Captured) -> None:
    calls = []

    async def work() -> None:
        with Call("GET", HTTP) as call:
            calls.append(call)
            await asyncio.sleep(30)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    span = seen.span("GET")
    assert calls[0].error_type == span.attributes["error.type"] == "asyncio.exceptions.CancelledError"
    assert span.status_code is StatusCode.UNSET
    assert not span.events


def test_the_inside_of_a_call_is_busy_with_its_subject_alone(seen: Captured) -> None:
    assert not busy(DATABASE)
    with Call("SELECT", DATABASE):
        assert busy(DATABASE)
        assert not busy(HTTP)
    assert not busy(DATABASE)


def test_marks_tell_calls_of_one_subject_apart(seen: Captured) -> None:
    with Call("POST", HTTP, mark="POST shop.example"):
        assert busy(HTTP, "POST shop.example")
        assert not busy(HTTP, "GET files.example")
        with Call("GET", HTTP, mark="GET files.example"):
            assert busy(HTTP, "GET files.example")


def test_calls_inside_of_a_language_models_are_their_own(seen: Captured) -> None:
    with Call("chat", MODEL):
        assert not busy(HTTP)


def test_what_asked_not_to_be_watched_is_busy_with_everything() -> None:
    token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
    try:
        assert busy(HTTP)
        assert busy(DATABASE)
    finally:
        detach(token)


def test_where_somebody_else_traces_the_call_times_and_makes_no_span(seen: Captured) -> None:
    with wk.span("theirs") as theirs, Call("GET", HTTP, traced=False) as call:
        assert get_current_span() is theirs
        assert busy(HTTP)
    assert call.seconds > 0
    assert [span.name for span in seen.spans] == ["theirs"]
    assert not seen.span("theirs").attributes


def test_a_call_that_is_not_sampled_says_so_to_whoever_is_called() -> None:
    with testing.capture(Options(traces=wk.TraceOptions(sampler="always_off"))), Call("GET", HTTP) as call:
        current = get_current_span().get_span_context()
    assert current.is_valid
    assert not current.trace_flags.sampled
    assert call.seconds > 0


def test_a_call_without_a_block_ends_when_it_is_told(seen: Captured) -> None:
    call = Call("chat", MODEL, kind=SpanKind.CLIENT)
    outside = get_current_span()
    token = attach(call.context())
    assert get_current_span() is call.span
    detach(token)
    assert get_current_span() is outside
    assert seen.spans == []
    call.end(TimeoutError())
    call.end()
    assert seen.span("chat").attributes["error.type"] == "TimeoutError"


def test_a_call_hangs_below_the_span_of_the_context_it_is_given(seen: Captured) -> None:
    with wk.span("stream") as stream:
        elsewhere = with_span(stream)
    with wk.span("consumer"), Call("process", HTTP, context=elsewhere):
        pass
    assert seen.span("process").parent_id == stream.span_id  # type: ignore[attr-defined]


def test_a_provider_that_fails_is_not_the_applications_trouble(
    seen: Captured, production: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        def start_span(self, *_args: Any, **_kwargs: Any) -> Any:
            raise RuntimeError("no spans today")

    monkeypatch.setattr(Origin, "tracer", Failing())
    with Call("GET", HTTP) as call:
        assert busy(HTTP)
    assert call.seconds > 0
    assert call.error_type == ""
