"""Health as metrics: read from the latest report whenever somebody asks, so that no series outlives its check."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from watchkeeper.health.results import VALUES, HealthReport


class HealthMetrics(Collector):
    """`watchkeeper_health_status`, `…_check_duration_seconds` and `…_score`; nothing before there is a result.

    Like all that is computed, one process's own: workers that share a directory do not expose it.
    """

    def __init__(self, report: Callable[[], HealthReport]) -> None:
        self._report = report

    def collect(self) -> Iterable[Metric]:
        """The latest results."""
        report = self._report()
        if not report.checks:
            return
        status = GaugeMetricFamily(
            "watchkeeper_health_status",
            "What a health check found: 1 healthy, 0.5 degraded, 0 unhealthy",
            labels=["check", "critical"],
        )
        seconds = GaugeMetricFamily(
            "watchkeeper_health_check_duration_seconds", "Time a health check took", labels=["check"]
        )
        for name, check in report.checks.items():
            status.add_metric([name, "true" if check.critical else "false"], VALUES[check.status])
            seconds.add_metric([name], check.duration_seconds)
        yield status
        yield seconds
        yield GaugeMetricFamily("watchkeeper_health_score", "The service's health, from 0 to 100", value=report.score)

    def describe(self) -> Iterable[Metric]:
        """Claims no name."""
        return ()
