"""A WebSocket's span and ids: how the connection ended, by a code, an exception, or the client's leaving."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, MutableMapping
from typing import Any

from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import Span, StatusCode

from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.exchange import told_of_leaving
from watchkeeper.integrations.routes import route_of
from watchkeeper.tracing.http import UNMATCHED
from watchkeeper.tracing.identity import identity_of
from watchkeeper.tracing.span import type_name

CLOSE_CODE = "websocket.close_code"  # OpenTelemetry has no name for it yet
_INTERNAL_ERROR = 1011  # RFC 6455: the server could not go on
_NORMAL = 1000


class WebSocket:
    """What passes between a server and an application; nothing of it changes.

    It is the request of whatever is done for the connection: its ids are on the log lines, and go along with calls.
    """

    __slots__ = ("_ended", "_receive", "_send", "_span", "bound", "breadcrumbs", "correlation_id", "request_id", "span")

    def __init__(self, span: Span, headers: Mapping[bytes, bytes], receive: Any, send: Any) -> None:
        self._span = span
        self.span: Span | None = span
        self.request_id = headers.get(b"x-request-id", b"").decode("latin-1")  # as sent, until the opening
        self.correlation_id = headers.get(b"x-correlation-id", b"").decode("latin-1")
        self.bound: dict[str, Any] | None = None
        self.breadcrumbs: deque[Any] | None = None
        self._receive = receive
        self._send = send
        self._ended = False

    async def receive(self) -> Any:
        """Passes a message of the client's on, noting that it leaves."""
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._close(message.get("code", _NORMAL))
        return message

    async def send(self, message: Any) -> None:
        """Passes a message of the application's on, noting that it closes the connection, or refuses it."""
        kind = message["type"]
        if kind == "websocket.close":
            code = message.get("code", _NORMAL)
            self._close(code)
            if code == _INTERNAL_ERROR:
                self._failed(str(code))
        await self._send(message)

    def end(self, scope: MutableMapping[str, Any], error: BaseException | None = None) -> None:
        """Ends the span, by its route. Never raises.

        `error` is what left the application; the client's leaving and a cancellation are no failures.
        """
        span = self._span
        try:
            if isinstance(error, Exception) and not told_of_leaving(error):
                self._failed(type_name(error))
                span.record_exception(error)
            route = route_of(scope)
            if self.bound or self.correlation_id != self.request_id:
                span.set_attributes(identity_of(self))
            span.update_name("WS" if route == UNMATCHED else f"WS {route}")
            span.end()
        except Exception as failure:  # noqa: BLE001  # the boundary: processors may be the application's own
            boundary.failed("websocket", failure)

    def _close(self, code: int) -> None:
        if not self._ended:
            self._ended = True
            self._span.set_attribute(CLOSE_CODE, code)

    def _failed(self, error_type: str) -> None:
        self._span.set_attribute(ERROR_TYPE, error_type)
        self._span.set_status(StatusCode.ERROR)
