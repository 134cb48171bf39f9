"""What scraping tells of itself, counted and remembered for the API."""

from __future__ import annotations

import time

from watchkeeper_server.telemetry import Telemetry


class ScrapeTelemetry:
    """Implements `receive.scrape.events.ScrapeEvents`."""

    def __init__(self, telemetry: Telemetry) -> None:
        """No configuration has been loaded yet."""
        self._telemetry = telemetry
        self.loaded_ns = 0
        self.current = True

    def scraped(self, job: str, samples: int, size_bytes: int) -> None:
        """See the protocol."""
        self._telemetry.scrapes.labels(job, "ok").inc()
        self._telemetry.scraped_samples.labels(job).inc(samples)
        self._telemetry.scraped_bytes.labels(job).inc(size_bytes)

    def failed(self, job: str) -> None:
        """See the protocol."""
        self._telemetry.scrapes.labels(job, "failed").inc()

    def left_out(self, job: str, reason: str, samples: int) -> None:
        """See the protocol."""
        self._telemetry.scrape_left_out.labels(job, reason).inc(samples)

    def not_written(self, job: str) -> None:
        """See the protocol."""
        self._telemetry.scrapes.labels(job, "not_written").inc()

    def reloaded(self, *, successful: bool) -> None:
        """See the protocol."""
        self.current = successful
        if successful:
            self.loaded_ns = time.time_ns()
