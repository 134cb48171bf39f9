"""anthropic: messages, whole and streamed (`stream=True` and `messages.stream`), of any client of it (Bedrock's, …).

The client makes spans of its own (`anthropic.messages.create`, by the same conventions), so ours only counts; where
those spans are switched off (`open_telemetry=False`, or an older client, which has none) the span is ours. Counting
tokens, batches and everything else that answers no prompt is none of ours. Tested against an HTTP server that answers
with recorded bodies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.semconv._incubating.attributes.gen_ai_attributes import (
    GEN_AI_REQUEST_MAX_TOKENS,
    GEN_AI_REQUEST_STREAM,
    GEN_AI_REQUEST_TEMPERATURE,
    GEN_AI_REQUEST_TOP_K,
    GEN_AI_REQUEST_TOP_P,
)

from watchkeeper.integrations.patching import instrumented_by_contrib
from watchkeeper.integrations.stainless import Stainless, server_attributes
from watchkeeper.language_models.answer import Answer, Usage, count, get, items, text
from watchkeeper.language_models.call import Question

_NUMBERS = {
    "temperature": GEN_AI_REQUEST_TEMPERATURE,
    "top_p": GEN_AI_REQUEST_TOP_P,
    "top_k": GEN_AI_REQUEST_TOP_K,
    "max_tokens": GEN_AI_REQUEST_MAX_TOKENS,
}


def read_message(answer: Answer, piece: Any) -> None:
    """A message, or an event of its stream."""
    kind = text(piece, "type")
    if kind == "content_block_delta":
        answer.add_text(0, get(piece, "delta", "text"))
        return
    message = get(piece, "message") if kind == "message_start" else piece
    if kind in {"message", "message_start"}:
        answer.id = text(message, "id")
        answer.model = text(message, "model")
        for block in items(message, "content"):
            answer.add_text(0, get(block, "text"))
    reason = text(message, "stop_reason") or text(message, "delta", "stop_reason")
    if reason:
        answer.finish_reasons = [reason]
    usage = get(message, "usage")
    if usage is not None and kind in {"message", "message_start", "message_delta"}:
        answer.usage = _usage(usage, answer.usage or Usage())


def _usage(told: Any, before: Usage) -> Usage:
    """What a message says of its tokens; a later event repeats only some of it. Input is told without the cache's."""
    cached = count(told, "cache_read_input_tokens") or before.cached
    written = count(told, "cache_creation_input_tokens") or before.cache_written
    fresh = count(told, "input_tokens") or before.input - before.cached - before.cache_written
    return Usage(
        input=fresh + cached + written,
        output=count(told, "output_tokens") or before.output,
        cached=cached,
        cache_written=written,
        reasoning=count(told, "output_tokens_details", "thinking_tokens") or before.reasoning,
    )


def recognise(client: Any, options: Any) -> Question | None:
    """What a request of the client asks of a model, None if nothing."""
    if options.method.lower() != "post" or options.url.partition("?")[0] != "/v1/messages":
        return None
    body = options.json_data if isinstance(options.json_data, Mapping) else {}
    attributes = server_attributes(client)
    for name, attribute in _NUMBERS.items():
        if isinstance(body.get(name), int | float):
            attributes[attribute] = body[name]
    if body.get("stream") is True:
        attributes[GEN_AI_REQUEST_STREAM] = True
    provider = getattr(client, "_gen_ai_provider_name", "anthropic")
    return Question(provider, "chat", text(body, "model"), read_message, attributes, body)


def _has_no_span(client: Any) -> bool:
    return getattr(client, "_tracer", None) is None and not instrumented_by_contrib(
        "anthropic", "AnthropicInstrumentor"
    )


_anthropic = Stainless("anthropic", recognise, _has_no_span)


def install() -> None:
    """Tokens and cost of every call from now on, and spans where there are none."""
    _anthropic.install()


def uninstall() -> None:
    """Stops that."""
    _anthropic.uninstall()
