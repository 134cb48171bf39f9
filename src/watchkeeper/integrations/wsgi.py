"""The WSGI middleware: metrics, span, request id and log context of a request, fused, as the ASGI one does it.

The context is the request's while the application runs: in its call, in each step of the body's iterator and in its
`close`; never in between, where the thread is the server's. A response is complete when its iterator ends, or when
all of its Content-Length has been handed over, whichever comes first. A body of one list is finished on return, and a
`wsgi.file_wrapper` stays one, so that the server still sends the file itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from watchkeeper.context import Context, attach, detach, get_current
from watchkeeper.endpoints import Asked, endpoints
from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.bridges import enclosing
from watchkeeper.integrations.claims import claims
from watchkeeper.integrations.exchange import CLIENT_LEFT, INCOMPLETE, LONGEST_LENGTH, OTHER_METHOD, Exchange, Settings
from watchkeeper.integrations.opening import middleware_inside, open_request
from watchkeeper.integrations.server_lines import ENVIRON_KEY
from watchkeeper.integrations.templates import flask_template
from watchkeeper.logging.pipeline import REQUEST_ATTRIBUTE
from watchkeeper.tracing.http import UNMATCHED, HttpFacts
from watchkeeper.tracing.propagation import RemoteParent, read_traceparent

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

ROUTE_KEY = "watchkeeper.route"  # the route's template, from whoever knows it
_FOREIGN_MIDDLEWARE = frozenset({"opentelemetry.instrumentation.wsgi"})
HOLDERS = ("wsgi", "app", "application", "wsgi_app")  # attributes under which middlewares keep what they wrap
_NO_BODY = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


class Middleware:
    """Serves an application with the SDK around it."""

    def __init__(self, app: App, settings: Settings, traced_inside: Callable[[], bool] | None = None) -> None:
        self.app = app
        self.active = True  # False after uninstrument
        self._settings = settings
        found = middleware_inside(app, _FOREIGN_MIDDLEWARE, *HOLDERS)
        self._traced_inside = traced_inside if traced_inside is not None and not found else lambda: found
        self._seen_server = False
        self._claimed: dict[str, bool] = {}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """One request, as WSGI has it."""
        settings = self._settings
        if not (self.active and settings.enabled) or ENVIRON_KEY in environ:
            return self.app(environ, start_response)
        if not self._seen_server:
            # Servers configure logging after applications do: look again when the first one calls.
            self._seen_server = True
            settings.on_server_start()
        if environ.get("PATH_INFO") in endpoints.by_path and environ["REQUEST_METHOD"] in {"GET", "HEAD"}:
            path: str = environ["PATH_INFO"]
            if not self._is_claimed(path):
                return _serve_endpoint(environ, start_response)
        outer = _enclosing(environ)
        if outer is not None:
            environ[ENVIRON_KEY] = outer
            return self.app(environ, _telling_route(environ, start_response, outer))
        exchange: WsgiExchange | None = None
        try:
            exchange = WsgiExchange(settings, environ, start_response)
            context = open_request(settings, exchange, self._traced_inside())
            exchange.measure_request()
            environ[ENVIRON_KEY] = exchange
        except Exception as failure:  # noqa: BLE001  # the boundary
            if exchange is not None:
                exchange.abandon()
            boundary.failed("request", failure)
            return self.app(environ, start_response)
        token = attach(context)
        try:
            result = self.app(environ, exchange.start_response)
        except BaseException as error:
            exchange.fail(error)
            raise
        finally:
            detach(token)
        return exchange.body(result, context)

    def _is_claimed(self, path: str) -> bool:
        """Whether the application has a route of its own where an endpoint would yield to it. Found out once a path."""
        claimed = self._claimed.get(path)
        if claimed is None:
            endpoint = endpoints.by_path.get(path)
            if endpoint is None:  # given up just now
                return True
            claimed = self._claimed[path] = endpoint.yields and claims(self.app, path, *HOLDERS)
        return claimed


class WsgiExchange(Exchange):
    """A request that came by WSGI: an environ, a status line and an iterable."""

    __slots__ = ("_length", "_mount", "_route", "_start_response", "environ")

    def __init__(self, settings: Settings, environ: Environ, start_response: StartResponse) -> None:
        super().__init__(settings, environ["REQUEST_METHOD"], _decoded(environ.get("PATH_INFO", "")))
        self.environ = environ
        self._start_response = start_response
        self._mount: str = environ.get("SCRIPT_NAME", "")
        self._route = ""
        self._length: int | None = None  # what the response declares
        self.request_id = environ.get("HTTP_X_REQUEST_ID", "")
        self.correlation_id = environ.get("HTTP_X_CORRELATION_ID", "")
        self.baggage = environ.get("HTTP_BAGGAGE")

    # The response

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        """The server's, with the request's ids among the headers. The `write` it gives counts."""
        try:
            headers = self._noted(headers)
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("request", failure)
        if exc_info:
            write = self._start_response(status, headers, exc_info)  # raises if the first start is on its way already
            if exc_info[1] is not None:
                self.note(exc_info[1])
        else:
            write = self._start_response(status, headers)
        with contextlib.suppress(ValueError):  # the server has taken it, whatever it is
            self.status = int(status[:3])

        def counted(data: bytes) -> object:
            self.response_bytes += len(data)
            return write(data)

        return counted

    def _noted(self, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """The headers to send. Werkzeug forgets the request before the application returns: its route is noted now."""
        if not self._route:
            self.note_route()
        ids = {
            "x-request-id": ("X-Request-ID", self.request_id),
            "x-correlation-id": ("X-Correlation-ID", self.returned_correlation_id()),
        }
        self._length = None
        for name, value in headers:
            lower = name.lower()
            if lower in ids:
                del ids[lower]
            elif lower == "content-length":
                self._length = int(value) if value.isdecimal() and len(value) <= LONGEST_LENGTH else None
        return [*headers, *ids.values()]

    def body(self, result: Iterable[bytes], context: Context) -> Iterable[bytes]:
        """What the server is to iterate over."""
        try:
            if isinstance(result, list | tuple) and not hasattr(result, "close"):
                self.response_bytes += sum(map(len, result))
                self.complete()
                return result
            wrapper = self.environ.get("wsgi.file_wrapper")
            if isinstance(wrapper, type) and isinstance(result, wrapper):
                self._finish_at_close_of(result)
                return result
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("request", failure)
        return Body(result, self, context)

    def _finish_at_close_of(self, file: Any) -> None:
        """Leaves the wrapper what it is, since the server knows it by its type; its `close` becomes the end."""
        self.response_bytes = self._length or 0
        close = getattr(file, "close", None)

        def closing() -> None:
            try:
                if close is not None:
                    close()
            finally:
                self.complete()

        try:
            file.close = closing
        except (AttributeError, TypeError):  # a type in C: nobody will tell of its end
            self.complete()

    def took(self, chunk: bytes) -> None:
        """Counts a part of the body that goes to the server; the last one of a declared length completes it."""
        with contextlib.suppress(TypeError):  # the server's to refuse
            self.response_bytes += len(chunk)
        if self._length is not None and self.response_bytes >= self._length and self.method != "HEAD":
            self.complete()

    def complete(self) -> None:
        """The response is whole."""
        if self.status and not self.finished:
            self.end()
        self.finish()

    def closed(self) -> None:
        """The server wants no more: it has what it needs, or nobody to give it to."""
        if self.method == "HEAD" or self.status in _NO_BODY:
            self.complete()
        self.finish(incomplete=CLIENT_LEFT)

    def fail(self, error: BaseException) -> None:
        """An exception left the application."""
        # Tied to its request for whoever logs it: servers do, after we have returned. A type may forbid attributes.
        with contextlib.suppress(Exception):
            setattr(error, REQUEST_ATTRIBUTE, self)
        self.finish(error)

    def finish(self, error: BaseException | None = None, incomplete: str = INCOMPLETE) -> None:
        """Updates metrics and ends the span, once. The environ, which refers to us, is let go."""
        super().finish(error, incomplete)
        self.environ = {}

    # The request

    def measure_request(self) -> None:
        """Notes the size of the request's body, or counts it as it is read where the request does not say it."""
        environ = self.environ
        length = environ.get("CONTENT_LENGTH")
        if length:
            self.request_bytes = int(length) if length.isdecimal() and len(length) <= LONGEST_LENGTH else 0
        elif "HTTP_TRANSFER_ENCODING" in environ and "wsgi.input" in environ:
            environ["wsgi.input"] = CountedInput(environ["wsgi.input"], self)

    def remote_parent(self) -> RemoteParent | None:
        """The caller's span; servers join two traceparents by a comma, which makes them none."""
        environ = self.environ
        header = environ.get("HTTP_TRACEPARENT")
        if header is None:
            return None
        return read_traceparent(header.encode("latin-1"), environ.get("HTTP_TRACESTATE", "").encode("latin-1"))

    def header(self, name: str) -> str | None:
        """A header of the request."""
        value: str | None = self.environ.get("HTTP_" + name.upper().replace("-", "_"))
        return value

    def headers(self) -> Mapping[str, str]:
        """All headers but those of the body."""
        return {
            key[5:].replace("_", "-").lower(): value
            for key, value in self.environ.items()
            if key.startswith("HTTP_") and isinstance(value, str)
        }

    def url(self) -> str:
        """`scheme://host/path`."""
        environ = self.environ
        scheme = environ.get("wsgi.url_scheme", "http")
        return f"{scheme}://{_host(environ)}{_decoded(self._mount)}{self.path}"

    def note_route(self) -> None:
        """Keeps the route's template, if somebody knows it by now, with what dispatchers between us and it took."""
        self._route = _route_in(self.environ, self._mount)

    def route(self) -> str:
        """The template that the router left in the environ."""
        if not self._route:
            self.note_route()
        return self._route or self.inner_route or UNMATCHED

    def root(self) -> str:
        """SCRIPT_NAME."""
        return self._mount

    def facts(self, route: str, status: int, error_type: str) -> HttpFacts:
        """What the span is to say."""
        environ = self.environ
        address, port = environ.get("REMOTE_ADDR"), environ.get("REMOTE_PORT", "")
        repeating = (
            self.method,
            "" if self.method != OTHER_METHOD else self.original_method,
            route,
            status,
            environ.get("wsgi.url_scheme", "http"),
            environ.get("SERVER_PROTOCOL", "").partition("/")[2],
            _host(environ).encode("latin-1", "replace"),
            error_type,
        )
        return (
            repeating,
            _decoded(self._mount) + self.path,
            environ.get("QUERY_STRING", "").encode("latin-1", "replace"),
            environ.get("HTTP_USER_AGENT", "").encode("latin-1", "replace"),
            (address, int(port) if str(port).isdecimal() else 0) if address else None,
        )


class Body:
    """A response's iterator, each step of it in the request's context."""

    __slots__ = ("_context", "_exchange", "_next", "_result")

    def __init__(self, result: Iterable[bytes], exchange: WsgiExchange, context: Context) -> None:
        self._result = result
        self._exchange = exchange
        self._context = context
        self._next: Callable[[], bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        """Itself: a response is iterated over once."""
        return self

    def __next__(self) -> bytes:
        """The next part."""
        token = attach(self._context)
        try:
            if self._next is None:
                self._next = iter(self._result).__next__
            chunk = self._next()
        except StopIteration:
            self._exchange.complete()
            raise
        except BaseException as error:
            self._exchange.fail(error)
            raise
        finally:
            detach(token)
        self._exchange.took(chunk)
        return chunk

    def close(self) -> None:
        """Closes the application's iterable, as the server must."""
        close = getattr(self._result, "close", None)
        token = attach(self._context)
        try:
            if close is not None:
                close()
        except BaseException as error:
            self._exchange.fail(error)
            raise
        finally:
            detach(token)
        self._exchange.closed()

    def __del__(self) -> None:
        # A server that neither reads to the end nor closes. Nothing here may take a lock: anybody may hold it.
        if not self._exchange.finished:
            self._exchange.abandon()


class CountedInput:
    """A request's body, counted as it is read."""

    def __init__(self, stream: Any, exchange: Exchange) -> None:
        self._stream = stream
        self._exchange = exchange

    def read(self, *args: Any) -> bytes:
        """As the stream has it."""
        return self._counted(self._stream.read(*args))

    def readline(self, *args: Any) -> bytes:
        """As the stream has it."""
        return self._counted(self._stream.readline(*args))

    def readlines(self, *args: Any) -> list[bytes]:
        """As the stream has it."""
        return [self._counted(line) for line in self._stream.readlines(*args)]

    def __iter__(self) -> Iterator[bytes]:
        """Lines."""
        return map(self._counted, self._stream)

    def __getattr__(self, name: str) -> Any:
        """Whatever else servers give it."""
        return getattr(self._stream, name)

    def _counted(self, data: bytes) -> bytes:
        self._exchange.request_bytes += len(data)
        return data


def _serve_endpoint(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answers what asks for one of the SDK's own endpoints."""
    accept, encodings = environ.get("HTTP_ACCEPT", ""), environ.get("HTTP_ACCEPT_ENCODING", "")
    asked = Asked(environ["PATH_INFO"], accept, environ.get("QUERY_STRING", ""), encodings)
    endpoint = endpoints.by_path[asked.path]
    status, content_type, body, encoding = endpoint.now(asked) or endpoint.answer(asked)
    headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
    if encoding:
        headers += [("Content-Encoding", encoding), ("Vary", "Accept-Encoding")]
    start_response(f"{status} {HTTPStatus(status).phrase}", headers)
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]


def _route_in(environ: Environ, root: str) -> str:
    """The template that the router left, with what was taken of the path before it and after `root`; empty if none."""
    template: str | None = environ.get(ROUTE_KEY)
    if template is None:
        rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
        if rule is None:
            return ""
        template = flask_template(rule.rule)
    mount: str = environ.get("SCRIPT_NAME", "")
    return (mount[len(root) :] if mount.startswith(root) else "") + template


def _enclosing(environ: Environ) -> Exchange | None:
    """The request of an ASGI middleware that this one is."""
    if not get_current():
        return None

    def header(name: str) -> str | None:
        value: str | None = environ.get("HTTP_" + name.upper().replace("-", "_"))
        return value

    return enclosing(environ["REQUEST_METHOD"], _decoded(environ.get("PATH_INFO", "")), header)


def _telling_route(environ: Environ, start_response: StartResponse, outer: Exchange) -> StartResponse:
    """The server's, which lets the request know who serves it."""

    def telling(*args: Any) -> Any:
        try:
            outer.inner_route = _route_in(environ, outer.root())
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("request", failure)
        return start_response(*args)

    return telling


def _decoded(path: str) -> str:
    """A part of the path as text: WSGI hands its bytes over as latin-1."""
    return path if path.isascii() else path.encode("latin-1", "replace").decode("utf-8", "replace")


def _host(environ: Environ) -> str:
    host: str | None = environ.get("HTTP_HOST")
    return host or f"{environ.get('SERVER_NAME', '')}:{environ.get('SERVER_PORT', '')}"
