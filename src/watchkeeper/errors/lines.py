"""Log lines as a source of errors and of breadcrumbs."""

from __future__ import annotations

from collections.abc import Callable

from watchkeeper.context import Request
from watchkeeper.errors.breadcrumbs import trail
from watchkeeper.errors.building import Source
from watchkeeper.errors.collector import collector
from watchkeeper.logging.levels import CRITICAL, ERROR, INFO
from watchkeeper.logging.record import Record


class Lines:
    """Listens to the pipeline."""

    def __init__(self, said: Callable[[str], None]) -> None:
        self._said = said  # told the ids of events that a line tells of

    def __call__(self, record: Record, error: BaseException | None, request: Request | None) -> Record:
        """Notes a line; of an exception that is logged as an error, gives it back with what is known of that."""
        if error is not None and record.failure is not None and record.level >= ERROR:
            record = self._of_error(record, record.failure._asdict(), error, request)
        if record.level >= INFO:
            trail.note(record, request)
        return record

    def _of_error(
        self, record: Record, failure: dict[str, str], error: BaseException, request: Request | None
    ) -> Record:
        severity = "critical" if record.level >= CRITICAL else "error"
        source = Source("log", message=record.message, severity=severity, logger=record.logger, extra=record.fields)
        collector.take(error, source, request)
        mark = collector.mark_of(error)
        if mark is None or not mark.event_id:
            return record
        self._said(mark.event_id)
        known = {"category": mark.category, "fingerprint": mark.fingerprint, "event_id": mark.event_id}
        return record._replace(failure=type(record.failure)(**{**failure, **known}))
