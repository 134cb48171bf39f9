"""`capture_exception` and `capture_message`: telling of an error that nothing else would tell of.

They are called as sentry-sdk's are, too: by `level`, which is the severity, with a fingerprint of several parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from watchkeeper.errors.building import Source
from watchkeeper.errors.collector import collector
from watchkeeper.errors.event import SEVERITIES, Severity
from watchkeeper.export.boundary import boundary
from watchkeeper.logging.levels import level_of, severity_of
from watchkeeper.logging.logger import exception_of
from watchkeeper.values import text_of

_UNKNOWN = -1  # a level that nothing has


def capture_exception(
    error: BaseException | None = None,
    /,
    *,
    severity: Severity | str = "",
    level: str = "",
    fingerprint: str | Sequence[str] = "",
    tags: Mapping[str, str] | None = None,
    **extra: Any,
) -> str:
    """Tells of an exception; without one, of that which is being handled.

    `severity` (`level` is the same) is `error` unless said otherwise: critical, error, warning, info, or any level's
    name or number. `fingerprint` names the group it belongs to, in place of its stack; `extra` is sent along. Gives
    the event's id, which a support page can show, or that of the event it repeats; empty where nothing was captured:
    before `configure`, without an exception, or of SystemExit, KeyboardInterrupt and a cancellation, which are no
    errors. Never raises.

    Example:
        >>> import watchkeeper as wk
        >>> try:
        ...     1 / 0
        ... except ZeroDivisionError as error:
        ...     event_id = wk.capture_exception(error, tags={"step": "total"}, order_id=7)
    """
    found = exception_of(True if error is None else error)
    known, group = _severity(severity or level, "error"), _group(fingerprint)
    return collector.take(found, Source("capture", severity=known, fingerprint=group, tags=tags or {}, extra=extra))


def capture_message(
    message: str,
    /,
    level: str = "",
    *,
    severity: Severity | str = "",
    fingerprint: str | Sequence[str] = "",
    tags: Mapping[str, str] | None = None,
    **extra: Any,
) -> str:
    """Tells of something that went wrong without an exception. Messages that differ in numbers and ids are one group.

    `severity` and the rest are as `capture_exception` has them, but that it is `info` unless said otherwise. Gives the
    event's id as that does.

    Example:
        >>> import watchkeeper as wk
        >>> event_id = wk.capture_message("stock is negative", severity="warning", sku="tea")
    """
    known, group = _severity(severity or level, "info"), _group(fingerprint)
    return collector.take(None, Source("capture", True, text_of(message), known, group, tags or {}, extra))


def _severity(said: Any, default: Severity) -> Severity:
    """One of the four, whatever the application calls it: `fatal`, `warn` and any level of the log are understood."""
    if said is None or said == "":
        return default
    number = level_of(said, _UNKNOWN)
    if number == _UNKNOWN:
        boundary.say_once("severity", f"{said!r:.100} is no severity: use {', '.join(SEVERITIES)}; it is told as error")
        return "error"
    name = severity_of(number).name
    return name if name in SEVERITIES else "info"


def _group(fingerprint: Any) -> str:
    """A group's name, of however many parts."""
    parts = fingerprint if isinstance(fingerprint, list | tuple) else [fingerprint or ""]
    return " ".join(map(text_of, parts))
