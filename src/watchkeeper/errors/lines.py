"""Log lines as a source of errors and of breadcrumbs."""

from __future__ import annotations

from collections.abc import Callable

from watchkeeper.context import Request
from watchkeeper.errors.breadcrumbs import trail
from watchkeeper.errors.building import Source
from watchkeeper.errors.collector import collector
from watchkeeper.errors.event import Severity
from watchkeeper.logging.levels import CRITICAL, ERROR, INFO
from watchkeeper.logging.record import Failure, Record

Listener = Callable[[Record, BaseException | None, Request | None], Record]


def listener(said: Callable[[str], None]) -> Listener:
    """What listens to the pipeline; `said` is told the ids of events that a line tells of."""
    note = trail.note

    def listen(record: Record, error: BaseException | None, request: Request | None) -> Record:
        # Called for every line: whatever is done here is a part of its price.
        if record[1] < INFO:
            return record
        if error is not None and record.failure is not None and record.level >= ERROR:
            record = _of_error(record, record.failure, error, request, said)
        note(record, request)
        return record

    return listen


def _of_error(
    record: Record, failure: Failure, error: BaseException, request: Request | None, said: Callable[[str], None]
) -> Record:
    """Takes the exception of a line in, and gives the line back with what is known of it."""
    severity: Severity = "critical" if record.level >= CRITICAL else "error"
    source = Source("log", message=record.message, severity=severity, logger=record.logger, extra=record.fields)
    if record.logger == "asyncio":  # speaks of what nobody has handled
        source.mechanism, source.handled = "asyncio", False
    collector.take(error, source, request)
    mark = collector.mark_of(error)
    if mark is None or not mark.event_id:
        return record
    said(mark.event_id)
    return record._replace(
        failure=failure._replace(category=mark.category, fingerprint=mark.fingerprint, event_id=mark.event_id)
    )
