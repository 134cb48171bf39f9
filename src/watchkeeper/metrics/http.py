"""The HTTP server's metrics.

A finished request costs its thread one append. The samples are counted in batches: by the export thread, by a scrape,
or by the request that finds too many waiting. That is ten times cheaper than updating nine counters in the middle
of a request, whose caches they would evict, and whoever reads the registry still sees every finished request.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from watchkeeper.export.boundary import boundary
from watchkeeper.metrics.declare import BYTES_BUCKETS, Gauge, declarations
from watchkeeper.metrics.paths import UnmatchedPaths
from watchkeeper.metrics.standard import standard_counter, standard_gauge, standard_histogram

# Requests waiting; counting 256 takes half a millisecond. Where workers share a directory, any of them answers a
# scrape, and can settle for none of the others.
_SETTLE_AT = 1 if "PROMETHEUS_MULTIPROC_DIR" in os.environ else 256
_MOST_SERIES = 10_000  # bound sets kept: they are templates times statuses, so only a mistake gets here


Kind = tuple[str, str, int]  # method, route, status
_Sample = tuple[Kind, float, int, int, Any]


class _Series(NamedTuple):
    """What one kind of request updates."""

    increment: Callable[[float], None]
    seconds: Callable[[Sequence[float], Sequence[Any]], None]
    request_bytes: Callable[[Sequence[float]], None]
    response_bytes: Callable[[Sequence[float]], None]


class HttpMetrics(Collector):
    """Requests by method, route template and status."""

    def __init__(self, registry: CollectorRegistry) -> None:
        registry.register(self)  # before the metrics, so that a scrape settles first
        by_status, by_route = ["method", "route", "status"], ["method", "route"]
        self._requests = standard_counter("http_requests_total", "HTTP requests served", by_status)
        self._seconds = standard_histogram(
            "http_request_duration_seconds", "Time to the end of the response", by_status
        )
        self._request_bytes = standard_histogram(
            "http_request_size_bytes", "Size of request bodies", by_route, BYTES_BUCKETS
        )
        self._response_bytes = standard_histogram(
            "http_response_size_bytes", "Size of response bodies", by_route, BYTES_BUCKETS
        )
        self._in_progress = standard_gauge("http_requests_in_progress", "HTTP requests being served", ["method"])
        self._errors = standard_counter(
            "http_errors_total", "HTTP requests that failed on this side, by status or exception", [*by_route, "type"]
        )
        self.unmatched = UnmatchedPaths()
        self._series: dict[Kind, _Series] = {}
        self._gauges: dict[str, Gauge] = {}
        self._pending: deque[_Sample] = deque()
        self._active: dict[str, set[object]] = {}
        self._settling = threading.Lock()

    def active(self, method: str) -> set[object]:
        """The requests being served by method: add and discard are atomic, and its length is the gauge."""
        found = self._active.get(method)
        return self._active.setdefault(method, set()) if found is None else found

    def add(self, kind: Kind, seconds: float, request_bytes: int, response_bytes: int, span: Any = None) -> None:
        """Counts a finished request, soon; its span is of a trace that may be sampled."""
        pending = self._pending
        pending.append((kind, seconds, request_bytes, response_bytes, span))
        if len(pending) >= _SETTLE_AT and self._settling.acquire(blocking=False):
            try:
                self._settle()
            finally:
                self._settling.release()

    def error(self, method: str, route: str, kind: str) -> None:
        """Counts a failed request."""
        self._errors.labels(method, route, kind).inc()

    def settle(self) -> None:
        """Counts everything that waits."""
        with self._settling:
            self._settle()

    def collect(self) -> Iterable[Metric]:
        """Nothing of its own: being asked is the moment to settle."""
        try:
            self.settle()
        except Exception as error:  # noqa: BLE001  # a scrape shows everything else
            boundary.failed("metrics", error)
        return ()

    def describe(self) -> Iterable[Metric]:
        """Nothing of its own."""
        return ()

    def settling(self) -> threading.Lock:
        """Held while samples are counted."""
        return self._settling

    def after_fork(self) -> None:
        """A child serves none of its parent's requests, and the parent counts those."""
        self._pending.clear()
        self._active = {method: set() for method in self._active}  # kept, so that their gauges become zero
        self._settling = threading.Lock()

    def _settle(self) -> None:
        pending = self._pending
        by_kind: dict[Kind, list[_Sample]] = {}
        for _ in range(len(pending)):
            sample = pending.popleft()
            samples = by_kind.get(sample[0])
            if samples is None:
                samples = by_kind[sample[0]] = []
            samples.append(sample)
        for kind, samples in by_kind.items():
            series = self._series.get(kind) or self._bind(*kind)
            _, seconds, request_bytes, response_bytes, spans = zip(*samples, strict=True)
            series.increment(len(samples))
            series.seconds(seconds, spans)
            series.request_bytes(request_bytes)
            series.response_bytes(response_bytes)
        for method, active in list(self._active.items()):
            bound = self._gauges.get(method)
            if bound is None:
                bound = self._gauges[method] = self._in_progress.labels(method)
            bound.set(len(active))

    def _bind(self, method: str, route: str, status: int) -> _Series:
        if len(self._series) >= _MOST_SERIES:
            self._series.clear()
        series = self._series[method, route, status] = _Series(
            self._requests.labels(method, route, status).inner.inc,
            self._seconds.labels(method, route, status).inner.observe_many,
            self._request_bytes.labels(method, route).inner.observe_many,
            self._response_bytes.labels(method, route).inner.observe_many,
        )
        return series


http_metrics = HttpMetrics(declarations.standard)
