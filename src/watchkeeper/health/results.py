"""What checks find, and what follows from all of them together.

The whole is unhealthy if a critical check is; degraded if any check is not healthy; else healthy. The score is the
weighted mean of the checks: 100 for a healthy one, 50 for a degraded one, 0 for an unhealthy one. Neither depends on
the checks' order, and neither gets better when a check gets worse.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Status = Literal["healthy", "degraded", "unhealthy"]
Kind = Literal["component", "datastore", "system"]
VALUES: Mapping[Status, float] = {"healthy": 1.0, "degraded": 0.5, "unhealthy": 0.0}
_WORDS: Mapping[str, Status] = {  # what other libraries and the health+json draft call the three
    **dict.fromkeys(("healthy", "pass", "ok", "up"), "healthy"),
    **dict.fromkeys(("degraded", "warn", "warning"), "degraded"),
    **dict.fromkeys(("unhealthy", "fail", "error", "down"), "unhealthy"),
}


@dataclass(frozen=True)
class HealthResult:
    """What a check found: a status, a sentence for the reader, and measurements.

    Example:
        >>> import watchkeeper as wk
        >>> @wk.health_check("stock")
        ... def stock():
        ...     return wk.HealthResult("degraded", "the last import is a day old", {"age_hours": 26})
    """

    status: Status = "healthy"
    message: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status not in VALUES:
            raise ValueError(f"status is {self.status!r}: use one of {', '.join(VALUES)}")


@dataclass(frozen=True)
class CheckReport:
    """A check's latest result. `time_ns` is when it ended (nanoseconds since 1970)."""

    name: str
    status: Status
    message: str
    details: Mapping[str, Any]
    duration_seconds: float
    time_ns: int
    critical: bool = False
    weight: float = 1.0
    kind: Kind = "component"


@dataclass(frozen=True)
class HealthReport:
    """The service's health: the aggregate and each check. `pending` are checks that have no result yet.

    Example:
        >>> import watchkeeper as wk
        >>> report = wk.health()
        >>> print(report.status, report.score)  # healthy 100.0
        >>> [check.message for check in report.checks.values() if check.status != "healthy"]
    """

    status: Status = "healthy"
    score: float = 100.0  # 0 to 100
    checks: Mapping[str, CheckReport] = field(default_factory=dict)
    pending: tuple[str, ...] = ()


class Snapshot(NamedTuple):
    """What endpoints and metrics tell."""

    report: HealthReport
    started: bool  # every check has had a result, and the application's own startup is over
    draining: bool  # no new requests, please


class Change(NamedTuple):
    """A check's status is not what it was."""

    before: Status | None
    now: CheckReport


def report_of(checks: Iterable[CheckReport], pending: Iterable[str] = ()) -> HealthReport:
    """The aggregate of checks."""
    by_name = {check.name: check for check in checks}
    status: Status = "healthy"
    for check in by_name.values():
        if check.status == "unhealthy" and check.critical:
            status = "unhealthy"
            break
        if check.status != "healthy":
            status = "degraded"
    return HealthReport(status, score_of(by_name.values()), by_name, tuple(pending))


def score_of(checks: Iterable[CheckReport]) -> float:
    """0 to 100, to a tenth; 100 of nothing."""
    checks = list(checks)
    total = math.fsum(check.weight for check in checks)
    if not total:
        return 100.0
    return round(100 * math.fsum(check.weight * VALUES[check.status] for check in checks) / total, 1)


def result_of(value: Any) -> HealthResult:
    """What a check's return value means.

    None and True are healthy, False is unhealthy. A mapping's `status` and `message` are those, the rest are details.
    """
    if value is None or isinstance(value, bool):
        return HealthResult("unhealthy", "returned False") if value is False else HealthResult()
    if isinstance(value, HealthResult):
        return value
    if isinstance(value, Mapping):
        return _result_in(dict(value))
    return HealthResult(
        "unhealthy", f"returned {type(value).__name__}: return None, True, False, a HealthResult or a dict, or raise"
    )


def _result_in(said: dict[str, Any]) -> HealthResult:
    word, message = said.pop("status", "healthy"), said.pop("message", "")
    if isinstance(word, bool):
        word = "healthy" if word else "unhealthy"
    status = _WORDS.get(str(word).lower())
    if status is None:
        return HealthResult("unhealthy", f"returned the status {word!r}: use one of {', '.join(VALUES)}", said)
    return HealthResult(status, message, said)


def worst(*found: HealthResult) -> HealthResult:
    """Several findings as one: the worst status, all messages of that which is not healthy, all details."""
    status: Status = min((result.status for result in found), key=VALUES.__getitem__, default="healthy")
    messages = [result.message for result in found if result.message and result.status != "healthy"]
    details: dict[str, Any] = {}
    for result in found:
        details.update(result.details)
    return HealthResult(status, "; ".join(messages), details)


def above(what: str, share: float, warning: float, critical: float) -> HealthResult:
    """A share (0 to 1) that must stay low: degraded from `warning` on, unhealthy from `critical` on."""
    if share < warning:
        return HealthResult()
    status: Status = "unhealthy" if share >= critical else "degraded"
    limit = critical if status == "unhealthy" else warning
    return HealthResult(status, f"{what}: {share:.0%} used, the limit is {limit:.0%}")
