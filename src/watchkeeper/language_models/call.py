"""A call of a language model: its span, its tokens and its price, until the last piece of the answer has come.

    call = ModelCall(question, traced=True)
    token = attach(call.context())
    ...                     # the request, then detach(token)
    call.item(piece)        # of a stream, each
    call.end(error)

Nothing here raises into the application. A stream that is dropped halfway ends when it is garbage-collected.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from opentelemetry.semconv._incubating.attributes.gen_ai_attributes import (
    GEN_AI_OPERATION_NAME,
    GEN_AI_PROVIDER_NAME,
    GEN_AI_REQUEST_MODEL,
    GEN_AI_RESPONSE_FINISH_REASONS,
    GEN_AI_RESPONSE_ID,
    GEN_AI_RESPONSE_MODEL,
    GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK,
    GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS,
    GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
    GEN_AI_USAGE_INPUT_TOKENS,
    GEN_AI_USAGE_OUTPUT_TOKENS,
    GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,
)

from watchkeeper.context import Context
from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.calls import MODEL, Call
from watchkeeper.integrations.part import requests
from watchkeeper.language_models.answer import Answer, Read, Usage
from watchkeeper.language_models.content import answer_attributes, question_attributes
from watchkeeper.language_models.prices import Prices
from watchkeeper.metrics.sets import llms

UNKNOWN = "unknown"
_MOST_ABANDONED = 1_000


class Settings:
    """What a call needs of the options; rewired by each `configure`."""

    def __init__(self) -> None:
        self.prices = Prices({})
        self.capture_content = False
        self.redact: Callable[[str], str] = str


settings = Settings()


class Question(NamedTuple):
    """What is asked of whom. `operation` is one of OpenTelemetry's (`chat`, `embeddings`, …)."""

    provider: str
    operation: str
    model: str
    read: Read
    attributes: Mapping[str, Any]  # further ones of the span
    body: Mapping[str, Any]  # the request, for those who capture content


class ModelCall:
    """One call under way."""

    __slots__ = ("_answer", "_asked", "_call", "_pieces", "_started", "ended", "reading")

    def __init__(self, asked: Question, *, traced: bool) -> None:
        self._asked = asked._replace(body={})  # a stream may live long, and its prompt be large
        self._pieces = 0
        self.ended = False
        self.reading = False  # a piece is being waited for: whatever happens, whoever waits will tell the end
        self._answer = Answer(texts={} if settings.capture_content else None)
        attributes = {
            GEN_AI_OPERATION_NAME: asked.operation,
            GEN_AI_PROVIDER_NAME: asked.provider,
            **asked.attributes,
        }
        if asked.model:  # else it is the provider's choice
            attributes[GEN_AI_REQUEST_MODEL] = asked.model
        self._started = _now()
        self._call = Call(f"{asked.operation} {asked.model}".rstrip(), MODEL, attributes, traced=traced)
        if settings.capture_content:
            self._call.span.set_attributes(question_attributes(asked.body, settings.redact))

    def context(self) -> Context:
        """The context in which the request is sent."""
        return self._call.context()

    def item(self, piece: Any) -> None:
        """Takes a piece of a stream in."""
        try:
            self._pieces += 1
            if self._pieces == 1:
                self._call.span.set_attribute(GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK, (_now() - self._started) / 1e9)
            self._asked.read(self._answer, piece)
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("language model", failure)

    def whole(self, answer: Any) -> None:
        """Takes a whole answer in, and ends."""
        try:
            self._asked.read(self._answer, answer)
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("language model", failure)
        self.end()

    def end(self, error: BaseException | None = None) -> None:
        """Ends it, once."""
        if self.ended:
            return
        self.ended = True
        try:
            self._tell()
            if self._answer.error_type:
                self._call.fail(self._answer.error_type)
            self._call.end(error)
            self._count()
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("language model", failure)

    def _tell(self) -> None:
        """Puts the answer on the span."""
        span, answer = self._call.span, self._answer
        if not span.is_recording():
            return
        if answer.id:
            span.set_attribute(GEN_AI_RESPONSE_ID, answer.id)
        if answer.model:
            span.set_attribute(GEN_AI_RESPONSE_MODEL, answer.model)
        if answer.finish_reasons:
            span.set_attribute(GEN_AI_RESPONSE_FINISH_REASONS, answer.finish_reasons)
        if answer.usage is not None:
            span.set_attributes(_usage_attributes(answer.usage))
        if answer.texts:
            span.set_attributes(answer_attributes(answer, settings.redact))

    def _count(self) -> None:
        asked, usage, counts = self._asked, self._answer.usage, llms()
        model = asked.model or UNKNOWN
        status = "error" if self._call.error_type else "ok"
        counts.call(asked.provider, model, asked.operation, status, self._call.seconds)
        if usage is None:
            return
        for kind, tokens in (
            ("input", usage.input),
            ("output", usage.output),
            ("cached", usage.cached),
            ("cache_write", usage.cache_written),
            ("reasoning", usage.reasoning),
        ):
            if tokens > 0:
                counts.tokens(model, kind, tokens)
        names = tuple(name for name in (self._answer.model, asked.model) if name) or (UNKNOWN,)
        dollars = settings.prices.dollars(names, usage)
        if dollars is not None:
            counts.cost(model, dollars)

    def __del__(self) -> None:
        # Whoever collects garbage may hold any lock: what is left to do is left to others.
        if not self.ended:
            _abandoned.append(self)


_abandoned: deque[ModelCall] = deque(maxlen=_MOST_ABANDONED)


def settle_abandoned() -> None:
    """Ends the calls whose stream was dropped before its end."""
    while _abandoned:
        _abandoned.popleft().end()


def _now() -> int:
    return requests.settings.clock.monotonic_ns()


def _usage_attributes(usage: Usage) -> dict[str, int]:
    further = {
        GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: usage.cached,
        GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS: usage.cache_written,
        GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: usage.reasoning,
    }
    return {
        GEN_AI_USAGE_INPUT_TOKENS: usage.input,
        GEN_AI_USAGE_OUTPUT_TOKENS: usage.output,
        **{name: tokens for name, tokens in further.items() if tokens},
    }
