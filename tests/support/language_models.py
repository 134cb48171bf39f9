"""A provider of language models for tests: an HTTP server that answers with bodies in the providers' own formats."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from support.sdk import http_server

CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_790_000_000,
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "Blue, mostly."},
            "logprobs": None,
        }
    ],
    "usage": {
        "prompt_tokens": 1000,
        "completion_tokens": 200,
        "total_tokens": 1200,
        "prompt_tokens_details": {"cached_tokens": 400},
        "completion_tokens_details": {"reasoning_tokens": 50},
    },
}


def _chunk(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-2",
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}],
    }


CHAT_CHUNKS: list[dict[str, Any]] = [
    _chunk({"role": "assistant", "content": ""}),
    _chunk({"content": "Blue, "}),
    _chunk({"content": "mostly."}),
    _chunk({}, "stop"),
    {**_chunk({}), "choices": [], "usage": CHAT["usage"]},
]

RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1_790_000_000,
    "status": "completed",
    "model": "gpt-5-mini-2025-08-07",
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "metadata": {},
    "output": [
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Blue, mostly.", "annotations": []}],
        }
    ],
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "usage": {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 10},
        "output_tokens": 80,
        "output_tokens_details": {"reasoning_tokens": 64},
        "total_tokens": 180,
    },
}
_UNFINISHED = {**RESPONSE, "status": "in_progress", "output": [], "usage": None}
RESPONSE_EVENTS: list[dict[str, Any]] = [
    {"type": "response.created", "sequence_number": 0, "response": _UNFINISHED},
    {
        "type": "response.output_item.added",
        "sequence_number": 1,
        "output_index": 0,
        "item": {"type": "message", "id": "msg_1", "status": "in_progress", "role": "assistant", "content": []},
    },
    {
        "type": "response.content_part.added",
        "sequence_number": 2,
        "item_id": "msg_1",
        "output_index": 0,
        "content_index": 0,
        "part": {"type": "output_text", "text": "", "annotations": []},
    },
    {
        "type": "response.output_text.delta",
        "sequence_number": 3,
        "item_id": "msg_1",
        "output_index": 0,
        "content_index": 0,
        "delta": "Blue, mostly.",
        "logprobs": [],
    },
    {"type": "response.completed", "sequence_number": 4, "response": RESPONSE},
]
EMBEDDINGS = {
    "object": "list",
    "model": "text-embedding-3-small",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}],
    "usage": {"prompt_tokens": 8, "total_tokens": 8},
}
IMAGES = {
    "created": 1_790_000_000,
    "data": [{"b64_json": "aGk="}],
    "usage": {
        "input_tokens": 10,
        "output_tokens": 1000,
        "total_tokens": 1010,
        "input_tokens_details": {"text_tokens": 10, "image_tokens": 0},
    },
}
MESSAGE: dict[str, Any] = {
    "id": "msg_01",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-6-20260217",
    "content": [{"type": "text", "text": "Blue, mostly."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 500,
        "cache_creation_input_tokens": 300,
        "cache_read_input_tokens": 200,
        "output_tokens": 100,
    },
}
TOOL_USE = {
    **MESSAGE,
    "content": [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Ulm"}}],
    "stop_reason": "tool_use",
}
_DELTAS = [{"type": "text_delta", "text": "Blue, "}, {"type": "text_delta", "text": "mostly."}]
MESSAGE_EVENTS: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {
            **MESSAGE,
            "content": [],
            "stop_reason": None,
            "usage": {**MESSAGE["usage"], "output_tokens": 1},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in _DELTAS),
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 100},
    },
    {"type": "message_stop"},
]


def events(pieces: list[dict[str, Any]], *, end: str = "") -> bytes:
    """Server-sent events, as the providers send them: named where they have a type, `[DONE]` at the end of some."""
    lines = [
        (f"event: {piece['type']}\n" if "type" in piece else "") + f"data: {json.dumps(piece)}\n\n" for piece in pieces
    ]
    return ("".join(lines) + (f"data: {end}\n\n" if end else "")).encode()


@dataclass
class Answer:
    body: bytes
    status: int = 200
    kind: str = "application/json"
    cut_short: bool = False  # the connection breaks before the body is whole


def as_json(body: Any, status: int = 200) -> Answer:
    return Answer(json.dumps(body).encode(), status)


def as_events(pieces: list[dict[str, Any]], end: str = "", *, cut_short: bool = False) -> Answer:
    return Answer(events(pieces, end=end), kind="text/event-stream", cut_short=cut_short)


@dataclass
class Provider:
    """Answers are used up one a request, the last one for all that follow."""

    answers: list[Answer] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    url: str = ""


@contextmanager
def providing() -> Iterator[Provider]:
    """A running provider."""
    found = Provider()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            kind = self.headers.get("content-type", "")
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.requests.append((self.path, headers, json.loads(body) if kind == "application/json" else body))
            answer = found.answers.pop(0) if len(found.answers) > 1 else found.answers[0]
            self.send_response(answer.status)
            self.send_header("content-type", answer.kind)
            self.send_header("content-length", str(len(answer.body) + answer.cut_short))
            self.send_header("retry-after-ms", "1")
            self.end_headers()
            self.wfile.write(answer.body)
            if answer.cut_short:
                self.close_connection = True

        def log_message(self, *_args: Any) -> None:
            pass

    with http_server(Handler) as found.url:
        yield found
