"""What the bare ASGI applications of receivers that answer in plain text share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from watchkeeper_server.receive.bodies import IncomingBody
from watchkeeper_server.receive.refusal import Reason, RefusedError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_NO_BODY = 204
_UNAVAILABLE = 503


def headers_of(scope: Scope) -> dict[str, str]:
    """A request's headers, names in lower case."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


async def decompressed_body(incoming: IncomingBody, headers: Mapping[str, str]) -> bytes:
    """The whole body, of what length and encoding the headers say; see `IncomingBody.decompressed`."""
    length = headers.get("content-length", "")
    encoding = headers.get("content-encoding", "").strip().lower()
    return await incoming.decompressed(int(length) if length.isdecimal() else None, encoding)


async def refuse(
    send: Send, error: RefusedError, incoming: IncomingBody, headers: Mapping[str, str] | None = None
) -> None:
    """Answer, and only then end the response, which closes the connection if the body is still on its way."""
    extra = dict(headers or {})
    slow = error.reason is Reason.TIMED_OUT
    if slow or error.retry_seconds:
        extra["retry-after"] = str(error.retry_seconds or 1)
    if not incoming.ended:
        extra["connection"] = "close"
    # Prometheus gives up on all that is answered 4xx, also on a body that its network was slow with
    await respond(send, _UNAVAILABLE if slow else error.reason.http_status, str(error), extra, complete=False)
    if not slow:
        await incoming.discard()
    await send({"type": "http.response.body"})


async def respond(
    send: Send, status: int, text: str, headers: Mapping[str, str] | None = None, *, complete: bool = True
) -> None:
    """A line of plain text; without one the answer has no body."""
    body = f"{text}\n".encode() if text else b""
    fields = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    if status != _NO_BODY:
        fields += [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body, "more_body": not complete})
