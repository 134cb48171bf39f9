"""The event loop: how late it ran what was due, at worst since the last look."""

from __future__ import annotations

from collections.abc import Callable

from watchkeeper.health.results import HealthResult

WARNING_SECONDS, CRITICAL_SECONDS = 0.1, 0.5


class EventLoop:
    """Degraded from `warning_seconds` on, unhealthy from `critical_seconds` on; healthy where there is no loop.

    `worst_lag` gives the worst lag since it was last asked for, None without a loop.
    """

    def __init__(
        self,
        worst_lag: Callable[[], float | None],
        warning_seconds: float = WARNING_SECONDS,
        critical_seconds: float = CRITICAL_SECONDS,
    ) -> None:
        self._worst_lag = worst_lag
        self._warning = warning_seconds
        self._critical = critical_seconds

    def __call__(self) -> HealthResult:
        """The worst lag in seconds."""
        lag = self._worst_lag()
        if lag is None:
            return HealthResult(message="no event loop runs")
        details = {"lag_seconds": round(lag, 4)}
        if lag < self._warning:
            return HealthResult(details=details)
        message = f"the event loop was blocked for {lag * 1e3:.0f} ms"
        return HealthResult("unhealthy" if lag >= self._critical else "degraded", message, details)
