"""One log record, between being said and being written."""

from __future__ import annotations

from typing import Any, NamedTuple


class Failure(NamedTuple):
    """An exception, told. The last three are there once it is known as an error event."""

    type: str
    message: str
    stack: str
    category: str = ""
    fingerprint: str = ""
    event_id: str = ""


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
    request_id: str  # empty: outside of any request
    correlation_id: str
    failure: Failure | None
