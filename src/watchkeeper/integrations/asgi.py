"""The ASGI middleware: metrics, span, request id and log context of a request, fused.

A request costs one context, one pair of clock reads, one span and one finish path. The route is what the router left in the scope;
nothing is matched again. Where somebody else already traces the request (contrib's middleware around or inside, FastAPI itself
with a provider of the application's), no second span is made: the metrics and the request id remain.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from opentelemetry import propagate
from opentelemetry import trace as api
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.trace import SpanKind, StatusCode

from watchkeeper.clock import SYSTEM_CLOCK, Clock
from watchkeeper.context import REQUEST_KEY, SPAN_KEY, Context, attach, detach, get_current
from watchkeeper.export.boundary import boundary
from watchkeeper.export.otlp.spans import UNMATCHED, http_attributes
from watchkeeper.integrations.routes import route_of
from watchkeeper.logging.pipeline import REQUEST_ATTRIBUTE
from watchkeeper.metrics import exposition
from watchkeeper.metrics.http import HttpMetrics
from watchkeeper.tracing.current import CurrentSpan
from watchkeeper.tracing.ids import Ids
from watchkeeper.tracing.propagation import RemoteParent, read_traceparent
from watchkeeper.tracing.span import HttpFacts, Span, type_name
from watchkeeper.tracing.tracer import Tracer, unsampled

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SCOPE_KEY = "watchkeeper"  # marks a scope that an outer instrumented application already serves
KNOWN_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})
SERVER_ERROR = 500
CLIENT_CLOSED_REQUEST = 499  # nginx's code for a client that left before an answer
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_BAGGAGE = W3CBaggagePropagator()
_FOREIGN_MIDDLEWARE = frozenset({"opentelemetry.instrumentation.asgi", "starlette.middleware.opentelemetry"})


class Settings:
    """What a middleware needs from the client. One object, shared and rewired, so that instrumented apps follow a new `configure`."""

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


class Exchange:
    """One HTTP request and its response."""

    __slots__ = (
        "_ended", "_gauge", "_late", "_send", "_settings", "_started", "finished", "headers", "method",
        "request_bytes", "request_id", "response_bytes", "scope", "span", "status",
    )  # fmt: skip

    def __init__(self, settings: Settings, scope: Scope, headers: dict[bytes, bytes], send: Send) -> None:
        self._settings = settings
        self._send = send
        self.scope = scope
        self.headers = headers
        self.span: api.Span | None = None
        self.request_id = ""
        self.request_bytes = 0
        self.response_bytes = 0
        self.status = 0  # until the response starts
        self.finished = False
        self._late = False  # the response goes on after its last body message
        self._ended = 0
        method = scope["method"]
        self.method: str = method if method in KNOWN_METHODS else "_OTHER"
        self._gauge = settings.metrics.in_progress(self.method)
        self._gauge.inner.inc()
        self._started = settings.clock.monotonic_ns()

    async def send(self, message: Message) -> None:
        """Passes a message on, noting what it says."""
        kind = message["type"]
        if kind == "http.response.body":
            body = message.get("body")
            if body:
                self.response_bytes += len(body)
            if not message.get("more_body") and not self._late:
                await self._send(message)
                self._ended = self._settings.clock.monotonic_ns()
                # An unhandled exception reaches us after the 500 that answers it, so such responses are finished on return.
                if self.status < SERVER_ERROR:
                    self.finish()
                return
        elif kind == "http.response.start":
            self.status = message["status"]
            self._late = bool(message.get("trailers"))
            headers = list(message.get("headers", ()))
            if not any(name == b"x-request-id" for name, _ in headers):
                headers.append((b"x-request-id", self.request_id.encode("latin-1")))
                message = {**message, "headers": headers}  # a copy: applications send one response object many times
        await self._send(message)

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
        try:
            self._finish(error)
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("request", failure)

    def _finish(self, error: BaseException | None) -> None:
        settings, scope, method = self._settings, self.scope, self.method
        self._gauge.inner.dec()
        route = route_of(scope)
        failed, status, kind = isinstance(error, Exception), self.status, ""
        if error is not None:
            kind = type_name(error)
            status = status or (SERVER_ERROR if failed else CLIENT_CLOSED_REQUEST)
        elif not self._ended:
            kind, status, failed = "incomplete_response", status or SERVER_ERROR, True
        elif status >= SERVER_ERROR:
            kind, failed = str(status), True
        duration = (self._ended or settings.clock.monotonic_ns()) - self._started
        bound = settings.metrics.bound(method, route, status)
        bound.count()
        bound.duration_seconds(duration / 1e9)
        bound.request_bytes(self.request_bytes)
        bound.response_bytes(self.response_bytes)
        if failed:
            settings.metrics.error(method, route, kind)
        if self.span is not None and self.span.is_recording():
            self._finish_span(self.span, route, status, kind, error if failed else None, failed, duration)

    def _finish_span(
        self,
        span: api.Span,
        route: str,
        status: int,
        kind: str,
        error: BaseException | None,
        failed: bool,
        duration: int,
    ) -> None:
        scope, method = self.scope, self.method
        words = "HTTP" if method == "_OTHER" else method
        facts = HttpFacts(
            method, scope["method"] if method == "_OTHER" else "", route, status, scope.get("scheme", "http"),
            scope.get("http_version", ""), self.headers.get(b"host", b""), self.headers.get(b"user-agent", b""),
            scope.get("client"), scope["path"], scope.get("query_string", b""), kind,
        )  # fmt: skip
        if failed:
            if error is not None:
                span.record_exception(error, timestamp=span.start_time + duration if type(span) is Span else None)
            span.set_status(StatusCode.ERROR)
        if route != UNMATCHED:
            span.update_name(f"{words} {route}")
        if type(span) is Span:
            span.http = facts
            span.end(span.start_time + duration)
        else:
            span.set_attributes(http_attributes(facts))
            span.end()


class Middleware:
    """Serves an application with the SDK around it."""

    def __init__(self, app: App, settings: Settings) -> None:
        self.app = app
        self.active = True  # False after uninstrument
        self._settings = settings
        self._foreign_inside = traced_inside(app)
        self._seen_server = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection, as ASGI has it."""
        settings = self._settings
        if not self.active or not settings.enabled or SCOPE_KEY in scope:
            return await self.app(scope, receive, send)
        if (
            not self._seen_server
        ):  # servers configure logging after applications do: look again when the first one calls
            self._seen_server = True
            settings.on_server_start()
        kind = scope["type"]
        if kind == "http":
            if scope["path"] == settings.metrics_path and scope["method"] in {"GET", "HEAD"}:
                return await exposition.serve(scope, send)
            return await self._http(scope, receive, send)
        if kind == "websocket" and not self._foreign_inside:
            return await self._websocket(scope, receive, send)
        return await self.app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            headers = dict(scope["headers"])
            exchange = Exchange(self._settings, scope, headers, send)
            context = self._context(scope, headers, exchange)
            length = headers.get(b"content-length")
            if length is not None:
                exchange.request_bytes = int(length) if length.isdigit() else 0
            elif b"transfer-encoding" in headers:
                receive = exchange.counting(receive)
            scope[SCOPE_KEY] = True
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("request", failure)
            return await self.app(scope, receive, send)
        token = attach(context)
        try:
            await self.app(scope, receive, exchange.send)
        except BaseException as error:
            _mark(error, exchange)
            exchange.finish(error)
            raise
        else:
            exchange.finish()
        finally:
            detach(token)

    def _context(self, scope: Scope, headers: dict[bytes, bytes], exchange: Exchange) -> Context:
        """The request's context: its span (if it is ours to make), its baggage, itself."""
        settings = self._settings
        outer = get_current()
        values: dict[str, object] = dict(outer)
        values[REQUEST_KEY] = exchange
        if self._foreign_inside or _already_traced(outer):
            exchange.request_id = self._request_id(headers, 0)
            return Context(values)
        if settings.standard_propagators:
            parent = _remote_parent(scope, headers)
            if b"baggage" in headers:
                values = dict(_BAGGAGE.extract({"baggage": headers[b"baggage"].decode("latin-1")}, Context(values)))
        else:
            text = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
            values = dict(propagate.extract(text, Context(values)))
            parent = _parent_in(values.get(SPAN_KEY))
        span = self._span(scope, parent)
        exchange.span = values[SPAN_KEY] = span
        if parent is not None:
            trace_id = 0
        else:
            trace_id = span.trace_id if type(span) is Span else span.get_span_context().trace_id
        exchange.request_id = self._request_id(headers, trace_id)
        return Context(values)

    def _request_id(self, headers: dict[bytes, bytes], trace_id: int) -> str:
        """The caller's X-Request-ID if it is usable, else the id of the trace that starts here, else a new one."""
        given = headers.get(b"x-request-id")
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given.decode("latin-1")
        return f"{trace_id or self._settings.ids.trace_id():032x}"

    def _span(self, scope: Scope, parent: RemoteParent | None) -> api.Span:
        settings = self._settings
        tracer, ids = settings.tracer, settings.ids
        if scope["path"].startswith(settings.excluded_prefixes) or self._excluded(scope):
            return unsampled(ids.trace_id() if parent is None else parent.trace_id, ids.span_id())
        name = scope.get("method", "WS") if scope.get("method", "WS") in KNOWN_METHODS else "HTTP"
        if not isinstance(tracer, Tracer):
            return tracer.start_span(name, _foreign_parent(parent), SpanKind.SERVER)
        if parent is None:
            return tracer.span_below(name, SpanKind.SERVER, ids.trace_id(), 0, False, 0, "")
        trace_id, parent_id, flags, state = parent
        return tracer.span_below(name, SpanKind.SERVER, trace_id, parent_id, True, flags, state)

    def _excluded(self, scope: Scope) -> bool:
        pattern = self._settings.excluded_urls
        if pattern is None:
            return False
        host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
        return pattern.search(f"{scope.get('scheme', 'http')}://{host}{scope['path']}") is not None

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A span for the connection's life; messages pass untouched."""
        try:
            headers = dict(scope["headers"])
            span = self._span(scope, _remote_parent(scope, headers))
            span.set_attribute("network.protocol.name", "websocket")
            span.set_attribute("url.path", scope["path"])
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("websocket", failure)
            return await self.app(scope, receive, send)
        scope[SCOPE_KEY] = True
        with CurrentSpan(lambda: span):
            try:
                await self.app(scope, receive, send)
            finally:
                route = route_of(scope)
                span.update_name(f"WS {route}" if route != UNMATCHED else "WS")


def traced_inside(app: Any) -> bool:
    """Whether a middleware of somebody else's below us makes the request's span."""
    seen: set[int] = set()
    while app is not None and id(app) not in seen:
        seen.add(id(app))
        if type(app).__module__ in _FOREIGN_MIDDLEWARE:
            return True
        app = getattr(app, "app", None)
    return False


def _already_traced(outer: Context) -> bool:
    """Whether somebody above us, other than a request of ours that calls this application in-process, made a server span."""
    span: Any = outer.get(SPAN_KEY)
    if span is None or getattr(span, "kind", None) is not SpanKind.SERVER or not span.is_recording():
        return False
    enclosing: Any = outer.get(REQUEST_KEY)
    return enclosing is None or enclosing.span is not span


def _remote_parent(scope: Scope, headers: dict[bytes, bytes]) -> RemoteParent | None:
    header = headers.get(b"traceparent")
    if header is None:
        return None
    state = headers.get(b"tracestate", b"")
    if len(headers) != len(scope["headers"]):  # some header came twice
        all_headers = list(scope["headers"])
        if sum(name == b"traceparent" for name, _ in all_headers) > 1:
            return None
        state = b",".join(value for name, value in all_headers if name == b"tracestate")
    return read_traceparent(header, state)


def _parent_in(span: Any) -> RemoteParent | None:
    context = span.get_span_context() if isinstance(span, api.Span) else None
    if context is None or not context.is_valid or not context.is_remote:
        return None
    return RemoteParent(context.trace_id, context.span_id, int(context.trace_flags), context.trace_state.to_header())


def _foreign_parent(parent: RemoteParent | None) -> Context:
    """The parent as other providers want it; an empty context where the request starts a trace."""
    if parent is None:
        return Context()
    state = api.TraceState.from_header([parent.trace_state]) if parent.trace_state else None
    identity = api.SpanContext(parent.trace_id, parent.span_id, True, api.TraceFlags(parent.flags), state)
    return Context({SPAN_KEY: api.NonRecordingSpan(identity)})


def _mark(error: BaseException, exchange: Exchange) -> None:
    """Ties an exception to its request, for the server's log line about it."""
    try:
        setattr(error, REQUEST_ATTRIBUTE, exchange)
    except Exception:  # noqa: BLE001, S110  # an exception type may forbid it; the line then lacks its ids, nothing else
        pass
