"""Prompts and answers as attributes of a span, for applications that ask for them: redacted, and bounded.

The shape is OpenTelemetry's (`gen_ai.input.messages` and its like): a list of messages, each with its role and its
parts. Only text is kept; of anything else (an image, a tool's call) its type.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.semconv._incubating.attributes.gen_ai_attributes import (
    GEN_AI_INPUT_MESSAGES,
    GEN_AI_OUTPUT_MESSAGES,
    GEN_AI_SYSTEM_INSTRUCTIONS,
)

from watchkeeper.language_models.answer import Answer
from watchkeeper.values import MAX_TEXT

_MOST_PARTS = 100  # of all messages of one attribute
_LONGEST_SECRET = 4_096  # characters
_CHARACTERS = (12_000, 6_000, 2_000, 0)  # of text in one attribute: the first with which its JSON fits


def question_attributes(body: Mapping[str, Any], redact: Callable[[str], str]) -> dict[str, str]:
    """What the body of a request asks: `messages`, `input` or `prompt`, and `system` or `instructions`."""
    found = {}
    asked = body.get("messages") or body.get("input") or body.get("prompt")
    if asked:
        found[GEN_AI_INPUT_MESSAGES] = _fitting(redact, lambda bounded: bounded.messages(asked))
    system = body.get("system") or body.get("instructions")
    if system:
        found[GEN_AI_SYSTEM_INSTRUCTIONS] = _fitting(redact, lambda bounded: bounded.parts(system))
    return found


def answer_attributes(answer: Answer, redact: Callable[[str], str]) -> dict[str, str]:
    """What was answered."""
    if not answer.texts:
        return {}
    texts = [text for _, text in sorted(answer.texts.items())]
    return {GEN_AI_OUTPUT_MESSAGES: _fitting(redact, lambda bounded: _answered(texts, answer.finish_reasons, bounded))}


def _answered(texts: list[str], finish_reasons: list[str], bounded: _Bounded) -> list[dict[str, Any]]:
    messages = []
    for choice, text in enumerate(texts):
        message: dict[str, Any] = {"role": "assistant", "parts": bounded.parts(text)}
        if choice < len(finish_reasons):
            message["finish_reason"] = finish_reasons[choice]
        messages.append(message)
    return messages


class _Bounded:
    """Builds one attribute with so many characters of text in it."""

    def __init__(self, redact: Callable[[str], str], characters: int) -> None:
        self._redact = redact
        self._characters = characters
        self._parts = _MOST_PARTS

    def messages(self, asked: Any) -> list[dict[str, Any]]:
        if not isinstance(asked, list | tuple):
            return [{"role": "user", "parts": self.parts(asked)}]
        found = []
        for message in asked:
            if self._parts <= 0:
                break
            is_message = isinstance(message, Mapping)
            role = message.get("role") if is_message else None
            content = message.get("content", message) if is_message else message
            found.append({"role": role if isinstance(role, str) else "user", "parts": self.parts(content)})
        return found

    def parts(self, content: Any) -> list[dict[str, Any]]:
        listed = content if isinstance(content, list | tuple) else [content]
        return [self._part(part) for part in listed[: max(0, self._parts)]]

    def _part(self, part: Any) -> dict[str, Any]:
        self._parts -= 1
        text = part.get("text") if isinstance(part, Mapping) else part
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, Mapping) else None
            return {"type": kind if isinstance(kind, str) else "other"}
        if self._characters <= 0:  # to look through what is not told would take a long prompt a second
            return {"type": "text", "content": "…" if text else ""}
        # Redacted before it is cut, or half a secret might pass.
        clean = self._redact(text[: self._characters + _LONGEST_SECRET])
        kept = clean if len(clean) <= self._characters else f"{clean[: self._characters]}…"
        self._characters = max(0, self._characters - len(clean))
        return {"type": "text", "content": kept}


def _fitting(redact: Callable[[str], str], build: Callable[[_Bounded], Any]) -> str:
    """JSON that a span keeps whole."""
    text = ""
    for characters in _CHARACTERS:
        text = json.dumps(build(_Bounded(redact, characters)), ensure_ascii=False)
        if len(text) <= MAX_TEXT:
            break
    return text
