"""Gauges that are computed when somebody looks, from what this process has counted.

Workers that share a directory (PROMETHEUS_MULTIPROC_DIR) do not expose them: a ratio cannot be added up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from watchkeeper.metrics.declare import Counter
from watchkeeper.metrics.restart import Restarting

_MINUTE = 60


class Ratios(Collector):
    """`hits / (hits + misses)` of each series."""

    def __init__(self, name: str, doc: str, hits: Counter, misses: Counter) -> None:
        self._name = name
        self._doc = doc
        self._hits = hits
        self._misses = misses

    def collect(self) -> Iterable[Metric]:
        """A sample for each label set that one of the counters has."""
        hits, misses = self._hits.values(), self._misses.values()
        family = GaugeMetricFamily(self._name, self._doc, labels=self._hits.label_names)
        for labels in dict.fromkeys([*hits, *misses]):
            total = hits.get(labels, 0.0) + misses.get(labels, 0.0)
            if total:
                family.add_metric(labels, hits.get(labels, 0.0) / total)
        return [family]


class PerMinute(Restarting):
    """How often something happened within the last sixty seconds."""

    def __init__(self, name: str, doc: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._doc = doc
        self._clock = clock
        self.restart()

    def restart(self) -> None:
        """Begins at zero, with a lock of its own."""
        self._lock = threading.RLock()  # a finalizer that counts may run in a thread that holds it
        self._seconds = [0] * _MINUTE  # which second each slot holds
        self._counts = [0] * _MINUTE

    def count(self) -> None:
        """It happened."""
        second = int(self._clock())
        slot = second % _MINUTE
        with self._lock:
            if self._seconds[slot] != second:
                self._seconds[slot], self._counts[slot] = second, 0
            self._counts[slot] += 1

    def value(self) -> int:
        """How often it happened within the last sixty seconds."""
        since = int(self._clock()) - _MINUTE
        with self._lock:
            return sum(count for second, count in zip(self._seconds, self._counts, strict=True) if second > since)

    def collect(self) -> Iterable[Metric]:
        """The one sample."""
        return [GaugeMetricFamily(self._name, self._doc, value=self.value())]
