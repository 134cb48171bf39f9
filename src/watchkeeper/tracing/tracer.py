"""TracerProvider and Tracer: OpenTelemetry's API, so that every instrumentation library written for it works here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry import trace as api
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState

from watchkeeper.clock import SYSTEM_CLOCK, Clock
from watchkeeper.context import SPAN_KEY, Context, get_current
from watchkeeper.export.boundary import boundary
from watchkeeper.tracing.current import CurrentSpan
from watchkeeper.tracing.identity import identity_in
from watchkeeper.tracing.ids import Ids, RandomIds
from watchkeeper.tracing.processors import Processors, Redact
from watchkeeper.tracing.sampling import Adaptive, Sampler, always_on
from watchkeeper.tracing.span import Scope, Span, links_of
from watchkeeper.tracing.undecided import Undecided
from watchkeeper.values import fields_snapshot, text_of

SAMPLED = TraceFlags.SAMPLED


class TracerProvider(api.TracerProvider):
    """Makes tracers.

    OpenTelemetry accepts one global provider for a process's life, so what this one is wired to can change.
    """

    def __init__(
        self,
        sink: Callable[[Span], None],
        sampler: Sampler = always_on,
        ids: Ids | None = None,
        clock: Clock = SYSTEM_CLOCK,
        resource: Mapping[str, Any] | None = None,
    ) -> None:
        self.processors: Processors | None = None  # OpenTelemetry's own, where the application adds any
        self._redact: Redact = lambda span: span
        self.wire(sink, sampler, ids or RandomIds(), clock, resource)

    def wire(
        self,
        sink: Callable[[Span], None],
        sampler: Sampler,
        ids: Ids,
        clock: Clock,
        resource: Mapping[str, Any] | None = None,
        redact: Redact | None = None,
    ) -> None:
        """Replaces what spans are made of and where they go, for all tracers handed out so far too.

        `redact` is what processors' views of spans go through.
        """
        if redact is not None:
            self._redact = redact
        self._destination = sink
        self.sampler = sampler
        self.ids = ids
        self.clock = clock
        self.resource = resource or {}
        self._connect()

    def _connect(self) -> None:
        """Puts the ways of an ended span together: processors before the destination, the undecided before both."""
        self.sink = self._destination
        if self.processors is not None:
            self.sink = self.processors.before(self._destination, self.resource, self._redact)
        self.undecided = Undecided(self.sink, self.sampler) if isinstance(self.sampler, Adaptive) else None

    def add_span_processor(self, span_processor: Any) -> None:
        """Adds one of OpenTelemetry's span processors, which sees every span that is kept, as the SDK would show it.

        Raises ImportError without the package opentelemetry-sdk, which such processors belong to.

        Example:
            >>> from opentelemetry import trace
            >>> trace.get_tracer_provider().add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        """
        if self.processors is None:
            self.processors = Processors()
        self.processors.add(span_processor)
        self._connect()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Lets the added processors send what waits in them; True if all of them did in time."""
        return self.processors is None or self.processors.flush(timeout_millis / 1e3)

    def begin_flush(self, timeout_seconds: float) -> threading.Thread | None:
        """The same in a thread of its own, which the caller need not wait for; None without processors."""
        if self.processors is None:
            return None
        thread = threading.Thread(
            target=self.processors.flush, args=(timeout_seconds,), name="watchkeeper-processors", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the interpreter is ending
            return None
        return thread

    def shutdown(self) -> None:
        """Shuts the added processors down. What Watchkeeper itself sends is `watchkeeper.shutdown`'s matter."""
        if self.processors is not None:
            self.processors.shutdown()

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Tracer:
        """A tracer whose spans name this instrumentation library."""
        names = (instrumenting_module_name, instrumenting_library_version, schema_url)
        name, version, schema = ("" if each is None else text_of(each) for each in names)
        details = {} if attributes is None else fields_snapshot(attributes)
        # A scope is what spans are grouped by, so it must be hashable.
        told = tuple(
            (key, text_of(value) if isinstance(value, dict | tuple) else value) for key, value in details.items()
        )
        return Tracer(self, Scope(name, version, schema, told))


class Tracer(api.Tracer):
    """Starts spans."""

    def __init__(self, provider: TracerProvider, scope: Scope) -> None:
        self.provider = provider
        self._scope = scope

    def start_span(  # the API's signature
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,  # noqa: ARG002  # read by start_as_current_span only
        set_status_on_exception: bool = True,  # noqa: ARG002
    ) -> api.Span:
        """A new span below the current one (or the one in `context`); not made current."""
        current = get_current() if context is None else context
        parent = current.get(SPAN_KEY)
        watch: Callable[[Span], None] | None = None
        if type(parent) is Span:
            trace_id, parent_id, remote = parent.trace_id, parent.span_id, False
            flags, state = parent.trace_flags, parent.trace_state_text
            if not flags & SAMPLED:  # recorded though not kept: what is below it shares its fate
                watch = parent.sink
        else:
            parent_context = parent.get_span_context() if isinstance(parent, api.Span) else None
            if parent_context is None or not parent_context.is_valid:
                trace_id, parent_id, remote, flags, state = self.provider.ids.trace_id(), 0, False, 0, ""
            else:
                trace_id, parent_id, remote, trace_flags, trace_state, _ = parent_context
                flags, state = int(trace_flags), trace_state.to_header() if trace_state else ""
        identity = identity_in(current) if current else None
        if identity:
            attributes = identity if attributes is None else _with_identity(identity, attributes)
        return self.span_below(
            name,
            kind if type(kind) is SpanKind else SpanKind.INTERNAL,
            trace_id,
            parent_id,
            remote,
            flags,
            state,
            start_time,
            attributes,
            links,
            watch,
        )

    def span_below(  # keywords cost 0.3 µs of every request
        self,
        name: str,
        kind: SpanKind,
        trace_id: int,
        parent_id: int,
        remote: bool,
        parent_flags: int,
        trace_state: str,
        start_time: int | None = None,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = None,
        watch: Callable[[Span], None] | None = None,
    ) -> api.Span:
        """A span below a parent given by its parts (`parent_id` 0: a root), if the sampler keeps the trace.

        `watch` is the sink of a trace that is recorded though it is not kept yet.
        """
        provider = self.provider
        flags = parent_flags & ~SAMPLED
        if watch is not None:
            sink, span_id = watch, provider.ids.span_id()
        elif provider.sampler(trace_id, bool(parent_flags & SAMPLED) if parent_id else None, remote):
            sink, span_id, flags = provider.sink, provider.ids.span_id(), parent_flags | SAMPLED
        elif provider.undecided is not None and (remote or not parent_id):
            span_id = provider.ids.span_id()
            sink = provider.undecided.watch(span_id)
        else:
            return unsampled(trace_id, provider.ids.span_id(), trace_state)
        span = Span(
            name if type(name) is str else text_of(name),
            kind,
            self._scope,
            trace_id,
            span_id,
            parent_id,
            remote,
            flags,
            trace_state,
            provider.clock,
            sink,
            start_time,
        )
        if attributes is not None:
            span.set_attributes(attributes)
        if links is not None:
            span.links = links_of(links) or None
        if provider.processors is not None:
            provider.processors.on_start(span)
        return span

    def start_as_current_span(  # type: ignore[override]
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> CurrentSpan:
        """Starts a span and makes it current: a context manager, and a decorator of sync and async functions."""

        def start() -> api.Span:
            return self.start_span(name, context, kind, attributes, links, start_time)

        return CurrentSpan(start, record_exception, set_status_on_exception, end_on_exit)


def _with_identity(identity: dict[str, Any], attributes: Any) -> dict[str, Any]:
    try:
        return {**identity, **attributes}
    except Exception as error:  # noqa: BLE001  # a host's mapping may raise anything
        boundary.failed("attributes of a span", error)
        return identity


def unsampled(trace_id: int, span_id: int, trace_state: str = "") -> NonRecordingSpan:
    """A span that only carries its identity on, so that what is below it, here and elsewhere, is left out too."""
    state = TraceState.from_header([trace_state]) if trace_state else None
    return NonRecordingSpan(SpanContext(trace_id, span_id, False, TraceFlags(0), state))
