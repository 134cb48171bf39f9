"""openai: chat completions, responses, completions, embeddings and images, of any client of it (Azure's too).

Watched are plain calls, streams (`stream=True` and the `.stream()` helpers), `.parse()`, and raw responses, sync and
async alike. The calls of assistants, audio, files and batches are none of ours. Tested against an HTTP server that
answers with recorded bodies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.semconv._incubating.attributes.gen_ai_attributes import (
    GEN_AI_EMBEDDINGS_DIMENSION_COUNT,
    GEN_AI_OUTPUT_TYPE,
    GEN_AI_REQUEST_CHOICE_COUNT,
    GEN_AI_REQUEST_FREQUENCY_PENALTY,
    GEN_AI_REQUEST_MAX_TOKENS,
    GEN_AI_REQUEST_PRESENCE_PENALTY,
    GEN_AI_REQUEST_SEED,
    GEN_AI_REQUEST_STREAM,
    GEN_AI_REQUEST_TEMPERATURE,
    GEN_AI_REQUEST_TOP_P,
)

from watchkeeper.integrations.patching import instrumented_by_contrib
from watchkeeper.integrations.stainless import Stainless, server_attributes
from watchkeeper.language_models.answer import Answer, Read, Usage, count, get, items, text
from watchkeeper.language_models.call import Question

_NUMBERS = {  # in the body of a request
    "temperature": GEN_AI_REQUEST_TEMPERATURE,
    "top_p": GEN_AI_REQUEST_TOP_P,
    "frequency_penalty": GEN_AI_REQUEST_FREQUENCY_PENALTY,
    "presence_penalty": GEN_AI_REQUEST_PRESENCE_PENALTY,
    "max_tokens": GEN_AI_REQUEST_MAX_TOKENS,
    "max_completion_tokens": GEN_AI_REQUEST_MAX_TOKENS,
    "max_output_tokens": GEN_AI_REQUEST_MAX_TOKENS,
    "seed": GEN_AI_REQUEST_SEED,
    "n": GEN_AI_REQUEST_CHOICE_COUNT,
    "dimensions": GEN_AI_EMBEDDINGS_DIMENSION_COUNT,
}
# Others' services that are called with this client, by the end of their host's name.
_PROVIDERS = {
    "azure.com": "azure.ai.openai",
    "deepseek.com": "deepseek",
    "groq.com": "groq",
    "mistral.ai": "mistral_ai",
    "perplexity.ai": "perplexity",
    "x.ai": "x_ai",
}


def read_completion(answer: Answer, piece: Any) -> None:
    """A chat completion, a completion, an embedding, or a chunk of one."""
    answer.id = text(piece, "id") or answer.id
    answer.model = text(piece, "model") or answer.model
    for at, choice in enumerate(items(piece, "choices")):
        reason = text(choice, "finish_reason")
        if reason:
            answer.finish_reasons.append(reason)
        said = get(choice, "message", "content") or get(choice, "delta", "content") or get(choice, "text")
        answer.add_text(count(choice, "index") or at, said)
    usage = get(piece, "usage")
    if usage is not None:
        answer.usage = Usage(
            input=count(usage, "prompt_tokens"),
            output=count(usage, "completion_tokens"),
            cached=count(usage, "prompt_tokens_details", "cached_tokens"),
            cache_written=count(usage, "prompt_tokens_details", "cache_write_tokens"),
            reasoning=count(usage, "completion_tokens_details", "reasoning_tokens"),
        )


def read_response(answer: Answer, piece: Any) -> None:
    """A response, or an event of its stream; images too, whose usage has the same form."""
    if text(piece, "type") == "error":
        answer.error_type = text(piece, "code") or "error"
        return
    response = get(piece, "response")
    if response is None:
        response = piece
    answer.id = text(response, "id") or answer.id
    answer.model = text(response, "model") or answer.model
    status = text(response, "status")
    if status == "failed":
        answer.error_type = text(response, "error", "code") or "failed"
    if status in {"completed", "incomplete", "failed"}:
        answer.finish_reasons = [text(response, "incomplete_details", "reason") or status]
        _read_output(answer, response)
    usage = get(response, "usage")
    if usage is not None:
        answer.usage = Usage(
            input=count(usage, "input_tokens"),
            output=count(usage, "output_tokens"),
            cached=count(usage, "input_tokens_details", "cached_tokens"),
            cache_written=count(usage, "input_tokens_details", "cache_write_tokens"),
            reasoning=count(usage, "output_tokens_details", "reasoning_tokens"),
        )


def _read_output(answer: Answer, response: Any) -> None:
    if answer.texts is not None:
        for output in items(response, "output"):
            for part in items(output, "content"):
                answer.add_text(0, get(part, "text"))


_OPERATIONS: Mapping[str, tuple[str, str, Read]] = {  # by path: the operation, what comes out of it, how to read that
    "/chat/completions": ("chat", "", read_completion),
    "/responses": ("chat", "", read_response),
    "/completions": ("text_completion", "text", read_completion),
    "/embeddings": ("embeddings", "", read_completion),
    "/images/generations": ("generate_content", "image", read_response),
    "/images/edits": ("generate_content", "image", read_response),
    "/images/variations": ("generate_content", "image", read_response),
}


def recognise(client: Any, options: Any) -> Question | None:
    """What a request of the client asks of a model, None if nothing."""
    if options.method.lower() != "post":
        return None
    found = _OPERATIONS.get(options.url.partition("?")[0])
    if found is None:
        return None
    operation, output, read = found
    body = options.json_data if isinstance(options.json_data, Mapping) else {}
    attributes = server_attributes(client)
    for name, attribute in _NUMBERS.items():
        value = body.get(name)
        if isinstance(value, int | float) and not (name == "n" and value == 1):
            attributes[attribute] = value
    if body.get("stream") is True:
        attributes[GEN_AI_REQUEST_STREAM] = True
    output = output or _output_of(body)
    if output:
        attributes[GEN_AI_OUTPUT_TYPE] = output
    return Question(_provider(client), operation, text(body, "model"), read, attributes, body)


def _output_of(body: Mapping[str, Any]) -> str:
    form = get(body.get("response_format"), "type") or get(body.get("text"), "format", "type")
    return {"json_object": "json", "json_schema": "json", "text": "text"}.get(form, "") if isinstance(form, str) else ""


def _provider(client: Any) -> str:
    host = client.base_url.host
    for end, provider in _PROVIDERS.items():
        if host == end or host.endswith(f".{end}"):
            return provider
    return "azure.ai.openai" if "Azure" in type(client).__name__ else "openai"


def _has_no_span(_client: Any) -> bool:
    return not any(instrumented_by_contrib(package, "OpenAIInstrumentor") for package in ("openai_v2", "openai"))


_openai = Stainless("openai", recognise, _has_no_span)


def install() -> None:
    """Spans, tokens and cost of every call from now on."""
    _openai.install()


def uninstall() -> None:
    """Stops that."""
    _openai.uninstall()
