from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import pytest
from opentelemetry.trace import SpanKind, StatusCode

import watchkeeper as wk
from support.language_models import (
    MESSAGE,
    MESSAGE_EVENTS,
    TOOL_USE,
    Provider,
    as_events,
    as_json,
    providing,
)
from watchkeeper import testing
from watchkeeper.testing import Captured

MODEL = "claude-sonnet-4-6"
ASKED: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 99,
    "messages": [{"role": "user", "content": "What colour is the sky?"}],
}


@pytest.fixture
def provider(seen: Captured) -> Iterator[Provider]:
    with providing() as found:
        yield found


@pytest.fixture
def client(provider: Provider) -> Iterator[anthropic.Anthropic]:
    """A client whose own spans are switched off."""
    with anthropic.Anthropic(api_key="x", base_url=provider.url, max_retries=0, open_telemetry=False) as found:
        yield found


@pytest.fixture
def tracing_client(provider: Provider) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key="x", base_url=provider.url, max_retries=0) as found:
        yield found


@pytest.fixture
async def async_client(provider: Provider) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        api_key="x", base_url=provider.url, max_retries=0, open_telemetry=False
    ) as found:
        yield found


def counted() -> dict[str, float]:
    """What is counted of the model."""
    kinds = ("input", "output", "cached", "cache_write")
    tokens = {kind: Captured.metric("llm_tokens_total", model=MODEL, type=kind) or 0.0 for kind in kinds}
    call = {"provider": "anthropic", "model": MODEL, "operation": "chat"}
    return {
        **tokens,
        "ok": Captured.metric("llm_calls_total", **call, status="ok") or 0.0,
        "error": Captured.metric("llm_calls_total", **call, status="error") or 0.0,
        "cost": Captured.metric("llm_cost_usd_total", model=MODEL) or 0.0,
    }


def model_spans(seen: Captured) -> list[Any]:
    return [span for span in seen.spans if "gen_ai.operation.name" in span.attributes]  # not those of HTTP


def since(before: dict[str, float]) -> dict[str, float]:
    return {name: value - before[name] for name, value in counted().items()}


ONE_CALL = {
    "input": 1000.0,  # what came from the cache and went into it is input, too
    "output": 100.0,
    "cached": 200.0,
    "cache_write": 300.0,
    "ok": 1.0,
    "error": 0.0,
    "cost": pytest.approx((500 * 3 + 200 * 0.3 + 300 * 3.75 + 100 * 15) / 1e6),
}


def test_the_clients_own_span_is_the_only_one(
    seen: Captured, provider: Provider, tracing_client: anthropic.Anthropic
) -> None:
    provider.answers = [as_json(MESSAGE)]
    before = counted()
    tracing_client.messages.create(**ASKED)
    (span,) = model_spans(seen)
    assert span.scope.name == "com.anthropic.sdk.python"
    assert span.attributes["gen_ai.request.model"] == MODEL
    assert since(before) == ONE_CALL


def test_where_the_client_makes_no_span_ours_is_there(
    seen: Captured, provider: Provider, client: anthropic.Anthropic
) -> None:
    provider.answers = [as_json(MESSAGE)]
    before = counted()
    client.messages.create(**ASKED)
    span = seen.span(f"chat {MODEL}")
    assert span.kind is SpanKind.CLIENT
    assert span.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.max_tokens": 99,
        "gen_ai.response.id": "msg_01",
        "gen_ai.response.model": "claude-sonnet-4-6-20260217",
        "gen_ai.response.finish_reasons": ("end_turn",),
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 100,
        "gen_ai.usage.cache_read.input_tokens": 200,
        "gen_ai.usage.cache_creation.input_tokens": 300,
        "server.address": "127.0.0.1",
        "server.port": int(provider.url.rpartition(":")[2]),
    }
    assert since(before) == ONE_CALL


def test_the_use_of_a_tool_is_told_as_the_reason_of_the_end(
    seen: Captured, provider: Provider, client: anthropic.Anthropic
) -> None:
    provider.answers = [as_json(TOOL_USE)]
    tool: Any = {"name": "weather", "input_schema": {"type": "object"}}
    client.messages.create(**ASKED, tools=[tool])
    span = seen.span(f"chat {MODEL}")
    assert span.attributes["gen_ai.response.finish_reasons"] == ("tool_use",)
    assert "Ulm" not in str(span.attributes)


@pytest.mark.parametrize("end", ["read", "closed"])
def test_a_stream_is_one_call(seen: Captured, provider: Provider, client: anthropic.Anthropic, end: str) -> None:
    provider.answers = [as_events(MESSAGE_EVENTS)]
    before = counted()
    with client.messages.create(**ASKED, stream=True) as stream:
        assert isinstance(stream, anthropic.Stream)
        for event in stream:
            if end == "closed" and event.type == "content_block_delta":
                break
        if end == "closed":
            assert model_spans(seen) == []
    span = seen.span(f"chat {MODEL}")
    assert span.attributes["gen_ai.request.stream"] is True
    assert "gen_ai.response.time_to_first_chunk" in span.attributes
    if end == "read":
        assert since(before) == ONE_CALL
    else:
        assert since(before)["input"] == 1000  # said at the beginning
        assert since(before)["ok"] == 1


def test_the_stream_helper_is_watched_and_stays_what_it_is(
    seen: Captured, provider: Provider, client: anthropic.Anthropic
) -> None:
    provider.answers = [as_events(MESSAGE_EVENTS)]
    before = counted()
    with client.messages.stream(**ASKED) as stream:
        assert "".join(stream.text_stream) == "Blue, mostly."
        assert stream.get_final_message().stop_reason == "end_turn"
    assert seen.span(f"chat {MODEL}").attributes["gen_ai.response.finish_reasons"] == ("end_turn",)
    assert since(before) == ONE_CALL


def test_streams_of_a_client_with_spans_of_its_own_are_counted(
    seen: Captured, provider: Provider, tracing_client: anthropic.Anthropic
) -> None:
    provider.answers = [as_events(MESSAGE_EVENTS)]
    before = counted()
    with tracing_client.messages.stream(**ASKED) as stream:
        stream.until_done()
    assert len(model_spans(seen)) == 1
    assert since(before) == ONE_CALL


def test_an_error_is_a_failed_call(seen: Captured, provider: Provider, client: anthropic.Anthropic) -> None:
    provider.answers = [as_json({"type": "error", "error": {"type": "overloaded_error", "message": "no"}}, 529)]
    before = counted()
    with pytest.raises(anthropic.APIStatusError):
        client.messages.create(**ASKED)
    span = seen.span(f"chat {MODEL}")
    assert span.status_code is StatusCode.ERROR
    assert str(span.attributes["error.type"]).startswith("anthropic.")
    assert since(before)["error"] == 1


def test_an_error_within_a_stream_is_a_failed_call(
    seen: Captured, provider: Provider, client: anthropic.Anthropic
) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "no"}}
    provider.answers = [as_events([*MESSAGE_EVENTS[:3], error])]
    before = counted()
    with pytest.raises(anthropic.APIStatusError):
        list(client.messages.create(**ASKED, stream=True))
    assert seen.span(f"chat {MODEL}").status_code is StatusCode.ERROR
    assert since(before)["error"] == 1


async def test_async_calls_and_streams_are_watched_alike(
    seen: Captured, provider: Provider, async_client: anthropic.AsyncAnthropic
) -> None:
    provider.answers = [as_json(MESSAGE), as_events(MESSAGE_EVENTS), as_events(MESSAGE_EVENTS)]
    before = counted()
    await async_client.messages.create(**ASKED)
    assert since(before) == ONE_CALL
    async with async_client.messages.stream(**ASKED) as stream:
        assert "".join([text async for text in stream.text_stream]) == "Blue, mostly."
    assert [event.type async for event in await async_client.messages.create(**ASKED, stream=True)][
        -1
    ] == "message_stop"
    assert since(before)["ok"] == 3
    assert since(before)["output"] == 300
    assert len(model_spans(seen)) == 3


async def test_raw_responses_are_counted(
    seen: Captured, provider: Provider, client: anthropic.Anthropic, async_client: anthropic.AsyncAnthropic
) -> None:
    provider.answers = [as_json(MESSAGE)]
    before = counted()
    assert client.messages.with_raw_response.create(**ASKED).parse().id == "msg_01"  # type: ignore[attr-defined]
    async with async_client.messages.with_streaming_response.create(**ASKED) as raw:
        assert (await raw.parse()).id == "msg_01"
    assert since(before)["ok"] == 2
    assert since(before)["input"] == 2000


def test_counting_tokens_is_no_call_of_a_model(seen: Captured, provider: Provider, client: anthropic.Anthropic) -> None:
    provider.answers = [as_json({"input_tokens": 7})]
    before = counted()
    client.messages.count_tokens(model=MODEL, messages=ASKED["messages"])
    assert since(before)["ok"] == 0
    assert model_spans(seen) == []


def test_content_of_messages_is_recorded_where_an_option_asks_for_it(provider: Provider) -> None:
    options = wk.Options(models=wk.ModelOptions(capture_content=True), logs=wk.LogOptions(stream="off"))
    provider.answers = [as_events(MESSAGE_EVENTS)]
    with (
        testing.capture(options) as seen,
        anthropic.Anthropic(api_key="x", base_url=provider.url, open_telemetry=False) as client,
    ):
        list(client.messages.create(**ASKED, stream=True, system="Be brief."))
    attributes = seen.span(f"chat {MODEL}").attributes
    assert "What colour" in attributes["gen_ai.input.messages"]
    assert "Be brief." in attributes["gen_ai.system_instructions"]
    assert "Blue, mostly." in attributes["gen_ai.output.messages"]
