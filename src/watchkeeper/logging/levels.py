"""Levels: eight names on the standard library's scale, and the names that syslog, Winston and others give them.

Severity numbers are OTLP's; syslog's words map as its data model says
(https://opentelemetry.io/docs/specs/otel/logs/data-model-appendix/#appendix-b-severitynumber-example-mappings).
"""

from __future__ import annotations

from typing import Any, NamedTuple

TRACE, DEBUG, VERBOSE, HTTP, INFO, NOTICE, WARNING, ERROR, CRITICAL = 5, 10, 15, 17, 20, 25, 30, 40, 50
ALERT, EMERGENCY = 55, 60

# Every name that is understood, in any case. Those that are not one of the eight keep their own place on the scale
# where they have one, so that a threshold of `notice` leaves `info` out, and are written as the next lower name.
LEVELS = {
    "trace": TRACE,
    "silly": TRACE,
    "debug": DEBUG,
    "verbose": VERBOSE,
    "http": HTTP,
    "info": INFO,
    "informational": INFO,
    "notice": NOTICE,
    "warning": WARNING,
    "warn": WARNING,
    "error": ERROR,
    "err": ERROR,
    "critical": CRITICAL,
    "crit": CRITICAL,
    "fatal": CRITICAL,
    "alert": ALERT,
    "emerg": EMERGENCY,
    "emergency": EMERGENCY,
    "panic": EMERGENCY,
}


class Severity(NamedTuple):
    """What a level is called."""

    number: int  # OTLP's SeverityNumber
    name: str  # one of the eight


_FROM = (
    (EMERGENCY, Severity(24, "critical")),
    (ALERT, Severity(22, "critical")),
    (CRITICAL, Severity(21, "critical")),
    (ERROR, Severity(17, "error")),
    (WARNING, Severity(13, "warning")),
    (NOTICE, Severity(10, "info")),
    (INFO, Severity(9, "info")),
    (HTTP, Severity(7, "http")),
    (VERBOSE, Severity(6, "verbose")),
    (DEBUG, Severity(5, "debug")),
)
_LOWEST = Severity(1, "trace")


def severity_of(level: int) -> Severity:
    """What a level is called; levels in between take the next lower name."""
    for floor, severity in _FROM:
        if level >= floor:
            return severity
    return _LOWEST


def level_of(level: Any, default: int) -> int:
    """A level given by number or by any known name; `default` for what is neither."""
    if isinstance(level, int):
        return level
    return LEVELS.get(level.strip().lower(), default) if isinstance(level, str) else default
