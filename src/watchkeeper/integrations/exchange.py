"""One HTTP request and its response, as the middleware sees them: one pair of clock reads, one finish path."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from opentelemetry import trace as api
from opentelemetry.trace import StatusCode

from watchkeeper.clock import SYSTEM_CLOCK, Clock
from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.routes import route_of
from watchkeeper.metrics.http import HttpMetrics, Sample
from watchkeeper.tracing.http import UNMATCHED, HttpFacts
from watchkeeper.tracing.ids import Ids
from watchkeeper.tracing.span import Span, type_name

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

KNOWN_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})
OTHER_METHOD = "_OTHER"
SERVER_ERROR = 500
CLIENT_CLOSED_REQUEST = 499  # nginx's status for a client that left before an answer
_PARTS_OF_A_BODY = frozenset(
    {
        "http.response.body",
        "http.response.pathsend",
        "http.response.trailers",
        "http.response.zerocopysend",
    }
)


class Settings:
    """What the middleware needs from the client.

    One object, shared and rewired, so that instrumented applications follow a new `configure`.
    """

    def __init__(self, metrics: HttpMetrics, tracer: api.Tracer, ids: Ids, clock: Clock = SYSTEM_CLOCK) -> None:
        self.metrics = metrics
        self.tracer = tracer
        self.ids = ids
        self.clock = clock
        self.metrics_path = ""
        self.excluded_urls: re.Pattern[str] | None = None
        self.excluded_prefixes: tuple[str, ...] = ()
        self.standard_propagators = True  # else headers are read by OpenTelemetry's configured ones
        self.enabled = False
        self.on_server_start: Callable[[], None] = lambda: None
        self.on_server_stop: Callable[[], object] = lambda: None


class Exchange:
    """A request being served. `span` and `request_id` are the middleware's to fill in."""

    __slots__ = (
        "_active",
        "_ended",
        "_send",
        "_settings",
        "_started",
        "_trailers",
        "finished",
        "headers",
        "method",
        "request_bytes",
        "request_id",
        "response_bytes",
        "scope",
        "span",
        "status",
    )

    def __init__(self, settings: Settings, scope: Scope, headers: dict[bytes, bytes], send: Send) -> None:
        self._settings = settings
        self._send = send
        self._trailers = False
        self._ended = 0  # when the response was complete
        self.scope = scope
        self.headers = headers
        self.span: api.Span | None = None  # the one to end; None if somebody else's span serves
        self.request_id = ""
        self.request_bytes = self.response_bytes = 0
        self.status = 0  # until the response starts
        self.finished = False
        method = scope["method"]
        self.method: str = method if method in KNOWN_METHODS else OTHER_METHOD
        self._active = settings.metrics.active(self.method)
        self._active.add(self)
        self._started = settings.clock.monotonic_ns()

    async def send(self, message: Message) -> None:
        """Passes a message on, noting what it says."""
        kind = message["type"]
        if kind == "http.response.start":
            self.status = message["status"]
            self._trailers = bool(message.get("trailers"))
            headers = list(message.get("headers", ()))
            for name, _ in headers:
                if name == b"x-request-id":
                    break
            else:
                headers.append((b"x-request-id", self.request_id.encode("latin-1")))
                message = {**message, "headers": headers}  # a copy: a response object may be sent many times
            await self._send(message)
            return
        body = message.get("body")
        if body:
            self.response_bytes += len(body)
        await self._send(message)
        if kind in _PARTS_OF_A_BODY and not message.get("more_body") and not message.get("more_trailers"):
            if self._trailers and kind != "http.response.trailers":
                return
            self._ended = self._settings.clock.monotonic_ns()
            # An unhandled exception reaches us after the 500 that answers it: such responses are finished on return.
            if self.status < SERVER_ERROR:
                self.finish()

    def counting(self, receive: Receive) -> Receive:
        """A `receive` that counts the body, for requests that do not declare its size."""

        async def counted() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                self.request_bytes += len(message.get("body", b""))
            return message

        return counted

    def finish(self, error: BaseException | None = None) -> None:
        """Updates metrics and ends the span, once."""
        if self.finished:
            return
        self.finished = True
        self._active.discard(self)
        try:
            ended = self._ended
            duration = (ended or self._settings.clock.monotonic_ns()) - self._started
            if error is None and ended and self.status < SERVER_ERROR:
                self._record(self.status, "", duration)
            else:
                self._finish_failed(error, duration)
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("request", failure)

    def _finish_failed(self, error: BaseException | None, duration: int) -> None:
        """The finish of a request that did not go well: by exception, by status, or by nothing having been said."""
        failed = True
        if error is not None:
            failed = isinstance(error, Exception)  # a cancellation is the client's leaving, and no failure of ours
            kind, status = type_name(error), self.status or (SERVER_ERROR if failed else CLIENT_CLOSED_REQUEST)
        elif self._ended:
            kind, status = str(self.status), self.status
        else:
            kind, status = "incomplete_response", self.status or SERVER_ERROR
        span = self.span
        if failed:
            self._settings.metrics.error(self.method, route_of(self.scope), kind)
            if span is not None and span.is_recording():
                if error is not None:
                    span.record_exception(error, timestamp=span.start_time + duration if type(span) is Span else None)
                span.set_status(StatusCode.ERROR)
        self._record(status, kind, duration)

    def _record(self, status: int, error_type: str, duration: int) -> None:
        """Hands the sample and the span over."""
        scope, method = self.scope, self.method
        route = route_of(scope)
        self._settings.metrics.add(
            Sample((method, route, status), duration / 1e9, self.request_bytes, self.response_bytes)
        )
        span = self.span
        if span is None or not span.is_recording():
            return
        headers = self.headers
        facts = HttpFacts(
            method,
            "" if method != OTHER_METHOD else scope["method"],
            route,
            status,
            scope.get("scheme", "http"),
            scope.get("http_version", ""),
            headers.get(b"host", b""),
            headers.get(b"user-agent", b""),
            scope.get("client"),
            scope["path"],
            scope.get("query_string", b""),
            error_type,
        )
        if route != UNMATCHED:
            span.update_name(f"{method} {route}" if method != OTHER_METHOD else f"HTTP {route}")
        if type(span) is Span:
            span.http = facts
            span.end(span.start_time + duration)
        else:
            span.set_attributes(facts.attributes())
            span.end()
