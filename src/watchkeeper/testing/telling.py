"""Spans, lines and errors as text: to compare with in a test, and to read when it failed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.exception_attributes import EXCEPTION_TYPE
from opentelemetry.trace import StatusCode

from watchkeeper.errors.event import ErrorEvent
from watchkeeper.logging.levels import severity_of
from watchkeeper.logging.record import Record
from watchkeeper.tracing.span import Span


def tree_of(spans: Sequence[Span], attributes: Sequence[str] = ()) -> str:
    """One line a span, indented below its parent, in the order of their starts; failed ones with the error's type."""
    known = {span.span_id for span in spans}
    below: dict[int, list[Span]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: span.start_time):
        below[span.parent_id if span.parent_id in known else 0].append(span)
    lines: list[str] = []
    waiting = [(0, root) for root in reversed(below[0])]
    while waiting:
        depth, span = waiting.pop()
        lines.append("  " * depth + _span_line(span, attributes))
        waiting += [(depth + 1, child) for child in reversed(below[span.span_id])]
    return "\n".join(lines)


def _span_line(span: Span, names: Sequence[str]) -> str:
    attributes = span.attributes
    told = "".join(f" {name}={attributes[name]!r}" for name in names if name in attributes)
    return f"{span.name}{told}{_failure(span)}"


def _failure(span: Span) -> str:
    if span.status_code is not StatusCode.ERROR:
        return ""
    kind = span.attributes.get(ERROR_TYPE)
    for event in span.events or ():
        kind = event.attributes.get(EXCEPTION_TYPE, kind)
    return f" [{kind or 'failed'}]"


def line_of(record: Record) -> str:
    """A log line as a person would note it: level, logger, message, fields."""
    level = severity_of(record.level).name
    fields = "".join(f" {name}={value!r}" for name, value in record.fields.items())
    failure = f" [{record.failure.type}: {record.failure.message}]" if record.failure is not None else ""
    return f"{level} {record.logger}: {record.message}{fields}{failure}"


def error_line_of(event: ErrorEvent) -> str:
    """An error: what it is and where it was caught."""
    return f"{event.severity} {event.category}: {event.title} (caught by {event.mechanism})"


def listed(what: str, lines: Iterable[Any]) -> str:
    """A heading and, indented, what there is."""
    text = "\n".join(f"  {line}" for each in lines for line in str(each).splitlines())
    return f"{what}:\n{text}" if text else f"{what}: none"
