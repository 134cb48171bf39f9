"""What bringing segments to the store tells of itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from watchkeeper_server.journal.segment import Segment
from watchkeeper_server.model.errors import StoreError
from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.telemetry import Telemetry, logger


class DrainTelemetry:
    """Implements `journal.drain.DrainEvents`."""

    def __init__(self, telemetry: Telemetry, forget_series: Callable[[], None]) -> None:
        """`forget_series` lets every series be announced to the store again."""
        self._telemetry = telemetry
        self._forget_series = forget_series

    def loaded(self, kind: Kind, segment: Segment) -> None:
        """See the protocol."""
        self._telemetry.loaded_segments.labels(kind).inc()
        self._telemetry.loaded_bytes.labels(kind).inc(segment.size_bytes)

    def delayed(self, kind: Kind, error: Exception) -> None:
        """See the protocol."""
        self._telemetry.delayed_loads.labels(kind).inc()
        logger.warning("storing %s is delayed, retrying: %s: %s", kind, type(error).__name__, error)

    def quarantined(self, kind: Kind, path: Path, error: StoreError) -> None:
        """See the protocol."""
        self._telemetry.quarantined.labels(kind).inc()
        if kind is Kind.SAMPLES:  # labels of series may be among what was set aside
            self._forget_series()
        logger.error("a payload of %s cannot be stored and was set aside in %s: %s", kind, path, error)
