"""The server's own metrics and log.

One registry, served at `/metrics`; names begin with `watchkeeper_`. Modules that have something to tell are handed a
small event class instead of the registry, so that they need not know how it is counted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from watchkeeper_server.model.errors import WatchkeeperError

logger = logging.getLogger("watchkeeper")

_LOAD_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_QUERY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Telemetry:
    """Counts what the server does."""

    def __init__(self) -> None:
        """Begin at zero, with a registry of its own: several servers in one process do not mix."""
        self.registry = CollectorRegistry()
        self.started = time.time()
        self.received = self._counter("received_items", "Items acknowledged, durable in the journal.", "signal")
        self.received_bytes = self._counter("received_bytes", "Bytes of the requests that held them.", "signal")
        self.rejected = self._counter("rejected_items", "Items refused; the sender was told why.", "signal", "reason")
        self.refused = self._counter("refused_requests", "Requests of which nothing was taken.", "signal", "reason")
        self.new_series = self._counter("new_series", "Series received that this process had not seen before.")
        self.loaded_segments = self._counter("loaded_segments", "Segments stored and searchable.", "kind")
        self.loaded_bytes = self._counter("loaded_bytes", "Bytes of the segments stored.", "kind")
        self.delayed_loads = self._counter("delayed_loads", "Loads that failed for a passing reason.", "kind")
        self.quarantined = self._counter("quarantined_payloads", "Payloads set aside as undigestible.", "kind")
        self.retention_dropped = self._counter(
            "retention_dropped_bytes", "Bytes dropped to make room on the disk.", "signal"
        )
        self.scrapes = self._counter("scrapes", "Scrapes by how they ended.", "job", "outcome")
        self.scraped_samples = self._counter("scraped_samples", "Samples that scrapes brought.", "job")
        self.scraped_bytes = self._counter("scraped_bytes", "Bytes of the responses, decompressed.", "job")
        self.scrape_left_out = self._counter("scrape_left_out_samples", "Samples not stored.", "job", "reason")
        self.load_seconds = Histogram(
            "watchkeeper_load_seconds",
            "Time to store a segment.",
            ["kind"],
            buckets=_LOAD_BUCKETS,
            registry=self.registry,
        )
        self.query_seconds = Histogram(
            "watchkeeper_query_seconds",
            "Time the store took for a query.",
            ["query"],
            buckets=_QUERY_BUCKETS,
            registry=self.registry,
        )

    def gauge(self, name: str, text: str, label: str | None, read: Callable[[], Mapping[str, float]]) -> None:
        """Show figures that are read when somebody looks: label value → figure; without a label its key is ''."""
        self.registry.register(_Reading(f"watchkeeper_{name}", text, label, read))

    @contextmanager
    def timed_query(self, name: str) -> Iterator[None]:
        """Time a query by its statement's name."""
        with self.query_seconds.labels(name).time():
            yield

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"watchkeeper_{name}", text, labels, registry=self.registry)


class _Reading(Collector):
    """A gauge family computed on demand."""

    def __init__(self, name: str, text: str, label: str | None, read: Callable[[], Mapping[str, float]]) -> None:
        self._name, self._text, self._label, self._read = name, text, label, read

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self._name, self._text, labels=[self._label] if self._label else [])
        try:
            figures = self._read()
        except WatchkeeperError:  # one figure less is better than none at all
            return
        for value, figure in figures.items():
            family.add_metric([value] if self._label else [], figure)
        yield family


class ReceiveTelemetry:
    """Implements `receive.otlp.ReceiveEvents`."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def received(self, signal: str, items: int, size_bytes: int) -> None:
        """See the protocol."""
        self._telemetry.received.labels(signal).inc(items)
        self._telemetry.received_bytes.labels(signal).inc(size_bytes)

    def rejected(self, signal: str, reason: str, items: int) -> None:
        """See the protocol."""
        self._telemetry.rejected.labels(signal, reason).inc(items)

    def refused(self, signal: str, reason: str, items: int) -> None:
        """See the protocol."""
        self._telemetry.refused.labels(signal, reason).inc()
        if items:
            self.rejected(signal, reason, items)

    def new_series(self, count: int) -> None:
        """See the protocol."""
        self._telemetry.new_series.inc(count)


class RetentionTelemetry:
    """Implements `store.retention.RetentionEvents`."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def dropped(self, signal: str, period: str, size_bytes: int, why: str) -> None:
        """See the protocol."""
        self._telemetry.retention_dropped.labels(signal).inc(size_bytes)
        logger.warning("dropped the %s of %s, %.1f MB: %s", signal, period, size_bytes / (1 << 20), why)

    def nothing_left(self, why: str) -> None:
        """See the protocol."""
        logger.warning("%s, and nothing is left to drop but what is of today; free some space, or allow more", why)

    def failed(self, error: Exception) -> None:
        """See the protocol."""
        logger.warning("no room can be made on the disk, trying again: %s: %s", type(error).__name__, error)


def memory_bytes() -> dict[str, int]:
    """This process's memory: `resident` and, of that, `private`: its own, not pages of files that can be dropped."""
    figures = {}
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in ("Rss", "Anonymous"):
            figures[name] = int(rest.split()[0]) * 1024
    return {"resident": figures["Rss"], "private": figures["Anonymous"]}
