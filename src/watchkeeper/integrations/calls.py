"""A call of something outside the process: one span, one pair of clock reads, and what both need of the context.

    if busy(DATABASE):
        return wrapped(*args, **kwargs)
    with Call("SELECT orders", DATABASE, attributes) as call:
        result = wrapped(*args, **kwargs)
    database().query("SELECT", "orders", call.seconds, error_type=call.error_type)

Metrics are counted whatever the sampler decides. A call inside another of the same subject (a driver's below
SQLAlchemy's) is the same call: `busy` tells, and whoever is inside stays silent. Where different calls of one subject
may be inside each other (a request whose body is read from another server), a `mark` tells them apart.

Neither making a call nor ending it raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from opentelemetry import context as api_context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY  # published under no other name
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode

from watchkeeper.context import SPAN_KEY, Context, attach, detach, get_current
from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.part import requests
from watchkeeper.tracing.api import Origin
from watchkeeper.tracing.span import type_name

DATABASE = api_context.create_key("watchkeeper-database")
HTTP = api_context.create_key("watchkeeper-http-client")
CACHE = api_context.create_key("watchkeeper-cache")
QUEUE = api_context.create_key("watchkeeper-queue")
MODEL = api_context.create_key("watchkeeper-language-model")


def busy(subject: str, mark: object = True) -> bool:
    """Whether this is the inside of that call of that subject, or of code that asked not to be watched."""
    context = get_current()
    return context.get(subject) == mark or bool(context.get(_SUPPRESS_INSTRUMENTATION_KEY))


class Call:
    """One call under way.

    As a `with` block, its span is current inside; `context` and `end` serve where the end comes elsewhere, such as of a
    stream. After the end, `seconds` says how long it took and `error_type` how it failed (empty: it did not).
    """

    __slots__ = ("_ended", "_mark", "_token", "error_type", "name", "seconds", "span", "started", "subject")

    def __init__(
        self,
        name: str,
        subject: str,
        attributes: Mapping[str, Any] | None = None,
        kind: SpanKind = SpanKind.CLIENT,
        *,
        context: Context | None = None,
        traced: bool = True,
        mark: object = True,
    ) -> None:
        self.name = name
        self.subject = subject
        self.seconds = 0.0
        self.error_type = ""
        self._mark = mark
        self._ended = False
        self.span: Span = INVALID_SPAN  # where somebody else makes the span: it is theirs to end
        if traced:
            try:
                self.span = Origin.tracer.start_span(name, context, kind, attributes)
            except Exception as failure:  # noqa: BLE001  # the provider may be the application's own
                boundary.failed("call", failure)
        self.started = requests.settings.clock.monotonic_ns()

    def context(self) -> Context:
        """The context inside of the call."""
        inside = {**get_current(), self.subject: self._mark}
        if self.span is not INVALID_SPAN:
            inside[SPAN_KEY] = self.span  # an unsampled one too: servers are to hear that it is not sampled
        return Context(inside)

    def __enter__(self) -> Self:
        """Makes it current."""
        self._token = attach(self.context())
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Ends it."""
        detach(self._token)
        del self._token  # it keeps the context, and that the request: whoever keeps calls would keep circles
        self.end(exc_val)

    def fail(self, error_type: str) -> None:
        """Says that it failed without an exception: an answer of 500, a message that was returned."""
        self.error_type = error_type

    def _record(self, error: Exception) -> None:
        self.span.record_exception(error)

    def end(self, error: BaseException | None = None) -> None:
        """Ends it, once. Never raises.

        What is no Exception, such as a cancellation, says how it ended (`error.type`), and makes it no failed span.
        """
        if self._ended:
            return
        self._ended = True
        self.seconds = (requests.settings.clock.monotonic_ns() - self.started) / 1e9
        try:
            span = self.span
            if error is not None:
                self.error_type = type_name(error)
                if isinstance(error, Exception):
                    self._record(error)
            if self.error_type:
                span.set_attribute(ERROR_TYPE, self.error_type)
                if error is None or isinstance(error, Exception):
                    span.set_status(StatusCode.ERROR)
            span.end()
            on_call = requests.settings.on_call
            if on_call is not None:
                on_call(self)
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("call", failure)
