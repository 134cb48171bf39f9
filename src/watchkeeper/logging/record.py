"""One log record, between being said and being written."""

from __future__ import annotations

from typing import Any, NamedTuple

# OTLP severity numbers by the standard library's levels: the first of each range.
_SEVERITIES = ((50, 21, "critical"), (40, 17, "error"), (30, 13, "warning"), (20, 9, "info"), (10, 5, "debug"))


class Failure(NamedTuple):
    """An exception, told."""

    type: str
    message: str
    stack: str


class Record(NamedTuple):
    """What was said, when, by whom, and within which span and request. `fields` is a snapshot."""

    time_ns: int
    level: int  # the standard library's numbers
    logger: str
    message: str
    fields: dict[str, Any]
    trace_id: int  # 0: outside of any span
    span_id: int
    trace_flags: int
    request_id: str
    failure: Failure | None


def severity_of(level: int) -> tuple[int, str]:
    """OTLP's severity number and our name for a level; levels in between take the next lower name."""
    for floor, number, name in _SEVERITIES:
        if level >= floor:
            return number, name
    return 1, "trace"
