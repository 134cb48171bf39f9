"""The one pipeline of log lines: whoever speaks (our loggers, structlog, the standard library), it ends here.

`emit` builds the record, takes secrets out of it and hands it to the writers and to the export queue. It never raises
and never waits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.trace import Span as ApiSpan

from watchkeeper.clock import SYSTEM_CLOCK, Clock
from watchkeeper.context import BOUND_KEY, CORRELATION_ID, REQUEST_KEY, SPAN_KEY, Request, get_current
from watchkeeper.export.boundary import boundary
from watchkeeper.logging.levels import ERROR, INFO, level_of
from watchkeeper.logging.options import LogOptions, RedactionOptions
from watchkeeper.logging.record import Failure, Record
from watchkeeper.logging.redaction import Redaction
from watchkeeper.logging.sinks import writers_for
from watchkeeper.logging.writer import Writer
from watchkeeper.options import ServiceOptions
from watchkeeper.tracing.span import Span, stack_of, type_name
from watchkeeper.values import MAX_TEXT, text_of, truncated

# Set on an exception that leaves a request, for whoever logs it outside: the server does, after our middleware has
# returned.
REQUEST_ATTRIBUTE = "__watchkeeper_request__"


class Pipeline:
    """Turns what is said into lines and records.

    What it is wired to can change: loggers are made before `configure` runs.
    """

    def __init__(self) -> None:
        self.more_fields: Callable[[], Mapping[str, Any]] | None = None  # bound to the context by structlog's users
        # Told of each record, with its exception and the request it belongs to; what it gives back is written.
        self.listener: Callable[[Record, BaseException | None, Request | None], Record] | None = None
        self.wire_defaults()

    def wire(
        self,
        level: int,
        writers: Sequence[Writer],
        offer: Callable[[Record], None] | None,
        clock: Clock = SYSTEM_CLOCK,
        redaction: Redaction | None = None,
        slow_seconds: float = LogOptions.slow_seconds,
    ) -> None:
        """Replaces everything: lines go to `writers`, records to `offer`, if there is one.

        Operations that take longer than `slow_seconds` are warned of.
        """
        self.level = level
        self.writers = tuple(writers)
        self.redaction = redaction or Redaction(RedactionOptions())
        self.slow_seconds = slow_seconds
        self._offer = offer
        self.clock = clock

    def wire_defaults(self) -> None:
        """As it is before `configure`, and in a forked child that has no client."""
        options = LogOptions()
        self.wire(level_of(options.level, INFO), writers_for(options, ServiceOptions()), None)

    def stop_offering(self) -> None:
        """Leaves the writers only."""
        self._offer = None
        self.clock = SYSTEM_CLOCK

    def flush(self, timeout_seconds: float) -> None:
        """Waits until what was said so far is written, at most for the timeout."""
        deadline = time.monotonic() + timeout_seconds
        for writer in self.writers:
            writer.flush(max(0.0, deadline - time.monotonic()))

    def close(self, timeout_seconds: float) -> None:
        """Flushes; whatever comes later to these writers is written at once."""
        deadline = time.monotonic() + timeout_seconds
        for writer in self.writers:
            writer.close(max(0.0, deadline - time.monotonic()))

    def locks(self) -> list[threading.Lock]:
        """What a fork must not find taken."""
        return [writer.output for writer in self.writers]

    def emit(  # called for every line
        self,
        level: int,
        logger: str,
        message: object,
        fields: dict[str, Any],
        error: BaseException | None = None,
        time_ns: int | None = None,
    ) -> None:
        """Says a line. `fields` is the pipeline's from here on."""
        try:
            if self.more_fields is not None:
                fields = {**self.more_fields(), **fields}
            record = self._record(level, logger, message, fields, error, time_ns)
            for writer in self.writers:
                writer.write(record, level >= ERROR)
            if self._offer is not None:
                self._offer(record)
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("logging", failure)

    def _record(  # noqa: C901  # one pass, because calls are what costs here
        self,
        level: int,
        logger: str,
        message: object,
        fields: dict[str, Any],
        error: BaseException | None,
        time_ns: int | None,
    ) -> Record:
        if type(message) is not str:
            message = text_of(message)
        elif len(message) > MAX_TEXT:
            message = truncated(message)
        redaction = self.redaction
        if message not in redaction.plain_texts:
            message = redaction.text(message)
        context = get_current()
        span: object = context.get(SPAN_KEY)
        request: Request | None = context.get(REQUEST_KEY)  # type: ignore[assignment]
        failure = None
        if error is not None:
            failure = redaction.failure(Failure(type_name(error), text_of(error), stack_of(error)))
            if request is None:
                request = getattr(error, REQUEST_ATTRIBUTE, None)
                span = request.span if request is not None and span is None else span
        request_id = correlation_id = ""
        bound: Any = context.get(BOUND_KEY)
        if request is not None:
            request_id, correlation_id = request.request_id, request.correlation_id
            if request.bound:
                bound = {**request.bound, **(bound or {})}
        if bound:
            correlation_id = text_of(bound.get(CORRELATION_ID, correlation_id))
            fields = {**{name: value for name, value in bound.items() if name != CORRELATION_ID}, **fields}
        fields = redaction.snapshot(fields)
        trace_id = span_id = flags = 0
        if type(span) is Span:
            trace_id, span_id, flags = span.trace_id, span.span_id, span.trace_flags
        elif isinstance(span, ApiSpan):
            trace_id, span_id, _, flags, _, _ = span.get_span_context()
        if time_ns is None:
            time_ns = self.clock.wall_ns()
        # As Record(…) does it, without the call between: 0.2 µs of every line.
        record = tuple.__new__(
            Record,
            (time_ns, level, logger, message, fields, trace_id, span_id, flags, request_id, correlation_id, failure),
        )
        return record if self.listener is None else self.listener(record, error, request)


pipeline = Pipeline()
