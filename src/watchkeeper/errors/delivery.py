"""Where events go: to a test's sink; else to a Sentry, if there is one, and as log records to Watchkeeper.

Most errors are logged, if not by the application then by its server: such a line carries the exception already, with
its category, fingerprint and event id. A record of its own gets only what nobody has logged within a second.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from watchkeeper.errors.envelope import payload_of, stack_text
from watchkeeper.errors.event import ErrorEvent
from watchkeeper.errors.sentry import hand_to_sentry_sdk, running_sentry_sdk
from watchkeeper.export.boundary import boundary
from watchkeeper.logging.levels import LEVELS
from watchkeeper.logging.pipeline import pipeline
from watchkeeper.logging.record import Failure, Record

LOGGER = "watchkeeper.errors"
UNSAID_SECONDS = 1.0
_MOST_SAID = 128


class Delivery:
    """One client's ways out; each may be missing."""

    def __init__(
        self,
        sink: Callable[[ErrorEvent], None] | None,
        to_sentry: Callable[[ErrorEvent], None] | None,
        to_logs: Callable[[Record], None] | None,
        server: str,
    ) -> None:
        self._sink = sink
        self._to_sentry = to_sentry
        self._to_logs = to_logs
        self._server = server
        self._unsaid: dict[str, tuple[float, ErrorEvent]] = {}  # by event id, the oldest first
        self._said: deque[str] = deque(maxlen=_MOST_SAID)

    def deliver(self, event: ErrorEvent, error: BaseException | None) -> None:
        """Sends an event on its ways."""
        if self._sink is not None:
            self._sink(event)
            return
        sentry_sdk = running_sentry_sdk()
        if sentry_sdk is not None:
            try:
                hand_to_sentry_sdk(sentry_sdk, event, error, payload_of(event, self._server))
            except Exception as failure:  # noqa: BLE001  # of a version that we do not know
                boundary.failed("sentry_sdk", failure)
        elif self._to_sentry is not None:
            self._to_sentry(event)
        if self._to_logs is not None and event.mechanism != "log" and event.event_id not in self._said:
            self._unsaid[event.event_id] = (time.monotonic(), event)

    def said(self, event_id: str) -> None:
        """A log line tells of it."""
        if self._unsaid.pop(event_id, None) is None:
            self._said.append(event_id)  # it may be on its way to us still

    def say(self, *, every: bool = False) -> None:
        """Makes records of what nobody has logged in time."""
        due = time.monotonic() - UNSAID_SECONDS
        for event_id, (since, _) in list(self._unsaid.items()):
            if since > due and not every:
                return
            waiting = self._unsaid.pop(event_id, None)
            if waiting is not None and self._to_logs is not None:
                self._to_logs(record_of(waiting[1]))


def record_of(event: ErrorEvent) -> Record:
    """The log record that tells of an event."""
    about: dict[str, Any] = {"error.mechanism": event.mechanism, "error.handled": event.handled}
    failure = None
    if event.exceptions:
        stack = pipeline.redaction.failure(Failure(event.type, event.exceptions[0].message, stack_text(event)))
        failure = stack._replace(category=event.category, fingerprint=event.fingerprint, event_id=event.event_id)
    else:
        about |= {"error.category": event.category, "error.fingerprint": event.fingerprint, "error.id": event.event_id}
    if event.repeats:
        about["error.repeats"] = event.repeats
    if "id" in event.user:
        about["user_id"] = event.user["id"]
    if event.request is not None:
        about |= {"http.request.method": event.request.method, "http.route": event.request.route}
    return Record(
        event.time_ns,
        LEVELS[event.severity],
        event.logger or LOGGER,
        event.title if event.exceptions else event.message,
        {**event.extra, **event.tags, **about},
        event.trace_id,
        event.span_id,
        int(bool(event.trace_id)),
        event.request_id,
        event.correlation_id,
        failure,
    )
