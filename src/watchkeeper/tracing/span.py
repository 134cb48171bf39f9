"""The span: OpenTelemetry's API on slots.

A span keeps what it is told, unconverted; views the API promises (SpanContext, Status) are built when asked for, and
bytes in the export thread. Starting and ending one costs the calling thread about 2 µs. After `end` nothing changes
any more.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.semconv.attributes.exception_attributes import (
    EXCEPTION_MESSAGE,
    EXCEPTION_STACKTRACE,
    EXCEPTION_TYPE,
)
from opentelemetry.trace import Span as ApiSpan
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from watchkeeper.export.boundary import boundary
from watchkeeper.tracing.http import HttpFacts, attributes_of
from watchkeeper.values import INT64_MAX, SCALARS, fields_snapshot, snapshot, text_of

if TYPE_CHECKING:
    from types import TracebackType

    from watchkeeper.clock import Clock

MAX_ATTRIBUTES = 128  # OpenTelemetry's default limits
MAX_EVENTS = 128
MAX_LINKS = 128
LONGEST_STACK = 65_536  # characters
_MOST_LOOKED_AT = 1_000  # of what is given as links, which may be endless
_LONGEST_UNCHECKED = 4_096  # characters; longer strings take the slow path, which truncates


class Scope(NamedTuple):
    """The instrumentation library a span comes from."""

    name: str
    version: str = ""
    schema_url: str = ""
    attributes: tuple[tuple[str, Any], ...] = ()


class Event(NamedTuple):
    """Something that happened within a span."""

    name: str
    timestamp: int
    attributes: Mapping[str, Any]


class SpanLink(NamedTuple):
    """A reference to another span."""

    context: SpanContext
    attributes: Mapping[str, Any]


class Checked(dict[str, Any]):
    """Attributes for many spans, checked once. Nobody may change them afterwards.

    A span that gets them first keeps a copy as it is, for a tenth of what checking costs.
    """

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        super().__init__(fields_snapshot(dict(islice(attributes.items(), MAX_ATTRIBUTES))))


class Span(ApiSpan):
    """A recording span. Made by a Tracer; handed to `sink` once, when it ends."""

    __slots__ = (
        "_attributes",
        "_clock",
        "_started",
        "end_time",
        "http",
        "kind",
        "name",
        "parent_id",
        "parent_is_remote",
        "scope",
        "sink",
        "span_id",
        "start_time",
        "trace_flags",
        "trace_id",
        "trace_state_text",
    )
    # Rare: these are the class's until a span differs, so that most spans neither set nor hold them.
    events: list[Event] | None = None
    links: list[SpanLink] | None = None
    status_code: StatusCode = StatusCode.UNSET
    status_message = ""
    dropped_attributes = dropped_events = dropped_links = 0
    _context: SpanContext | None = None

    def __init__(  # keywords cost 0.3 µs of every request
        self,
        name: str,
        kind: SpanKind,
        scope: Scope,
        trace_id: int,
        span_id: int,
        parent_id: int,
        parent_is_remote: bool,
        trace_flags: int,
        trace_state: str,
        clock: Clock,
        sink: Callable[[Span], None],
        start_time: int | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.scope = scope
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id = parent_id  # 0: a root
        self.parent_is_remote = parent_is_remote
        self.trace_flags = trace_flags
        self.trace_state_text = trace_state
        self.http: HttpFacts | None = None
        self._attributes: dict[str, Any] | None = None
        self._clock = clock
        self.sink = sink
        self.end_time = 0  # 0: still going
        if start_time is None or not _is_time(start_time):
            self.start_time = clock.wall_ns()
            self._started = clock.monotonic_ns()
        else:
            self.start_time = start_time
            self._started = 0  # started at somebody else's clock, so it ends by the wall's

    # What it is

    def get_span_context(self) -> SpanContext:
        """The identity to propagate, built at the first call."""
        context = self._context
        if context is None:
            state = TraceState.from_header([self.trace_state_text]) if self.trace_state_text else None
            context = SpanContext(self.trace_id, self.span_id, False, TraceFlags(self.trace_flags), state)
            self._context = context
        return context

    @property
    def context(self) -> SpanContext:
        """The same as `get_span_context()`, under the name that readers of finished spans use."""
        return self.get_span_context()

    @property
    def parent(self) -> SpanContext | None:
        """The parent's identity as far as it is known here, None for a root."""
        if not self.parent_id:
            return None
        return SpanContext(self.trace_id, self.parent_id, self.parent_is_remote, TraceFlags(self.trace_flags))

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What was set so far."""
        told = self._attributes or {}
        return {**attributes_of(self.http), **told} if self.http is not None else dict(told)

    @property
    def status(self) -> Status:
        """The outcome so far."""
        return Status(self.status_code, self.status_message or None)

    def is_recording(self) -> bool:
        """True until it ends."""
        return not self.end_time

    # What it is told

    def set_attribute(self, key: str, value: Any) -> None:
        """Keeps `value` under `key`; anything that is no telemetry value is kept as its text."""
        if type(key) is not str:
            key = text_of(key)
        if self.end_time or not key:
            return
        attributes = self._attributes
        if attributes is None:
            attributes = self._attributes = {}
        elif len(attributes) >= MAX_ATTRIBUTES and key not in attributes:
            self.dropped_attributes += 1
            return
        kind = type(value)
        if kind in SCALARS and (kind is not str or len(value) <= _LONGEST_UNCHECKED):
            attributes[key] = value
        else:
            attributes[key] = snapshot(value)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Keeps each of them."""
        if type(attributes) is Checked and self._attributes is None and not self.end_time:
            self._attributes = attributes.copy()
            return
        for key, value in _items_of(attributes):
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Mapping[str, Any] | None = None, timestamp: int | None = None) -> None:
        """Notes that something happened, now or at `timestamp` (nanoseconds since 1970)."""
        if self.end_time:
            return
        if self.events is None:
            self.events = []
        if len(self.events) >= MAX_EVENTS:
            self.dropped_events += 1
            return
        at = self._clock.wall_ns() if timestamp is None or not _is_time(timestamp) else timestamp
        self.events.append(Event(text_of(name), at, _snapshot_of(attributes)))

    def add_link(self, context: Any, attributes: Mapping[str, Any] | None = None) -> None:
        """Refers to another span, of any trace."""
        if not isinstance(context, SpanContext):
            boundary.failed(
                "link of a span", TypeError(f"a link is to a SpanContext, not to a {type(context).__name__}")
            )
            return
        told = _snapshot_of(attributes)
        if self.end_time or not (context.is_valid or told or context.trace_state):
            return
        if self.links is None:
            self.links = []
        if len(self.links) >= MAX_LINKS:
            self.dropped_links += 1
            return
        self.links.append(SpanLink(context, told))

    def mark_sampled(self) -> None:
        """Says that it is kept after all, whatever was decided at its start."""
        self.trace_flags |= TraceFlags.SAMPLED
        self._context = None

    def update_name(self, name: str) -> None:
        """Renames it."""
        if not self.end_time:
            self.name = name if type(name) is str else text_of(name)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Sets the outcome: OK is final, UNSET changes nothing, a description is kept for errors only."""
        code: Any = status
        message = description
        if isinstance(status, Status):
            code, message = status.status_code, status.description
        if self.end_time or self.status_code is StatusCode.OK or code is StatusCode.UNSET:
            return
        if type(code) is not StatusCode:
            boundary.failed("status of a span", TypeError(f"a status is a StatusCode, not a {type(code).__name__}"))
            return
        self.status_code = code
        self.status_message = text_of(message) if message is not None and code is StatusCode.ERROR else ""

    def record_exception(
        self,
        exception: BaseException,
        attributes: Mapping[str, Any] | None = None,
        timestamp: int | None = None,
        escaped: bool = False,  # noqa: ARG002  # OpenTelemetry deprecated the attribute, its signature still has it
    ) -> None:
        """Keeps an exception as an event, with its stack."""
        facts = {
            EXCEPTION_TYPE: type_name(exception),
            EXCEPTION_MESSAGE: text_of(exception),
            EXCEPTION_STACKTRACE: stack_of(exception),
        }
        self.add_event("exception", facts if attributes is None else {**facts, **_snapshot_of(attributes)}, timestamp)

    def fail(self, error: BaseException) -> None:
        """Marks it failed by an exception that left it."""
        self.record_exception(error)
        self.set_status(StatusCode.ERROR, f"{type(error).__name__}: {text_of(error)}")

    def end(self, end_time: int | None = None) -> None:
        """Ends it and hands it over; a second call does nothing."""
        if self.end_time:
            return
        if end_time is None or not _is_time(end_time):
            clock = self._clock
            started = self._started
            end_time = self.start_time + clock.monotonic_ns() - started if started else clock.wall_ns()
        self.end_time = end_time
        self.sink(self)

    def end_served(self, facts: HttpFacts, name: str, duration: int) -> None:
        """Ends the span of a request that took so many nanoseconds, under its final name, if there is one.

        Only for a span that is still recording; what `end` would look at is known to be right.
        """
        self.http = facts
        if name:
            self.name = name
        self.end_time = self.start_time + duration
        self.sink(self)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Ends it, failed if an exception is leaving."""
        if isinstance(exc_val, Exception):
            self.fail(exc_val)
        self.end()

    def __repr__(self) -> str:
        return f"Span({self.name!r}, trace_id={self.trace_id:032x}, span_id={self.span_id:016x})"


def type_name(error: BaseException) -> str:
    """The qualified name of an exception's type, as `error.type` and `exception.type` want it."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def stack_of(error: BaseException) -> str:
    """The formatted traceback, with causes; of a very long one the beginning and the end, where the error is."""
    try:
        stack = "".join(traceback.format_exception(error))
        if len(stack) <= LONGEST_STACK:
            return stack
        half = LONGEST_STACK // 2
        return f"{stack[:half]}\n… ({len(stack) - 2 * half} more characters)\n{stack[-half:]}"
    except Exception as failure:  # noqa: BLE001  # formatting calls the exception's own __str__ and its causes'
        return f"<no stack: {type(failure).__name__}>"


def links_of(links: Sequence[Any]) -> list[SpanLink]:
    """The API's links, kept as ours; what is no link is left out."""
    try:
        found = [
            link for link in islice(links, _MOST_LOOKED_AT) if isinstance(getattr(link, "context", None), SpanContext)
        ]
    except Exception as error:  # noqa: BLE001  # what was given is no list
        boundary.failed("links of a span", error)
        return []
    return [SpanLink(link.context, _snapshot_of(link.attributes)) for link in found[:MAX_LINKS]]


def _is_time(time_ns: Any) -> bool:
    """Whether it can be nanoseconds since 1970. Seconds as a float, as `time.time()` gives them, cannot."""
    return type(time_ns) is int and 0 <= time_ns <= INT64_MAX


def _items_of(attributes: Any) -> Iterable[tuple[Any, Any]]:
    if type(attributes) is dict:
        return attributes.items()
    return _snapshot_of(attributes).items()


def _snapshot_of(attributes: Any) -> dict[str, Any]:
    """A snapshot of a mapping; an empty one of whatever is none, or fails."""
    if attributes is None:
        return {}
    try:
        return fields_snapshot(attributes)
    except Exception as error:  # noqa: BLE001  # a host's mapping may raise anything
        boundary.failed("attributes of a span", error)
        return {}
