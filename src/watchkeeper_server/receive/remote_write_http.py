"""Remote write over HTTP: `POST /api/v1/write`, version 1.0 and 2.0, as a bare ASGI application.

The version is in the Content-Type; without one it is 1.0, and without a Content-Encoding it is snappy, as Prometheus
has it. An item at fault is left out and answered 400, the rest of its request is stored: a sender must not
repeat it (2.0, "partial write"). Both versions are told what was written in headers.

Sources: https://prometheus.io/docs/specs/prw/remote_write_spec/, …/remote_write_spec_2_0/
"""

from __future__ import annotations

from typing import Any

from watchkeeper_server.receive.bodies import IncomingBody
from watchkeeper_server.receive.plain_http import Receive, Scope, Send, decompressed_body, headers_of, refuse, respond
from watchkeeper_server.receive.refusal import Reason, RefusedError
from watchkeeper_server.receive.remote_write import SIGNAL, Decode, RemoteWriteReceiver, Written
from watchkeeper_server.receive.remote_write_v1 import decode_v1
from watchkeeper_server.receive.remote_write_v2 import decode_v2

PATH = "/api/v1/write"
_PROTOBUF = "application/x-protobuf"
_VERSIONS: dict[str, Decode] = {"prometheus.WriteRequest": decode_v1, "io.prometheus.write.v2.Request": decode_v2}
_WRITTEN = "x-prometheus-remote-write"


class RemoteWriteHttp:
    """An ASGI application for `PATH`."""

    def __init__(self, receiver: RemoteWriteReceiver) -> None:
        """Serve with this receiver."""
        self._receiver = receiver

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] != "POST":
            await respond(send, 405, f"{PATH} takes POST, not {scope['method']}", {"allow": "POST"})
            return
        with IncomingBody(receive, self._receiver.intake) as incoming:
            await self._write(incoming, headers_of(scope), send)

    async def _write(self, incoming: IncomingBody, headers: dict[str, str], send: Send) -> None:
        try:
            decode = self._version(headers.get("content-type", ""))
            headers.setdefault("content-encoding", "snappy")
            body = await decompressed_body(incoming, headers)
        except ConnectionResetError:
            return
        except RefusedError as error:
            self._receiver.events.refused(SIGNAL, error.reason.label, error.items)
            await refuse(send, error, incoming, _written(Written()))
            return
        try:
            written = await self._receiver.receive(body, decode)
        except RefusedError as error:
            await refuse(send, error, incoming, _written(Written()))
            return
        if written.message:
            await respond(send, 400, written.message, _written(written))
        else:
            await respond(send, 204, "", _written(written))

    def _version(self, content_type: str) -> Decode:
        """How to decode what has this Content-Type."""
        media, *parameters = (part.strip() for part in content_type.split(";"))
        if media.lower() not in ("", _PROTOBUF):
            raise RefusedError(Reason.UNSUPPORTED, f"Content-Type {media!r} is not supported; use {_PROTOBUF}")
        protos = [value for name, _, value in (part.partition("=") for part in parameters) if name.lower() == "proto"]
        proto = protos[0] if protos else "prometheus.WriteRequest"
        if proto not in _VERSIONS:
            raise RefusedError(
                Reason.UNSUPPORTED, f"the message {proto!r} is not supported; use one of {', '.join(_VERSIONS)}"
            )
        return _VERSIONS[proto]


def _written(written: Written) -> dict[str, Any]:
    return {
        f"{_WRITTEN}-samples-written": str(written.samples),
        f"{_WRITTEN}-histograms-written": str(written.histograms),
        f"{_WRITTEN}-exemplars-written": str(written.exemplars),
    }
