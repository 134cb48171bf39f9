"""Beginning at zero after a fork. prometheus_client has no such thing, so this knows how it keeps its values."""
# ruff: noqa: SLF001

from __future__ import annotations

import threading
from abc import abstractmethod
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector
from prometheus_client.values import ValueClass


class Restarting(Collector):
    """A collector that counts."""

    @abstractmethod
    def restart(self) -> None:
        """Begins at zero, with locks of its own."""


def restart(registry: CollectorRegistry) -> None:
    """Sets counters, histograms and summaries back to zero, from now; no metric's lock is found taken."""
    for collector in list(registry._collector_to_names):
        if isinstance(collector, MetricWrapperBase):
            _restart(collector)
        elif isinstance(collector, Restarting):
            collector.restart()


def _restart(metric: Any) -> None:
    for series in [metric, *metric._metrics.values()] if metric._is_parent() else [metric]:
        series._lock = threading.Lock()
        if not series._is_observable() or ValueClass._multiprocess:
            continue  # values in a shared directory are in a file of each process's own, and begin anew by themselves
        if isinstance(series, Counter | Histogram | Summary):
            series._metric_init()
        elif isinstance(series, Gauge):
            series._value._lock = threading.Lock()
