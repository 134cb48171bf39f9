"""`capture_exception` and `capture_message`: telling of an error that nothing else would tell of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from watchkeeper.errors.building import Source
from watchkeeper.errors.collector import collector
from watchkeeper.errors.event import SEVERITIES, Severity
from watchkeeper.logging.levels import ERROR, level_of, severity_of
from watchkeeper.logging.logger import exception_of
from watchkeeper.values import text_of


def capture_exception(
    error: BaseException | None = None,
    /,
    *,
    severity: Severity = "error",
    fingerprint: str = "",
    tags: Mapping[str, str] | None = None,
    **extra: Any,
) -> str:
    """Tells of an exception; without one, of that which is being handled.

    `fingerprint` names the group it belongs to, in place of its stack; `extra` is sent along. Gives the event's id,
    which a support page can show, or that of the event it repeats; empty where nothing was captured: before
    `configure`, without an exception, or of SystemExit, KeyboardInterrupt and a cancellation, which are no errors.
    Never raises.

    Example:
        >>> import watchkeeper as wk
        >>> try:
        ...     1 / 0
        ... except ZeroDivisionError as error:
        ...     event_id = wk.capture_exception(error, tags={"step": "total"}, order_id=7)
    """
    found = exception_of(True if error is None else error)
    source = Source("capture", severity=_known(severity), fingerprint=fingerprint, tags=tags or {}, extra=extra)
    return collector.take(found, source)


def capture_message(
    message: str,
    /,
    *,
    severity: Severity = "info",
    fingerprint: str = "",
    tags: Mapping[str, str] | None = None,
    **extra: Any,
) -> str:
    """Tells of something that went wrong without an exception. Messages that differ in numbers and ids are one group.

    Gives the event's id as `capture_exception` does.

    Example:
        >>> import watchkeeper as wk
        >>> event_id = wk.capture_message("stock is negative", severity="warning", sku="tea")
    """
    source = Source("capture", True, text_of(message), _known(severity), fingerprint, tags or {}, extra)
    return collector.take(None, source)


def _known(severity: str) -> Severity:
    """One of the four, whatever the application calls it: `fatal`, `warn` and any level of the log are understood."""
    if severity not in SEVERITIES:
        severity = severity_of(level_of(severity, ERROR)).name
    return severity if severity in SEVERITIES else "info"
