"""A server that speaks MongoDB's wire protocol, and answers what it is told to.

MongoDB itself is not among the servers of the tests. This speaks the protocol as MongoDB documents it (OP_MSG, and
OP_QUERY for the first hello: https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/), so that the real
driver does everything it does with a server. It stores nothing: each command's answer is the one it is told.
"""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import bson

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
HELLO = {
    "isWritablePrimary": True,
    "ismaster": True,
    "helloOk": True,
    "maxBsonObjectSize": 16_777_216,
    "maxMessageSizeBytes": 48_000_000,
    "maxWriteBatchSize": 100_000,
    "logicalSessionTimeoutMinutes": 30,
    "minWireVersion": 0,
    "maxWireVersion": 25,
    "readOnly": False,
    "ok": 1.0,
}

Reply = Callable[[dict[str, Any]], dict[str, Any]]


def batch(
    *documents: dict[str, Any], cursor: int = 0, namespace: str = "shop.orders", name: str = "firstBatch"
) -> Reply:
    return lambda _command: {"cursor": {name: list(documents), "id": bson.Int64(cursor), "ns": namespace}, "ok": 1.0}


def refusal(code: int, name: str, message: str) -> Reply:
    return lambda _command: {"ok": 0.0, "errmsg": message, "code": code, "codeName": name}


def written(command: dict[str, Any]) -> dict[str, Any]:
    return {"n": len(command.get("documents", command.get("updates", ()))), "nModified": 0, "ok": 1.0}


def duplicate(_command: dict[str, Any]) -> dict[str, Any]:
    message = 'E11000 duplicate key error collection: shop.users index: email_1 dup key: { email: "jo@shop.example" }'
    return {"n": 0, "writeErrors": [{"index": 0, "code": 11_000, "errmsg": message}], "ok": 1.0}


@dataclass
class MongoDB:
    """`replies` are by command; a reply of None closes the connection."""

    port: int = 0
    commands: list[dict[str, Any]] = field(default_factory=list)
    replies: dict[str, Reply | None] = field(default_factory=dict)

    def answer(self, command: dict[str, Any]) -> dict[str, Any] | None:
        name = next(iter(command))
        if name.lower() in {"hello", "ismaster"}:
            return HELLO
        self.commands.append(command)
        reply = self.replies.get(name, lambda _command: {"ok": 1.0})
        return None if reply is None else reply(command)


class _Handler(socketserver.BaseRequestHandler):
    found: MongoDB

    def handle(self) -> None:
        try:
            while True:
                size, request, _, kind = struct.unpack("<iiii", self._read(16))
                body = self._read(size - 16)
                if kind == OP_QUERY:
                    self._reply_to_query(request, body)
                elif not self._reply_to_message(request, body):
                    return
        except OSError:
            pass

    def _reply_to_query(self, request: int, body: bytes) -> None:
        at = body.index(b"\0", 4) + 1 + 8  # flags, the collection's name, numbers to skip and to return
        answer = self.found.answer(bson.decode(body[at:])) or {}
        self._send(OP_REPLY, request, struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(answer))

    def _reply_to_message(self, request: int, body: bytes) -> bool:
        (flags,) = struct.unpack_from("<I", body)
        answer = self.found.answer(_command_in(body))
        if answer is None:
            return False
        if not flags & 2:  # more to come: nobody waits for an answer
            self._send(OP_MSG, request, struct.pack("<IB", 0, 0) + bson.encode(answer))
        return True

    def _send(self, kind: int, request: int, body: bytes) -> None:
        self.request.sendall(struct.pack("<iiii", 16 + len(body), 0, request, kind) + body)

    def _read(self, size: int) -> bytes:
        parts = b""
        while len(parts) < size:
            part = self.request.recv(size - len(parts))
            if not part:
                raise ConnectionResetError
            parts += part
        return parts


def _command_in(body: bytes) -> dict[str, Any]:
    """A body of one document, and sequences of documents beside it."""
    command: dict[str, Any] = {}
    more: dict[str, Any] = {}
    at = 4
    while at < len(body):
        kind, (size,) = body[at], struct.unpack_from("<i", body, at + 1)
        section = body[at + 1 : at + 1 + size]
        if kind == 0:
            command = bson.decode(section)
        else:
            end = section.index(b"\0", 4)
            more[section[4:end].decode()] = bson.decode_all(section[end + 1 :])
        at += 1 + size
    return {**command, **more}


@contextmanager
def mongodb() -> Iterator[MongoDB]:
    """A running server."""
    found = MongoDB()

    class Listening(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Listening(("127.0.0.1", 0), type("Handler", (_Handler,), {"found": found})) as listening:
        found.port = listening.server_address[1]
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield found
        finally:
            listening.shutdown()
            thread.join()
