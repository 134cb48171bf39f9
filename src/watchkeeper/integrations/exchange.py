"""One HTTP request and its response, whatever protocol they come by: one pair of clock reads, one finish path."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol

from opentelemetry import trace as api
from opentelemetry.trace import StatusCode

from watchkeeper.clock import SYSTEM_CLOCK, Clock
from watchkeeper.context import usable_id
from watchkeeper.export.boundary import boundary
from watchkeeper.logging.options import RedactionOptions
from watchkeeper.logging.redaction import Redaction
from watchkeeper.metrics.http import HttpMetrics
from watchkeeper.tracing.http import UNMATCHED, HttpFacts, attributes_of
from watchkeeper.tracing.identity import identity_of
from watchkeeper.tracing.ids import Ids
from watchkeeper.tracing.propagation import RemoteParent
from watchkeeper.tracing.span import Span, type_name

KNOWN_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})
OTHER_METHOD = "_OTHER"
SERVER_ERROR = 500
CLIENT_CLOSED_REQUEST = 499  # nginx's status for a client that left before an answer
INCOMPLETE, CLIENT_LEFT = "incomplete_response", "client_disconnect"  # error types of a response without an end
LONGEST_LENGTH = 18  # digits of a Content-Length that is believed: what does not fit a float would fit no metric
# By these, frameworks tell an application that its client has left: Starlette, Litestar, Quart and Django.
_LEAVING = frozenset({"ClientDisconnect", "ClientDisconnected", "WebSocketDisconnect", "RequestAborted"})


class Settings:
    """What the middlewares need from the client.

    One object, shared and rewired, so that instrumented applications follow a new `configure`.
    """

    def __init__(self, metrics: HttpMetrics, tracer: api.Tracer, ids: Ids, clock: Clock = SYSTEM_CLOCK) -> None:
        self.metrics = metrics
        self.tracer = tracer
        self.ids = ids
        self.clock = clock
        self.excluded_urls: re.Pattern[str] | None = None
        self.excluded_prefixes: tuple[str, ...] = ()
        self.redaction = Redaction(RedactionOptions())  # of the URLs that are called
        self.standard_propagators = True  # else headers are read by OpenTelemetry's configured ones
        self.enabled = False
        self.on_server_start: Callable[[], None] = lambda: None
        self.on_server_stop: Callable[[], object] = lambda: None
        self.on_error: Callable[[Exchange, BaseException], None] | None = None  # unhandled by the application
        self.on_call: Callable[[Any], None] | None = None  # told of each `calls.Call` that has ended
        self.on_lifespan: Callable[[str], None] = lambda _message: None  # the type of each message, empty at its end


class Queries(Protocol):
    """What is kept of the statements that a request executes."""

    def add(self, statement: Any, limit: int) -> None:
        """One more execution."""

    def finish(self, exchange: Exchange, route: str) -> None:
        """Told at the request's end, with its route as a metric's label."""


def told_of_leaving(error: BaseException) -> bool:
    """Whether an exception says that the client has left, which is nobody's failure."""
    return type(error).__name__ in _LEAVING


class Exchange:
    """A request being served. Its opening gives it a span, and ids where the caller sent none that can be used.

    A protocol's own class says how that protocol calls things, and calls `finish` when the response is complete.
    """

    __slots__ = (
        "_active",
        "_settings",
        "_started",
        "baggage",
        "bound",
        "breadcrumbs",
        "correlation_id",
        "ended",
        "finished",
        "inner_route",
        "method",
        "noted",
        "original_method",
        "path",
        "queries",
        "request_bytes",
        "request_id",
        "response_bytes",
        "span",
        "status",
    )

    def __init__(self, settings: Settings, method: str, path: str) -> None:
        self._settings = settings
        self.ended = 0  # when the response was complete, by the monotonic clock
        self.path = path
        self.span: api.Span | None = None  # the one to end; None if somebody else's span serves
        self.request_id = self.correlation_id = ""  # what the caller sent, until the opening
        self.baggage: str | None = None  # W3C's, as the caller sent it
        self.bound: dict[str, Any] | None = None  # fields of every log line of the request
        self.breadcrumbs: deque[Any] | None = None  # what happened in it so far
        self.request_bytes = self.response_bytes = 0
        self.status = 0  # until the response starts
        # What an answer may have been made of, with its stack: whoever has handled an exception may forget that.
        self.noted: tuple[BaseException, TracebackType | None] | None = None
        self.finished = False
        self.inner_route = ""  # of an application of the other protocol that serves this request inside
        self.queries: Queries | None = None  # once the request has executed any
        self.original_method = method
        self.method: str = method if method in KNOWN_METHODS else OTHER_METHOD
        self._active = settings.metrics.active(self.method)
        self._active.add(self)
        self._started = settings.clock.monotonic_ns()

    # What the protocol knows

    def remote_parent(self) -> RemoteParent | None:
        """The caller's span, by W3C Trace Context."""
        raise NotImplementedError

    def header(self, name: str) -> str | None:
        """A header of the request by its name in lower case, decoded as latin-1."""
        raise NotImplementedError

    def headers(self) -> Mapping[str, str]:
        """All headers, by name in lower case."""
        raise NotImplementedError

    def url(self) -> str:
        """`scheme://host/path`."""
        raise NotImplementedError

    def route(self) -> str:
        """The template of the route that took the request; UNMATCHED if none did."""
        raise NotImplementedError

    def root(self) -> str:
        """What the server says it is mounted at: routes begin behind it."""
        raise NotImplementedError

    def facts(self, route: str, status: int, error_type: str) -> HttpFacts:
        """What the span is to say."""
        raise NotImplementedError

    # Its end

    def note(self, error: BaseException) -> None:
        """Keeps an exception that is being handled: it is the failure if the answer is a 500 or worse."""
        if not self.finished:
            self.noted = error, error.__traceback__

    def note_unhandled(self, error: BaseException) -> None:
        """Keeps one that no handler is left for, and tells of it before a framework logs it as if it were handled."""
        self.note(error)
        if not told_of_leaving(error):
            self._tell(error)

    def returned_correlation_id(self) -> str:
        """What the response says: the request's own id where the work began here, or is bound to what is no header."""
        correlation_id = self.correlation_id
        return correlation_id if correlation_id == self.request_id else usable_id(correlation_id) or self.request_id

    def end(self) -> None:
        """Notes that the response is complete now, whenever `finish` is called."""
        self.ended = self._settings.clock.monotonic_ns()

    def abandon(self) -> None:
        """Forgets a request whose end nobody will tell of, or whose opening failed."""
        self.finished = True
        self._active.discard(self)

    def finish(self, error: BaseException | None = None, incomplete: str = INCOMPLETE) -> None:
        """Updates metrics and ends the span, once.

        `incomplete` is the error type of a response that never ended; CLIENT_LEFT says that this is nobody's failure.
        """
        if self.finished:
            if isinstance(error, Exception) and not told_of_leaving(error):  # of what is done after the response
                self._tell(error)
            return
        self.finished = True
        self._active.discard(self)
        try:
            ended = self.ended
            duration = (ended or self._settings.clock.monotonic_ns()) - self._started
            if error is None and ended and self.status < SERVER_ERROR:
                self._record(self.route(), self.status, "", duration)
            else:
                self._finish_failed(error, incomplete, duration)
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("request", failure)
        finally:
            self.noted = None  # its traceback refers to us

    def _finish_failed(self, error: BaseException | None, incomplete: str, duration: int) -> None:
        """The finish of a request that did not go well: by exception, by status, or by nothing having been said."""
        noted = self.noted
        if error is None and noted is not None and self.status >= SERVER_ERROR:
            error, stack = noted
            if error.__traceback__ is None and stack is not None:
                try:
                    self._failed(error.with_traceback(stack), incomplete, duration)
                finally:
                    error.__traceback__ = None  # as whoever has handled it left it
                return
        self._failed(error, incomplete, duration)

    def _failed(self, error: BaseException | None, incomplete: str, duration: int) -> None:
        failed = True
        if error is not None and told_of_leaving(error):
            error, failed, kind = None, False, CLIENT_LEFT
            status = self.status if self.ended and self.status < SERVER_ERROR else CLIENT_CLOSED_REQUEST
        elif error is not None:
            failed = isinstance(error, Exception)  # a cancellation is the client's leaving, and no failure of ours
            kind, status = type_name(error), self.status or (SERVER_ERROR if failed else CLIENT_CLOSED_REQUEST)
        elif self.ended:
            kind, status = str(self.status), self.status
        else:
            failed = incomplete != CLIENT_LEFT
            kind, status = incomplete, self.status or (SERVER_ERROR if failed else CLIENT_CLOSED_REQUEST)
        span, route = self.span, self.route()
        if failed:
            self._settings.metrics.error(self.method, self._label(route, status), kind)
            if error is not None:
                self._tell(error)
            if span is not None and span.is_recording():
                if error is not None:
                    span.record_exception(error, timestamp=span.start_time + duration if type(span) is Span else None)
                span.set_status(StatusCode.ERROR)
        self._record(route, status, kind, duration)

    def _tell(self, error: BaseException) -> None:
        """Tells of an exception that the application did not handle."""
        on_error = self._settings.on_error
        if on_error is not None:
            on_error(self, error)

    def _label(self, route: str, status: int) -> str:
        """The route as a metric's label."""
        return route if route != UNMATCHED else self._settings.metrics.unmatched.label(self.path, status)

    def _record(self, route: str, status: int, error_type: str, duration: int) -> None:
        """Hands the sample and the span over."""
        method, span = self.method, self.span
        label = route if route != UNMATCHED else self._label(route, status)
        if self.queries is not None:
            self.queries.finish(self, label)
        kind = (method, label, status)
        self._settings.metrics.add(kind, duration / 1e9, self.request_bytes, self.response_bytes, span)
        if span is None or not (not span.end_time if type(span) is Span else span.is_recording()):
            return
        facts = self.facts(route, status, error_type)
        if self.bound or self.correlation_id != self.request_id:
            span.set_attributes(identity_of(self))
        name = "" if route == UNMATCHED else f"{method} {route}" if method != OTHER_METHOD else f"HTTP {route}"
        if type(span) is Span:
            span.end_served(facts, name, duration)
            return
        if name:
            span.update_name(name)
        span.set_attributes(attributes_of(facts))
        span.end()
