"""The ASGI middleware: metrics, span, request id and log context of a request, fused.

A request costs one context, one pair of clock reads, one span and one finish path. The route is what the router left in
the scope; nothing is matched again.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from opentelemetry.semconv.attributes.network_attributes import NETWORK_PROTOCOL_NAME
from opentelemetry.semconv.attributes.url_attributes import URL_PATH

from watchkeeper.context import (
    REQUEST_KEY,
    SPAN_KEY,
    Context,
    attach,
    current_request,
    detach,
    get_current,
)
from watchkeeper.endpoints import Answer, Asked, Endpoint, answering, endpoints
from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.bridges import enclosing
from watchkeeper.integrations.claims import claims
from watchkeeper.integrations.exchange import (
    CLIENT_LEFT,
    INCOMPLETE,
    LONGEST_LENGTH,
    OTHER_METHOD,
    SERVER_ERROR,
    Exchange,
    Settings,
)
from watchkeeper.integrations.opening import already_traced, identify, middleware_inside, open_request, server_span
from watchkeeper.integrations.routes import route_of
from watchkeeper.integrations.websockets import WebSocket
from watchkeeper.logging.pipeline import REQUEST_ATTRIBUTE
from watchkeeper.tracing.http import UNMATCHED, HttpFacts
from watchkeeper.tracing.propagation import RemoteParent, read_traceparent

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SCOPE_KEY = "watchkeeper"  # marks a scope that an outer instrumented application already serves
# Where FastAPI (since 0.142) keeps what it tells of a request; one that is mounted below sees it, and tells nothing.
_FASTAPIS_KEY = "fastapi.telemetry"
_FOREIGN_MIDDLEWARE = frozenset({"opentelemetry.instrumentation.asgi", "starlette.middleware.opentelemetry"})
_REQUEST_ID_LENGTH, _CORRELATION_ID_LENGTH = len("x-request-id"), len("x-correlation-id")
_PARTS_OF_A_BODY = frozenset(
    {
        "http.response.body",
        "http.response.pathsend",
        "http.response.trailers",
        "http.response.zerocopysend",
    }
)


class Middleware:
    """Serves an application with the SDK around it."""

    def __init__(self, app: App, settings: Settings, traced_inside: bool = False) -> None:
        self.app = app
        self.active = True  # False after uninstrument
        self._settings = settings
        self._foreign_inside = traced_inside or middleware_inside(app, _FOREIGN_MIDDLEWARE, "app")
        self._seen_server = False
        self._claimed: dict[str, bool] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection, as ASGI has it."""
        settings = self._settings
        if (
            scope["type"] != "http"
            or SCOPE_KEY in scope
            or not (self.active and settings.enabled and self._seen_server)
            or (scope["path"] in endpoints.by_path and not self._is_claimed(scope["path"]))
        ):
            await self._serve_other(scope, receive, send)
            return
        outer = _enclosing(scope) if get_current() else None
        if outer is not None:
            _serve_alone(scope)
            await self.app(scope, receive, _telling_route(scope, send, outer))
            return
        exchange: AsgiExchange | None = None
        try:
            exchange = AsgiExchange(settings, scope, receive, send)
            context = open_request(settings, exchange, self._foreign_inside)
            _serve_alone(scope)
        except Exception as failure:  # noqa: BLE001  # the boundary
            if exchange is not None:
                exchange.abandon()
            boundary.failed("request", failure)
            await self.app(scope, receive, send)
            return
        token = attach(context)
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except BaseException as error:
            # Tied to its request for whoever logs it: servers do, after we have returned. A type may forbid attributes.
            with contextlib.suppress(Exception):
                setattr(error, REQUEST_ATTRIBUTE, exchange)
            exchange.finish(error)
            raise
        else:
            if not exchange.finished:
                exchange.finish(incomplete=CLIENT_LEFT if exchange.left else INCOMPLETE)
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
            await _serve_endpoint(scope, send)
        elif scope["type"] == "websocket" and not self._foreign_inside:
            await self._serve_websocket(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._serve_lifespan(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _is_claimed(self, path: str) -> bool:
        """Whether the application has a route of its own where an endpoint would yield to it. Found out once a path."""
        claimed = self._claimed.get(path)
        if claimed is None:
            endpoint = endpoints.by_path.get(path)
            if endpoint is None:  # given up just now
                return True
            claimed = self._claimed[path] = endpoint.yields and claims(self.app, path, "app")
        return claimed

    async def _serve_lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Untouched, but what waits is delivered at its end: uvicorn, stopped by a signal, runs no exit handlers.

        Readiness is told how far it is.
        """

        async def noted() -> Message:
            message = await receive()
            self._settings.on_lifespan(message["type"])
            return message

        async def delivering(message: Any) -> None:
            self._settings.on_lifespan(message["type"])
            if message["type"].startswith("lifespan.shutdown."):
                try:
                    self._settings.on_server_stop()  # no more than two seconds, and nobody is served any more
                except Exception as failure:  # noqa: BLE001  # the boundary
                    boundary.failed("shutdown", failure)
            elif message["type"] == "lifespan.startup.complete":
                self._settings.on_server_start()  # again: the application has set itself up now, and the event loop
            await send(message)

        try:
            await self.app(scope, noted, delivering)
        finally:
            self._settings.on_lifespan("")

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A span and ids for the connection's life; messages pass untouched."""
        if already_traced(get_current()):
            await self.app(scope, receive, send)
            return
        try:
            headers = dict(scope["headers"])
            parent = _remote_parent(scope, headers)
            span = server_span(self._settings, "WS", scope["path"], lambda: _url(scope), parent)
            span.set_attribute(NETWORK_PROTOCOL_NAME, "websocket")
            span.set_attribute(URL_PATH, scope["path"])
            socket = WebSocket(span, headers, receive, send)
            identify(self._settings, socket, span.get_span_context().trace_id if parent is None else 0)
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("websocket", failure)
            await self.app(scope, receive, send)
            return
        _serve_alone(scope)
        token = attach(Context({**get_current(), SPAN_KEY: span, REQUEST_KEY: socket}))
        try:
            await self.app(scope, socket.receive, socket.send)
        except BaseException as error:
            socket.end(scope, error)
            raise
        else:
            socket.end(scope)
        finally:
            detach(token)


class Inside:
    """Stands inside of an application's own middlewares: one of them may answer for an exception, and tell nobody."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Whatever comes, with a look at what leaves."""
        try:
            await self.app(scope, receive, send)
        except Exception as error:
            request = current_request()
            if isinstance(request, Exchange):
                request.note(error)
            raise


class AsgiExchange(Exchange):
    """A request that came by ASGI: a scope, and messages."""

    __slots__ = ("_headers", "_receive", "_send", "_trailers", "_uncounted", "left", "scope")

    def __init__(self, settings: Settings, scope: Scope, receive: Receive, send: Send) -> None:
        Exchange.__init__(self, settings, scope["method"], scope["path"])
        headers: dict[bytes, bytes] = dict(scope["headers"])
        self._headers = headers
        self._receive = receive
        self._send = send
        self._trailers = False
        self._uncounted = False  # whether the request has a body and does not say how long it is
        self.left = False  # the client, as far as we were told
        self.scope = scope
        if b"content-length" in headers:
            length = headers[b"content-length"]
            self.request_bytes = int(length) if length.isdigit() and len(length) <= LONGEST_LENGTH else 0
        elif b"transfer-encoding" in headers:
            self._uncounted = True
        if b"x-request-id" in headers:  # most requests have none of these
            self.request_id = self.header("x-request-id") or ""
        if b"x-correlation-id" in headers:
            self.correlation_id = self.header("x-correlation-id") or ""
        if b"baggage" in headers:
            self.baggage = self.header("baggage")

    async def receive(self) -> Message:
        """Passes the server's messages on, noting the size of the request's body and a client's leaving.

        Servers go on as if nothing were when a client leaves; what is streamed to it just ends then.
        """
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.left = True
        elif self._uncounted:
            self.request_bytes += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        """Passes a message on, noting what it says."""
        kind = message["type"]
        if kind == "http.response.start":
            await self._send(self._started_with(message))
            return
        body = message.get("body")
        if body:
            self.response_bytes += len(body)
        await self._send(message)
        if kind in _PARTS_OF_A_BODY and not message.get("more_body") and not message.get("more_trailers"):
            if self._trailers and kind != "http.response.trailers":
                return
            self.end()
            # An unhandled exception reaches us after the 500 that answers it: such responses are finished on return.
            if self.status < SERVER_ERROR:
                self.finish()

    def _started_with(self, message: Message) -> Message:
        """Notes what the response's start says, and adds our ids: the message to be sent."""
        self.status = message["status"]
        if self.status >= SERVER_ERROR:
            self._look_for_cause()
        self._trailers = bool(message.get("trailers"))
        headers = list(message.get("headers", ()))
        missing = correlation_missing = True
        for name, _ in headers:  # Django and others leave names as they were written
            size = len(name)
            if size == _REQUEST_ID_LENGTH and name.lower() == b"x-request-id":
                missing = False
            elif size == _CORRELATION_ID_LENGTH and name.lower() == b"x-correlation-id":
                correlation_missing = False
        if missing:
            headers.append((b"x-request-id", self.request_id.encode("latin-1")))
        if correlation_missing:
            headers.append((b"x-correlation-id", self.returned_correlation_id().encode("latin-1")))
        return {**message, "headers": headers}  # a copy: a response object may be sent many times

    def _look_for_cause(self) -> None:
        """Notes the exception that this answer is for: a framework sends it while it handles that.

        One that only says what to answer, such as Starlette's HTTPException, says no more than the status.
        """
        handled = sys.exc_info()[1]
        if handled is not None:
            self.note(handled)
        if self.noted is not None and getattr(self.noted[0], "status_code", None) == self.status:
            self.noted = None

    def remote_parent(self) -> RemoteParent | None:
        """The caller's span; two traceparents are none."""
        return _remote_parent(self.scope, self._headers)

    def header(self, name: str) -> str | None:
        """A header of the request; the values of one that came several times are joined, as RFC 9110 says."""
        key = name.encode("latin-1")
        value = self._headers.get(key)
        if value is None:
            return None
        if len(self._headers) != len(self.scope["headers"]):  # some header came twice
            value = b",".join([one for each, one in self.scope["headers"] if each == key])
        return value.decode("latin-1")

    def headers(self) -> Mapping[str, str]:
        """All headers, joined likewise."""
        names = (name.decode("latin-1") for name in self._headers)
        return {name: self.header(name) or "" for name in names}

    def url(self) -> str:
        """`scheme://host/path`."""
        return _url(self.scope)

    def route(self) -> str:
        """The template that the router left in the scope."""
        return self.inner_route or route_of(self.scope)

    def root(self) -> str:
        """`root_path`, as it was before any mount."""
        root: str = self.scope.get("app_root_path", self.scope.get("root_path", ""))
        return root

    def facts(self, route: str, status: int, error_type: str) -> HttpFacts:
        """What the span is to say."""
        scope, headers = self.scope, self._headers
        repeating = (
            self.method,
            "" if self.method != OTHER_METHOD else self.original_method,
            route,
            status,
            scope.get("scheme", "http"),
            scope.get("http_version", ""),
            headers.get(b"host", b""),
            error_type,
        )
        query, user_agent = scope.get("query_string", b""), headers.get(b"user-agent", b"")
        return repeating, self.path, query, user_agent, scope.get("client")


def _serve_alone(scope: Scope) -> None:
    """Lets applications that are mounted below, instrumented or FastAPI's, know that the request has its span."""
    scope[SCOPE_KEY] = True
    if _FASTAPIS_KEY not in scope:  # else a FastAPI around us tells by itself
        scope[_FASTAPIS_KEY] = None


def _enclosing(scope: Scope) -> Exchange | None:
    """The request of a WSGI middleware that this one is."""

    def header(name: str) -> str | None:
        key = name.encode("latin-1")
        value: bytes | None = dict(scope["headers"]).get(key)  # the last one
        return None if value is None else value.decode("latin-1")

    return enclosing(scope["method"], scope["path"], header)


def _telling_route(scope: Scope, send: Send, outer: Exchange) -> Send:
    """The server's, which lets the request know who serves it."""
    taken = scope.get("root_path", "").removeprefix(outer.root())

    async def telling(message: Message) -> None:
        if message["type"] == "http.response.start":
            route = route_of(scope)
            outer.inner_route = "" if route == UNMATCHED else taken + route
        await send(message)

    return telling


async def _serve_endpoint(scope: Scope, send: Send) -> None:
    """Answers what asks for one of the SDK's own endpoints; what takes time, from a thread nobody waits for."""
    query = scope.get("query_string", b"").decode("latin-1")
    asked = Asked(scope["path"], _listed(scope, b"accept"), query, _listed(scope, b"accept-encoding"))
    endpoint = endpoints.by_path[asked.path]
    status, content_type, body, encoding = endpoint.now(asked) or await _in_thread(endpoint, asked)
    headers = [
        (b"content-type", content_type.encode("latin-1")),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    if encoding:
        headers += [(b"content-encoding", encoding.encode("latin-1")), (b"vary", b"accept-encoding")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _listed(scope: Scope, name: bytes) -> str:
    """A header that is a list, and may come more than once."""
    return b",".join([value for header, value in scope["headers"] if header == name]).decode("latin-1")


async def _in_thread(endpoint: Endpoint, asked: Asked) -> Answer:
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # another event loop (trio) drives the application
        return endpoint.answer(asked)
    return await answering.answer(endpoint, asked)


def _url(scope: Scope) -> str:
    host: bytes = dict(scope["headers"]).get(b"host", b"")
    return f"{scope.get('scheme', 'http')}://{host.decode('latin-1')}{scope['path']}"


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
