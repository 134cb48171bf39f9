"""The one pipeline of log lines: whoever speaks (our loggers, structlog, the standard library), it ends here.

`emit` builds the record and hands it to the stream's writer and to the export queue. It never raises and never waits.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.trace import Span as ApiSpan

from watchkeeper.clock import SYSTEM_CLOCK, Clock
from watchkeeper.context import REQUEST_KEY, SPAN_KEY, Request, get_current
from watchkeeper.export.boundary import boundary
from watchkeeper.logging.line import ConsoleLines, Format, JsonLines
from watchkeeper.logging.record import Failure, Record
from watchkeeper.logging.writer import Writer
from watchkeeper.options import LogOptions, ServiceOptions
from watchkeeper.tracing.span import Span, stack_of, type_name
from watchkeeper.values import MAX_TEXT, SCALARS, fields_snapshot, text_of, truncated

ERROR = 40
_LONGEST_UNCHECKED = 4_096  # characters; a line with a longer value takes the slow path, which truncates

# Set on an exception that leaves a request, for whoever logs it outside: the server does, after our middleware has
# returned.
REQUEST_ATTRIBUTE = "__watchkeeper_request__"


class Pipeline:
    """Turns what is said into lines and records.

    What it is wired to can change: loggers are made before `configure` runs.
    """

    def __init__(self) -> None:
        options = LogOptions()
        self.wire(options.level, Writer("stdout", format_for(options, ServiceOptions()), options.flush_seconds), None)

    def wire(
        self,
        level: int,
        writer: Writer | None,
        offer: Callable[[Record], None] | None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Replaces everything: lines go to `writer`, records to `offer`; None for either leaves it out."""
        self.level = level
        self.writer = writer
        self._offer = offer
        self._clock = clock
        self.more_fields: Callable[[], Mapping[str, Any]] | None = None  # bound to the context by structlog's users

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
            if self.writer is not None:
                self.writer.write(record, level >= ERROR)
            if self._offer is not None:
                self._offer(record)
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("logging", failure)

    def _record(
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
        for value in fields.values():
            kind = type(value)
            if kind not in SCALARS or ((kind is str or kind is bytes) and len(value) > _LONGEST_UNCHECKED):
                fields = fields_snapshot(fields)
                break
        context = get_current()
        span: object = context.get(SPAN_KEY)
        request: Request | None = context.get(REQUEST_KEY)  # type: ignore[assignment]
        failure = None
        if error is not None:
            failure = Failure(type_name(error), text_of(error), stack_of(error))
            if request is None:
                request = getattr(error, REQUEST_ATTRIBUTE, None)
                span = request.span if request is not None and span is None else span
        trace_id = span_id = flags = 0
        if type(span) is Span:
            trace_id, span_id, flags = span.trace_id, span.span_id, span.trace_flags
        elif isinstance(span, ApiSpan):
            trace_id, span_id, _, flags, _, _ = span.get_span_context()
        return Record(
            self._clock.wall_ns() if time_ns is None else time_ns,
            level,
            logger,
            message,
            fields,
            trace_id,
            span_id,
            flags,
            "" if request is None else request.request_id,
            failure,
        )


def format_for(options: LogOptions, service: ServiceOptions) -> Format:
    """JSON, or the console's look: on a terminal by itself, elsewhere when asked for."""
    stream = getattr(sys, options.stream, None)
    terminal = bool(stream is not None and hasattr(stream, "isatty") and stream.isatty())
    if options.format == "console" or (options.format == "auto" and terminal):
        return ConsoleLines(colours=terminal)
    return JsonLines(service)


pipeline = Pipeline()
