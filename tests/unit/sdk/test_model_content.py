"""Prompts and answers, where an application wants them on its spans."""

from __future__ import annotations

import json
from typing import Any

import pytest

from watchkeeper.language_models.answer import Answer
from watchkeeper.language_models.content import answer_attributes, question_attributes
from watchkeeper.logging.options import RedactionOptions
from watchkeeper.logging.redaction import Redaction
from watchkeeper.values import MAX_TEXT

redact = Redaction(RedactionOptions()).text


def parts(attributes: dict[str, str], name: str = "gen_ai.input.messages") -> list[Any]:
    return [part for message in json.loads(attributes[name]) for part in message["parts"]]


def test_secrets_are_taken_out_of_each_text() -> None:
    body = {"messages": [{"role": "user", "content": 'the "password": "hunter2" of sk-proj-abcdefghijklmnop1234'}]}
    (part,) = parts(question_attributes(body, redact))
    assert part["content"] == 'the "password": [redacted] of [redacted]'


def test_a_secret_at_the_cut_is_taken_out_whole() -> None:
    body = {"input": "x" * 11_990 + " sk-proj-abcdefghijklmnop1234"}
    (part,) = parts(question_attributes(body, redact))
    assert "sk-proj" not in part["content"]


@pytest.mark.parametrize("text", ["x" * 1_000_000, '"\n' * 50_000, "\x00" * 50_000, "€" * 50_000])
def test_what_is_told_stays_json_and_fits_a_span(text: str) -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": text}] * 50}] * 50
    for body in ({"messages": messages}, {"prompt": text}, {"system": text}):
        for attribute in question_attributes(body, redact).values():
            assert len(attribute) <= MAX_TEXT
            json.loads(attribute)
    told = answer_attributes(Answer(texts=dict.fromkeys(range(128), text)), redact)
    assert len(told["gen_ai.output.messages"]) <= MAX_TEXT
    json.loads(told["gen_ai.output.messages"])


def test_what_is_not_told_is_not_looked_through() -> None:
    looked = 0

    def counting(text: str) -> str:
        nonlocal looked
        looked += len(text)
        return text

    question_attributes({"messages": [{"role": "user", "content": "x" * 20_000}] * 100}, counting)
    assert looked < 50_000


def test_of_what_is_no_text_only_the_type_is_told() -> None:
    image = {"type": "image", "source": {"data": "aGk="}}
    body = {"messages": [{"role": "user", "content": [image, 7]}, {"role": "tool", "content": None}, "odd"]}
    assert parts(question_attributes(body, redact)) == [
        {"type": "image"},
        {"type": "other"},
        {"type": "other"},
        {"type": "text", "content": "odd"},
    ]


def test_each_choice_is_a_message_with_its_reason() -> None:
    answer = Answer(finish_reasons=["stop", "length"], texts={1: "red", 0: "blue"})
    messages = json.loads(answer_attributes(answer, redact)["gen_ai.output.messages"])
    assert [(message["parts"][0]["content"], message["finish_reason"]) for message in messages] == [
        ("blue", "stop"),
        ("red", "length"),
    ]
    assert answer_attributes(Answer(texts={}), redact) == {}
