"""The HTTP server's metrics, with their series bound once per (method, route, status)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from watchkeeper.metrics.declare import BYTES_BUCKETS, Gauge, counter, gauge, histogram

_MAX_BOUND = 10_000  # combinations kept; they are templates times statuses, so only a mistake gets here


class Bound(NamedTuple):
    """What one finished request updates."""

    count: Callable[[], None]
    duration_seconds: Callable[[float], None]
    request_bytes: Callable[[float], None]
    response_bytes: Callable[[float], None]


class HttpMetrics:
    """Requests by method, route template and status."""

    def __init__(self) -> None:
        self._requests = counter("http_requests_total", "HTTP requests served", ["method", "route", "status"])
        self._durations = histogram(
            "http_request_duration_seconds", "Time to the end of the response", ["method", "route", "status"]
        )
        self._request_sizes = histogram(
            "http_request_size_bytes", "Bytes of request bodies", ["method", "route"], buckets=BYTES_BUCKETS
        )
        self._response_sizes = histogram(
            "http_response_size_bytes", "Bytes of response bodies", ["method", "route"], buckets=BYTES_BUCKETS
        )
        self._in_progress = gauge("http_requests_in_progress", "HTTP requests being served now", ["method"])
        self._errors = counter(
            "http_errors_total",
            "HTTP requests that failed on the server's side, by status or exception",
            ["method", "route", "type"],
        )
        self._bound: dict[tuple[str, str, int], Bound] = {}
        self._by_method: dict[str, Gauge] = {}

    def bound(self, method: str, route: str, status: int) -> Bound:
        """The series of such requests."""
        key = (method, route, status)
        found = self._bound.get(key)
        if found is None:
            if len(self._bound) >= _MAX_BOUND:
                self._bound.clear()
            found = self._bound[key] = Bound(
                self._requests.labels(method, route, status).inner.inc,
                self._durations.labels(method, route, status).inner.observe,
                self._request_sizes.labels(method, route).inner.observe,
                self._response_sizes.labels(method, route).inner.observe,
            )
        return found

    def in_progress(self, method: str) -> Gauge:
        """The gauge of requests being served; `method` is one of the known ones or _OTHER."""
        found = self._by_method.get(method)
        if found is None:
            found = self._by_method[method] = self._in_progress.labels(method)
        return found

    def error(self, method: str, route: str, kind: str) -> None:
        """Counts a failed request."""
        self._errors.labels(method, route, kind).inc()
