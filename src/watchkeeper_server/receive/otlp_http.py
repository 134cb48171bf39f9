"""OTLP over HTTP: `POST /v1/traces`, `/v1/logs`, `/v1/metrics`, in protobuf or JSON, as a bare ASGI application.

Bare because a framework's routing and request objects would cost more than the check itself.

Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from watchkeeper_server.receive.bodies import IncomingBody
from watchkeeper_server.receive.otlp import SIGNALS, OtlpReceiver, Signal
from watchkeeper_server.receive.refusal import Reason, RefusedError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

PROTOBUF, JSON = "application/x-protobuf", "application/json"
PATHS = {f"/v1/{signal.name}": signal for signal in SIGNALS}


class OtlpHttp:
    """An ASGI application for the paths in `PATHS`."""

    def __init__(self, receiver: OtlpReceiver) -> None:
        """Serve with this receiver."""
        self._receiver = receiver

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] != "POST":
            refusal = Status(message=f"{scope['path']} takes POST, not {scope['method']}")
            await _respond(send, 405, refusal, json=True, extra=[(b"allow", b"POST")])
            return
        with IncomingBody(receive, self._receiver.intake) as incoming:
            await self._export(scope, incoming, send)

    async def _export(self, scope: Scope, incoming: IncomingBody, send: Send) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        content_type = headers.get(b"content-type", "").partition(";")[0].strip().lower()
        json = content_type != PROTOBUF
        signal = PATHS[scope["path"]]
        try:
            body = await self._body(content_type, headers, incoming, signal)
            response = await self._receiver.receive(signal, body, json=json)
        except ConnectionResetError:
            return
        except RefusedError as error:
            await _refuse(send, error, incoming, json=json)
        else:
            await _respond(send, 200, response, json=json)

    async def _body(
        self, content_type: str, headers: dict[bytes, str], incoming: IncomingBody, signal: Signal
    ) -> bytes:
        try:
            if content_type not in (PROTOBUF, JSON):
                raise RefusedError(
                    Reason.UNSUPPORTED,
                    f"Content-Type {content_type or '(none)'!r} is not supported; use {PROTOBUF} or {JSON}",
                )
            length = headers.get(b"content-length", "")
            encoding = headers.get(b"content-encoding", "").strip().lower()
            return await incoming.decompressed(int(length) if length.isdecimal() else None, encoding)
        except RefusedError as error:
            self._receiver.events.refused(signal.name, error.reason.label, error.items)
            raise


async def _refuse(send: Send, error: RefusedError, incoming: IncomingBody, *, json: bool) -> None:
    """Answer, and only then end the response, which closes the connection if the body is still on its way."""
    extra = [(b"retry-after", str(error.retry_seconds).encode())] if error.retry_seconds else []
    if not incoming.ended:
        extra.append((b"connection", b"close"))
    status = Status(code=error.reason.grpc_code, message=str(error))
    await _respond(send, error.reason.http_status, status, json=json, extra=extra, complete=False)
    if error.reason is not Reason.TIMED_OUT:
        await incoming.discard()
    await send({"type": "http.response.body"})


async def _respond(
    send: Send,
    status: int,
    message: Message,
    *,
    json: bool,
    extra: list[tuple[bytes, bytes]] | None = None,
    complete: bool = True,
) -> None:
    body = MessageToJson(message, indent=None).encode() if json else message.SerializeToString()
    headers = [
        (b"content-type", (JSON if json else PROTOBUF).encode()),
        (b"content-length", str(len(body)).encode()),
        *(extra or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": not complete})
