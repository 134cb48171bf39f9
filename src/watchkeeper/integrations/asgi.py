"""The ASGI middleware: metrics, span, request id and log context of a request, fused.

A request costs one context, one pair of clock reads, one span and one finish path. The route is what the router left in
the scope; nothing is matched again. Where somebody else already traces the request (contrib's middleware around or
inside, FastAPI itself with a provider of the application's), no second span is made: metrics and request id remain.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Awaitable, Callable
from typing import Any

from opentelemetry import propagate
from opentelemetry import trace as api
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.semconv.attributes.network_attributes import NETWORK_PROTOCOL_NAME
from opentelemetry.semconv.attributes.url_attributes import URL_PATH
from opentelemetry.trace import SpanKind

from watchkeeper.context import REQUEST_KEY, SPAN_KEY, Context, attach, detach, get_current
from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.exchange import KNOWN_METHODS, Exchange, Receive, Scope, Send, Settings
from watchkeeper.integrations.routes import route_of
from watchkeeper.logging.pipeline import REQUEST_ATTRIBUTE
from watchkeeper.metrics import exposition
from watchkeeper.tracing.current import CurrentSpan
from watchkeeper.tracing.http import UNMATCHED
from watchkeeper.tracing.propagation import RemoteParent, read_traceparent
from watchkeeper.tracing.tracer import Tracer, unsampled

App = Callable[[Scope, Receive, Send], Awaitable[None]]

SCOPE_KEY = "watchkeeper"  # marks a scope that an outer instrumented application already serves
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_BAGGAGE = W3CBaggagePropagator()
_FOREIGN_MIDDLEWARE = frozenset({"opentelemetry.instrumentation.asgi", "starlette.middleware.opentelemetry"})


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
        if (
            scope["type"] != "http"
            or SCOPE_KEY in scope
            or not (self.active and settings.enabled and self._seen_server)
            or scope["path"] == settings.metrics_path
        ):
            await self._serve_other(scope, receive, send)
            return
        try:
            headers = dict(scope["headers"])
            exchange = Exchange(settings, scope, headers, send)
            context = self._context(scope, headers, exchange)
            length = headers.get(b"content-length")
            if length is not None:
                exchange.request_bytes = int(length) if length.isdigit() else 0
            elif b"transfer-encoding" in headers:
                receive = exchange.counting(receive)
            scope[SCOPE_KEY] = True
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("request", failure)
            await self.app(scope, receive, send)
            return
        token = attach(context)
        try:
            await self.app(scope, receive, exchange.send)
        except BaseException as error:
            # Tied to its request for whoever logs it: servers do, after we have returned. A type may forbid attributes.
            with contextlib.suppress(Exception):
                setattr(error, REQUEST_ATTRIBUTE, exchange)
            exchange.finish(error)
            raise
        else:
            if not exchange.finished:
                exchange.finish()
        finally:
            detach(token)

    async def _serve_other(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Everything but an ordinary request."""
        settings = self._settings
        if not (self.active and settings.enabled) or SCOPE_KEY in scope:
            await self.app(scope, receive, send)
        elif not self._seen_server:
            # Servers configure logging after applications do: look again when the first one calls.
            self._seen_server = True
            settings.on_server_start()
            await self(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] in {"GET", "HEAD"}:
            await exposition.serve(scope, send)
        elif scope["type"] == "websocket" and not self._foreign_inside:
            await self._serve_websocket(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._serve_lifespan(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _serve_lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Untouched, but what waits is delivered at its end: uvicorn, stopped by a signal, runs no exit handlers."""

        async def delivering(message: Any) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                try:
                    self._settings.on_server_stop()  # no more than two seconds, and nobody is served any more
                except Exception as failure:  # noqa: BLE001  # the boundary
                    boundary.failed("shutdown", failure)
            await send(message)

        await self.app(scope, receive, delivering)

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A span for the connection's life; messages pass untouched."""
        if _already_traced(get_current()):
            await self.app(scope, receive, send)
            return
        span = self._span(scope, _remote_parent(scope, dict(scope["headers"])))
        span.set_attribute(NETWORK_PROTOCOL_NAME, "websocket")
        span.set_attribute(URL_PATH, scope["path"])
        scope[SCOPE_KEY] = True
        with CurrentSpan(lambda: span):
            try:
                await self.app(scope, receive, send)
            finally:
                route = route_of(scope)
                span.update_name("WS" if route == UNMATCHED else f"WS {route}")

    def _context(self, scope: Scope, headers: dict[bytes, bytes], exchange: Exchange) -> Context:
        """The request's context: its span (if it is ours to make), its baggage, itself."""
        settings = self._settings
        outer = get_current()
        if self._foreign_inside or (outer and _already_traced(outer)):
            exchange.request_id = self._request_id(headers, 0)
            return Context({**outer, REQUEST_KEY: exchange})
        if settings.standard_propagators:
            parent = _remote_parent(scope, headers)
            if b"baggage" in headers:
                outer = _BAGGAGE.extract({"baggage": headers[b"baggage"].decode("latin-1")}, outer)
        else:
            text = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
            outer = propagate.extract(text, outer)
            parent = _parent_in(outer.get(SPAN_KEY))
        span = exchange.span = self._span(scope, parent)
        starts_here = 0 if parent is not None else span.get_span_context().trace_id
        exchange.request_id = self._request_id(headers, starts_here)
        return Context({**outer, SPAN_KEY: span, REQUEST_KEY: exchange})

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
        method = scope.get("method", "WS")
        name = method if method in KNOWN_METHODS else "HTTP"  # until the route is known
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
    """Whether somebody above us, other than a request of ours that calls in-process, made a server span."""
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
    every_header = scope["headers"]
    if len(headers) != len(every_header):  # some header came twice
        if sum(name == b"traceparent" for name, _ in every_header) > 1:
            return None
        state = b",".join(value for name, value in every_header if name == b"tracestate")
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
