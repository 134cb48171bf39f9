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


class Lines:
    """Listens to the pipeline."""

    def __init__(self, said: Callable[[str], None]) -> None:
        self._said = said  # told the ids of events that a line tells of

    def __call__(self, record: Record, error: BaseException | None, request: Request | None) -> Record:
        """Notes a line; of an exception that is logged as an error, gives it back with what is known of that."""
        if error is not None and record.failure is not None and record.level >= ERROR:
            record = self._of_error(record, record.failure, error, request)
        if record.level >= INFO:
            trail.note(record, request)
        return record

    def _of_error(self, record: Record, failure: Failure, error: BaseException, request: Request | None) -> Record:
        severity: Severity = "critical" if record.level >= CRITICAL else "error"
        source = Source("log", message=record.message, severity=severity, logger=record.logger, extra=record.fields)
        collector.take(error, source, request)
        mark = collector.mark_of(error)
        if mark is None or not mark.event_id:
            return record
        self._said(mark.event_id)
        return record._replace(
            failure=failure._replace(category=mark.category, fingerprint=mark.fingerprint, event_id=mark.event_id)
        )
