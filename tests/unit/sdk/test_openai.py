from __future__ import annotations

import asyncio
import gc
import json
import pickle
import sys
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any

import httpx2
import openai
import pytest
from opentelemetry.trace import SpanKind, StatusCode
from pydantic import BaseModel

import watchkeeper as wk
from support.language_models import (
    CHAT,
    CHAT_CHUNKS,
    EMBEDDINGS,
    IMAGES,
    RESPONSE,
    RESPONSE_EVENTS,
    Provider,
    as_events,
    as_json,
    providing,
)
from support.sdk import eventually
from watchkeeper import testing
from watchkeeper.language_models.call import settle_abandoned
from watchkeeper.testing import Captured

PROMPT: Any = [{"role": "user", "content": "What colour is the sky? My password=hunter2"}]


@pytest.fixture
def provider(seen: Captured) -> Iterator[Provider]:
    with providing() as found:
        yield found


@pytest.fixture
def client(provider: Provider) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="sk-test", base_url=f"{provider.url}/v1", max_retries=0) as found:
        yield found


@pytest.fixture
async def async_client(provider: Provider) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key="sk-test", base_url=f"{provider.url}/v1", max_retries=0) as found:
        yield found


def model_spans(seen: Captured) -> list[Any]:
    return [span for span in seen.spans if "gen_ai.operation.name" in span.attributes]


def tokens(model: str, kind: str) -> float:
    return Captured.metric("llm_tokens_total", model=model, type=kind) or 0.0


def calls(model: str, operation: str = "chat", status: str = "ok", provider: str = "openai") -> float:
    labels = {"provider": provider, "model": model, "operation": operation, "status": status}
    return Captured.metric("llm_calls_total", **labels) or 0.0


def cost(model: str) -> float:
    return Captured.metric("llm_cost_usd_total", model=model) or 0.0


def test_a_chat_completion_is_a_span_by_the_conventions(
    seen: Captured, provider: Provider, client: openai.OpenAI
) -> None:
    provider.answers = [as_json(CHAT)]
    with wk.span("work") as work:
        client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT, temperature=0.5, max_tokens=99, n=1)
    (span,) = model_spans(seen)
    assert (span.name, span.kind, span.parent_id) == ("chat gpt-4o-mini", SpanKind.CLIENT, work.span_id)
    assert seen.span("POST").parent_id == span.span_id  # the request, by the integration of httpx2
    assert span.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 99,
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 200,
        "gen_ai.usage.cache_read.input_tokens": 400,
        "gen_ai.usage.reasoning.output_tokens": 50,
        "server.address": "127.0.0.1",
        "server.port": int(provider.url.rpartition(":")[2]),
    }


def test_calls_tokens_and_cost_are_counted(provider: Provider, client: openai.OpenAI) -> None:
    provider.answers = [as_json(CHAT)]
    before = {kind: tokens("gpt-4o-mini", kind) for kind in ("input", "output", "cached", "reasoning")}
    called, paid = calls("gpt-4o-mini"), cost("gpt-4o-mini")
    client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT)
    after = {kind: tokens("gpt-4o-mini", kind) - count for kind, count in before.items()}
    assert after == {"input": 1000, "output": 200, "cached": 400, "reasoning": 50}
    assert calls("gpt-4o-mini") == called + 1
    assert cost("gpt-4o-mini") - paid == pytest.approx((600 * 0.15 + 400 * 0.075 + 200 * 0.6) / 1e6)


def test_calls_are_counted_though_nothing_is_sampled(provider: Provider) -> None:
    options = wk.Options(traces=wk.TraceOptions(sampler="always_off"), logs=wk.LogOptions(stream="off"))
    provider.answers = [as_json(CHAT)]
    with testing.capture(options) as seen, openai.OpenAI(api_key="x", base_url=f"{provider.url}/v1") as client:
        before = calls("gpt-4o-mini"), tokens("gpt-4o-mini", "input")
        client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT)
        assert (calls("gpt-4o-mini"), tokens("gpt-4o-mini", "input")) == (before[0] + 1, before[1] + 1000)
    assert seen.spans == []


def test_what_is_asked_and_answered_is_not_recorded(seen: Captured, provider: Provider, client: openai.OpenAI) -> None:
    provider.answers = [as_json(CHAT), as_events(CHAT_CHUNKS, "[DONE]"), as_json(RESPONSE)]
    client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT)
    list(client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT, stream=True))
    client.responses.create(model="gpt-5-mini", input="What colour?", instructions="Be brief.")
    told = str([(span.name, span.attributes, span.events) for span in model_spans(seen)])
    assert len(model_spans(seen)) == 3
    assert not any(word in told for word in ("colour", "Blue", "brief", "sk-test"))


def test_content_is_recorded_where_an_option_asks_for_it_redacted_and_bounded(provider: Provider) -> None:
    options = wk.Options(models=wk.ModelOptions(capture_content=True), logs=wk.LogOptions(stream="off"))
    provider.answers = [as_json(CHAT), as_events(CHAT_CHUNKS, "[DONE]"), as_json(RESPONSE)]
    long: Any = [*PROMPT, {"role": "user", "content": [{"type": "text", "text": "x" * 100_000}, {"type": "image_url"}]}]
    with testing.capture(options) as seen, openai.OpenAI(api_key="x", base_url=f"{provider.url}/v1") as client:
        client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT)
        list(client.chat.completions.create(model="gpt-4o-mini", messages=long, stream=True))
        client.responses.create(model="gpt-5-mini", input="What colour?", instructions="Be brief.")
    plain, streamed, response = model_spans(seen)
    assert json.loads(plain.attributes["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "What colour is the sky? My password=[redacted]"}]}
    ]
    answered = [{"role": "assistant", "parts": [{"type": "text", "content": "Blue, mostly."}], "finish_reason": "stop"}]
    assert json.loads(plain.attributes["gen_ai.output.messages"]) == answered
    assert json.loads(streamed.attributes["gen_ai.output.messages"]) == answered
    (text, image) = json.loads(streamed.attributes["gen_ai.input.messages"])[1]["parts"]
    assert 11_000 < len(text["content"]) < 12_100
    assert image == {"type": "image_url"}
    assert "Be brief." in response.attributes["gen_ai.system_instructions"]
    assert "Blue, mostly." in response.attributes["gen_ai.output.messages"]


def test_a_stream_is_one_call_that_lasts_until_its_last_piece(
    seen: Captured, provider: Provider, client: openai.OpenAI
) -> None:
    provider.answers = [as_events(CHAT_CHUNKS, "[DONE]")]
    before = tokens("gpt-4o-mini", "output")
    stream = client.chat.completions.create(
        model="gpt-4o-mini", messages=PROMPT, stream=True, stream_options={"include_usage": True}
    )
    assert isinstance(stream, openai.Stream)
    pieces = iter(stream)
    first = next(pieces)
    assert first.choices[0].delta.role == "assistant"
    assert model_spans(seen) == []
    assert len(list(pieces)) == len(CHAT_CHUNKS) - 1
    (span,) = model_spans(seen)
    assert span.attributes["gen_ai.request.stream"] is True
    assert span.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert span.attributes["gen_ai.usage.output_tokens"] == 200
    assert 0 < span.attributes["gen_ai.response.time_to_first_chunk"] < 60
    assert tokens("gpt-4o-mini", "output") == before + 200


def test_a_stream_can_be_read_by_next_and_go_on_after_a_loop_was_left(
    seen: Captured, provider: Provider, client: openai.OpenAI
) -> None:
    provider.answers = [as_events(CHAT_CHUNKS, "[DONE]")]
    stream = client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT, stream=True)
    for _ in stream:
        break
    assert next(stream).choices[0].delta.content == "Blue, "
    assert model_spans(seen) == []
    assert len(list(stream)) == len(CHAT_CHUNKS) - 2
    assert len(model_spans(seen)) == 1
    with pytest.raises(StopIteration):
        next(stream)


def test_a_stream_that_is_closed_early_ends_its_call(seen: Captured, provider: Provider, client: openai.OpenAI) -> None:
    provider.answers = [as_events(CHAT_CHUNKS, "[DONE]")]
    before = calls("gpt-4o-mini")
    with client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT, stream=True) as stream:
        next(iter(stream))
    (span,) = model_spans(seen)
    assert span.status_code is StatusCode.UNSET
    assert calls("gpt-4o-mini") == before + 1


def test_a_stream_that_is_dropped_ends_its_call(seen: Captured, provider: Provider, client: openai.OpenAI) -> None:
    provider.answers = [as_events(CHAT_CHUNKS, "[DONE]")]
    client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT, stream=True)
    gc.collect()
    settle_abandoned()  # what the export thread does each second
    assert len(model_spans(seen)) == 1


def test_a_stream_that_breaks_is_a_failed_call(seen: Captured, provider: Provider, client: openai.OpenAI) -> None:
    provider.answers = [as_events(CHAT_CHUNKS[:2], cut_short=True)]
    before = calls("gpt-4o-mini", status="error")
    with pytest.raises(openai.APIConnectionError):
        list(client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT, stream=True))
    (span,) = model_spans(seen)
    assert span.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "openai.APIConnectionError"
    assert calls("gpt-4o-mini", status="error") == before + 1


def test_the_stream_helper_is_watched_and_stays_what_it_is(
    seen: Captured, provider: Provider, client: openai.OpenAI
) -> None:
    provider.answers = [as_events(CHAT_CHUNKS, "[DONE]")]
    with client.chat.completions.stream(model="gpt-4o-mini", messages=PROMPT) as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_completion()
    assert "content.delta" in kinds
    assert answer.choices[0].message.content == "Blue, mostly."
    (span,) = model_spans(seen)
    assert span.attributes["gen_ai.usage.input_tokens"] == 1000


def test_a_stream_helper_that_is_left_early_ends_its_call(
    seen: Captured, provider: Provider, client: openai.OpenAI
) -> None:
    provider.answers = [as_events(CHAT_CHUNKS, "[DONE]")]
    with client.chat.completions.stream(model="gpt-4o-mini", messages=PROMPT) as stream:
        for _ in stream:
            break
    assert len(model_spans(seen)) == 1


def test_a_raw_response_tells_its_tokens_and_is_unchanged(
    seen: Captured, provider: Provider, client: openai.OpenAI
) -> None:
    provider.answers = [as_json(CHAT)]
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=PROMPT)
    assert raw.headers["content-type"] == "application/json"
    assert raw.parse().choices[0].message.content == "Blue, mostly."
    (span,) = model_spans(seen)
    assert span.attributes["gen_ai.usage.input_tokens"] == 1000


def test_a_raw_response_that_is_a_stream_is_followed(seen: Captured, provider: Provider, client: openai.OpenAI) -> None:
    provider.answers = [as_events(CHAT_CHUNKS, "[DONE]")]
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=PROMPT, stream=True)
    assert model_spans(seen) == []
    assert len(list(raw.parse())) == len(CHAT_CHUNKS)
    (span,) = model_spans(seen)
    assert span.attributes["gen_ai.usage.output_tokens"] == 200


def test_a_response_that_is_read_later_ends_its_call_then(
    seen: Captured, provider: Provider, client: openai.OpenAI
) -> None:
    provider.answers = [as_json(CHAT)]
    with client.chat.completions.with_streaming_response.create(model="gpt-4o-mini", messages=PROMPT) as raw:
        assert model_spans(seen) == []
        assert raw.parse().id == "chatcmpl-1"
    (span,) = model_spans(seen)
    assert span.attributes["gen_ai.usage.input_tokens"] == 1000


def test_a_response_whose_bytes_are_read_ends_its_call_and_can_be_pickled(
    seen: Captured, provider: Provider, client: openai.OpenAI
) -> None:
    provider.answers = [as_json(CHAT)]
    with client.chat.completions.with_streaming_response.create(model="gpt-4o-mini", messages=PROMPT) as raw:
        assert json.loads(b"".join(raw.iter_bytes())) == CHAT
        assert len(model_spans(seen)) == 1
        pickle.dumps(raw.http_response)
    assert len(model_spans(seen)) == 1


class Sky(BaseModel):
    colour: str


def test_parsing_is_one_call_of_which_json_is_expected(
    seen: Captured, provider: Provider, client: openai.OpenAI
) -> None:
    choice: dict[str, Any] = CHAT["choices"][0]  # type: ignore[index]
    message = {**choice["message"], "content": '{"colour": "blue"}'}
    provider.answers = [as_json({**CHAT, "choices": [{**choice, "message": message}]})]
    parsed = client.chat.completions.parse(model="gpt-4o-mini", messages=PROMPT, response_format=Sky)
    assert parsed.choices[0].message.parsed == Sky(colour="blue")
    (span,) = model_spans(seen)
    assert span.attributes["gen_ai.output.type"] == "json"


def test_responses_are_chat_too(seen: Captured, provider: Provider, client: openai.OpenAI) -> None:
    provider.answers = [as_json(RESPONSE)]
    before = cost("gpt-5-mini")
    assert client.responses.create(model="gpt-5-mini", input="What colour?").output_text == "Blue, mostly."
    (span,) = model_spans(seen)
    assert span.name == "chat gpt-5-mini"
    assert span.attributes["gen_ai.response.finish_reasons"] == ("completed",)
    assert span.attributes["gen_ai.usage.cache_creation.input_tokens"] == 10
    assert span.attributes["gen_ai.usage.reasoning.output_tokens"] == 64
    assert cost("gpt-5-mini") - before == pytest.approx((100 * 0.25 + 80 * 2) / 1e6)


def test_a_streamed_response_tells_what_its_last_event_says(
    seen: Captured, provider: Provider, client: openai.OpenAI
) -> None:
    provider.answers = [as_events(RESPONSE_EVENTS)]
    with client.responses.stream(model="gpt-5-mini", input="What colour?") as stream:
        assert [event.type for event in stream][-1] == "response.completed"
        assert stream.get_final_response().output_text == "Blue, mostly."
    (span,) = model_spans(seen)
    assert span.attributes["gen_ai.response.id"] == "resp_1"
    assert span.attributes["gen_ai.usage.output_tokens"] == 80


def test_a_response_that_failed_is_a_failed_call(seen: Captured, provider: Provider, client: openai.OpenAI) -> None:
    failed = {**RESPONSE, "status": "failed", "error": {"code": "server_error", "message": "no"}, "output": []}
    provider.answers = [as_events([{"type": "response.failed", "sequence_number": 0, "response": failed}])]
    before = calls("gpt-5-mini", status="error")
    list(client.responses.create(model="gpt-5-mini", input="What colour?", stream=True))
    (span,) = model_spans(seen)
    assert (span.status_code, span.attributes["error.type"]) == (StatusCode.ERROR, "server_error")
    assert calls("gpt-5-mini", status="error") == before + 1


def test_embeddings_and_images_are_calls(seen: Captured, provider: Provider, client: openai.OpenAI) -> None:
    provider.answers = [as_json(EMBEDDINGS), as_json(IMAGES)]
    before = calls("text-embedding-3-small", "embeddings"), calls("gpt-image-1", "generate_content")
    client.embeddings.create(model="text-embedding-3-small", input="sky", encoding_format="float")
    client.images.generate(model="gpt-image-1", prompt="sky")
    embeddings, images = model_spans(seen)
    assert embeddings.name == "embeddings text-embedding-3-small"
    assert embeddings.attributes["gen_ai.usage.input_tokens"] == 8
    assert images.attributes["gen_ai.output.type"] == "image"
    assert images.attributes["gen_ai.usage.output_tokens"] == 1000
    after = calls("text-embedding-3-small", "embeddings"), calls("gpt-image-1", "generate_content")
    assert after == (before[0] + 1, before[1] + 1)


def test_a_model_that_nobody_named_is_none_that_is_called_unknown(
    seen: Captured, provider: Provider, client: openai.OpenAI
) -> None:
    provider.answers = [as_json({"created": 1, "data": []})]
    before = calls("unknown", "generate_content")
    client.images.generate(prompt="sky")
    (span,) = model_spans(seen)
    assert span.name == "generate_content"
    assert "gen_ai.request.model" not in span.attributes
    assert calls("unknown", "generate_content") == before + 1


def test_an_error_is_a_failed_call_and_reaches_the_caller(
    seen: Captured, provider: Provider, client: openai.OpenAI
) -> None:
    provider.answers = [as_json({"error": {"message": "slow down"}}, 429)]
    before = calls("gpt-4o-mini", status="error")
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT)
    (span,) = model_spans(seen)
    assert span.attributes["error.type"] == "openai.RateLimitError"
    assert span.status_code is StatusCode.ERROR
    assert calls("gpt-4o-mini", status="error") == before + 1


def test_retries_of_the_client_are_one_call(seen: Captured, provider: Provider) -> None:
    provider.answers = [as_json({"error": {"message": "later"}}, 503), as_json(CHAT)]
    before = calls("gpt-4o-mini"), calls("gpt-4o-mini", status="error")
    with openai.OpenAI(api_key="x", base_url=f"{provider.url}/v1", max_retries=2) as client:
        client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT)
    assert len(provider.requests) == 2
    assert len(model_spans(seen)) == 1
    assert (calls("gpt-4o-mini"), calls("gpt-4o-mini", status="error")) == (before[0] + 1, before[1])


async def test_async_calls_and_streams_are_watched_alike(
    seen: Captured, provider: Provider, async_client: openai.AsyncOpenAI
) -> None:
    provider.answers = [as_json(CHAT), as_events(CHAT_CHUNKS, "[DONE]")]
    await async_client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT)
    stream = await async_client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT, stream=True)
    assert isinstance(stream, openai.AsyncStream)
    assert [piece.choices[0].delta.content async for piece in stream if piece.choices][1:3] == ["Blue, ", "mostly."]
    plain, streamed = model_spans(seen)
    for span in (plain, streamed):
        assert span.attributes["gen_ai.usage.input_tokens"] == 1000
    assert "gen_ai.response.time_to_first_chunk" in streamed.attributes


def in_use(client: Any) -> list[Any]:
    """Connections of a client that nobody has given back."""
    pool = client._client._transport._pool
    return [connection for connection in pool.connections if not (connection.is_idle() or connection.is_closed())]


def test_a_stream_that_is_dropped_halfway_gives_its_connection_back(
    seen: Captured, provider: Provider, client: openai.OpenAI
) -> None:
    provider.answers = [as_events(CHAT_CHUNKS, "[DONE]")]
    stream = client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT, stream=True)
    next(stream)
    assert in_use(client)
    del stream
    gc.collect()
    assert not in_use(client)
    settle_abandoned()
    assert len(model_spans(seen)) == 1


async def test_an_async_stream_that_is_dropped_halfway_gives_its_connection_back(
    seen: Captured, provider: Provider, async_client: openai.AsyncOpenAI
) -> None:
    provider.answers = [as_events(CHAT_CHUNKS, "[DONE]")]
    stream = await async_client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT, stream=True)
    await anext(stream)
    assert in_use(async_client)
    del stream
    for _ in range(100):
        gc.collect()  # generators close one another, in tasks of the loop
        await asyncio.sleep(0.01)
        if not in_use(async_client):
            break
    assert not in_use(async_client)
    settle_abandoned()
    assert len(model_spans(seen)) == 1


async def test_an_async_stream_ends_when_it_is_closed_or_fails(
    seen: Captured, provider: Provider, async_client: openai.AsyncOpenAI
) -> None:
    provider.answers = [as_events(CHAT_CHUNKS, "[DONE]"), as_events(CHAT_CHUNKS[:1], cut_short=True)]
    async with async_client.chat.completions.stream(model="gpt-4o-mini", messages=PROMPT) as helper:
        async for _ in helper:
            break
    assert len(model_spans(seen)) == 1
    broken = await async_client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT, stream=True)
    await anext(broken)
    with pytest.raises(openai.APIConnectionError):
        await anext(broken)
    assert [span.status_code for span in model_spans(seen)] == [StatusCode.UNSET, StatusCode.ERROR]


async def test_an_async_raw_response_is_followed(
    seen: Captured, provider: Provider, async_client: openai.AsyncOpenAI
) -> None:
    provider.answers = [as_json(CHAT)]
    completions = async_client.chat.completions
    async with completions.with_streaming_response.create(model="gpt-4o-mini", messages=PROMPT) as raw:
        assert (await raw.parse()).id == "chatcmpl-1"
    (span,) = model_spans(seen)
    assert span.attributes["gen_ai.usage.input_tokens"] == 1000


def test_another_service_behind_the_client_is_named(seen: Captured) -> None:
    def answer(_request: httpx2.Request) -> httpx2.Response:  # none of those hosts can be had here
        return httpx2.Response(200, json=CHAT)

    def http() -> httpx2.Client:
        return httpx2.Client(transport=httpx2.MockTransport(answer))

    with openai.OpenAI(api_key="x", base_url="https://api.deepseek.com/v1", http_client=http()) as client:
        client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT)
    where = "https://models.example"
    with openai.AzureOpenAI(api_key="x", azure_endpoint=where, api_version="2026-01-01", http_client=http()) as azure:
        azure.chat.completions.create(model="our-deployment", messages=PROMPT)
    assert [span.attributes["gen_ai.provider.name"] for span in model_spans(seen)] == ["deepseek", "azure.ai.openai"]
    assert model_spans(seen)[0].attributes["server.address"] == "api.deepseek.com"
    assert cost("our-deployment") > 0  # by the model that answered


def test_where_another_instrumentation_makes_the_span_ours_only_counts(
    seen: Captured, provider: Provider, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OpenAIInstrumentor:
        is_instrumented_by_opentelemetry = True

    other = ModuleType("opentelemetry.instrumentation.openai_v2")
    other.OpenAIInstrumentor = OpenAIInstrumentor  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, other.__name__, other)
    provider.answers = [as_json(CHAT)]
    before = calls("gpt-4o-mini")
    client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT)
    assert model_spans(seen) == []
    assert calls("gpt-4o-mini") == before + 1


def test_requests_that_ask_no_model_are_left_alone(seen: Captured, provider: Provider, client: openai.OpenAI) -> None:
    provider.answers = [as_json({"id": "mod-1", "model": "omni", "results": []})]
    client.moderations.create(input="sky")
    assert model_spans(seen) == []


def test_shutdown_gives_the_client_back(seen: Captured, provider: Provider, client: openai.OpenAI) -> None:
    provider.answers = [as_json(CHAT)]
    before = calls("gpt-4o-mini")
    wk.shutdown()
    client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT)
    assert calls("gpt-4o-mini") == before
    assert seen.spans == []


def test_a_model_without_a_price_costs_nothing_and_is_said_once(
    provider: Provider, client: openai.OpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    provider.answers = [as_json({**CHAT, "model": "our-own-7b"})]
    client.chat.completions.create(model="our-own-7b", messages=PROMPT)
    client.chat.completions.create(model="our-own-7b", messages=PROMPT)
    said = [record.getMessage() for record in caplog.records if "our-own-7b" in record.getMessage()]
    assert len(said) == 1
    assert "wk.ModelOptions(prices=...)" in said[0]
    assert Captured.metric("llm_cost_usd_total", model="our-own-7b") is None


def test_calls_beside_each_other_do_not_mix(seen: Captured, provider: Provider, client: openai.OpenAI) -> None:
    provider.answers = [as_events(CHAT_CHUNKS, "[DONE]")]
    streams = [client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT, stream=True) for _ in range(3)]
    for stream in streams:
        list(stream)
    eventually(lambda: len(model_spans(seen)) == 3)
    assert {span.parent_id for span in model_spans(seen)} == {0}
