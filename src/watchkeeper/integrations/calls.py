"""A call of something outside the process: one span, one pair of clock reads, and what both need of the context.

    if busy(DATABASE):
        return wrapped(*args, **kwargs)
    with Call("SELECT orders", DATABASE, attributes) as call:
        result = wrapped(*args, **kwargs)
    database().query("SELECT", "orders", call.seconds, error_type=call.error_type)

Metrics are counted whatever the sampler decides. A call inside another of the same subject (a driver's below
SQLAlchemy's) is the same call: `busy` tells, and whoever is inside stays silent.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from opentelemetry import context as api_context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY  # published under no other name
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import NonRecordingSpan, Span, SpanKind, StatusCode, get_current_span

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


def busy(subject: str) -> bool:
    """Whether this is the inside of a call of that subject, or of code that asked not to be watched."""
    context = get_current()
    return subject in context or bool(context.get(_SUPPRESS_INSTRUMENTATION_KEY))


class Call:
    """One call under way.

    As a `with` block, its span is current inside; `begin` and `end` serve where the end comes elsewhere, such as of a
    stream. After the end, `seconds` says how long it took and `error_type` how it failed (empty: it did not).
    """

    __slots__ = ("_ended", "_started", "_token", "error_type", "seconds", "span", "subject")

    def __init__(
        self,
        name: str,
        subject: str,
        attributes: Mapping[str, Any] | None = None,
        kind: SpanKind = SpanKind.CLIENT,
        *,
        context: Context | None = None,
        traced: bool = True,
    ) -> None:
        self.subject = subject
        self.seconds = 0.0
        self.error_type = ""
        self._ended = False
        self.span: Span = (
            Origin.tracer.start_span(name, context, kind, attributes)
            if traced  # else somebody else's instrumentation makes the span
            else NonRecordingSpan(get_current_span().get_span_context())
        )
        self._started = requests.settings.clock.monotonic_ns()

    def context(self) -> Context:
        """The context inside of the call."""
        current = get_current()
        span = current.get(SPAN_KEY) if isinstance(self.span, NonRecordingSpan) else self.span
        inside = {**current, self.subject: True}
        if span is not None:
            inside[SPAN_KEY] = span
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
        self.end(exc_val)

    def fail(self, error_type: str) -> None:
        """Says that it failed without an exception: an answer of 500, a message that was returned."""
        self.error_type = error_type

    def end(self, error: BaseException | None = None) -> None:
        """Ends it, once. Never raises."""
        if self._ended:
            return
        self._ended = True
        self.seconds = (requests.settings.clock.monotonic_ns() - self._started) / 1e9
        try:
            span = self.span
            if error is not None:
                self.error_type = type_name(error)
                span.record_exception(error)
            if self.error_type:
                span.set_attribute(ERROR_TYPE, self.error_type)
                span.set_status(StatusCode.ERROR)
            span.end()
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("call", failure)
