"""Counting together what happens often: whoever counts appends, and a scrape, or one of 256, does the rest.

Updating a counter and a histogram one by one costs several times what it costs in a batch, and evicts the caches of
the request in whose midst it happens. Whoever reads the registry still sees everything.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Metric

from watchkeeper.export.boundary import boundary
from watchkeeper.metrics.restart import Restarting

# What waits. Where workers share a directory, any of them answers a scrape, and can settle for none of the others.
SETTLE_AT = 1 if "PROMETHEUS_MULTIPROC_DIR" in os.environ else 256

Kind = TypeVar("Kind")


class Batches(Restarting, Generic[Kind]):
    """Values by kind, each with its span. `count` is handed those of one kind together.

    Made before the metrics that `count` updates: a registry asks in that order, and to be asked is to settle.
    """

    def __init__(
        self, registry: CollectorRegistry, count: Callable[[Kind, Sequence[float], Sequence[Any]], None]
    ) -> None:
        self._count = count
        self.restart()
        registry.register(self)

    def restart(self) -> None:
        """Forgets what waits (it is the parent's), and finds no lock taken."""
        self._waiting: deque[tuple[Kind, float, Any]] = deque()
        self._settling = threading.Lock()

    def add(self, kind: Kind, value: float, span: Any) -> None:
        """Counts a value, soon."""
        waiting = self._waiting
        waiting.append((kind, value, span))
        if len(waiting) >= SETTLE_AT and self._settling.acquire(blocking=False):
            try:
                self._settle()
            finally:
                self._settling.release()

    def collect(self) -> Iterable[Metric]:
        """Nothing of its own: counts everything that waits."""
        try:
            with self._settling:
                self._settle()
        except Exception as error:  # noqa: BLE001  # a scrape shows everything else
            boundary.failed("metrics", error)
        return ()

    def describe(self) -> Iterable[Metric]:
        """Nothing of its own."""
        return ()

    def _settle(self) -> None:
        waiting = self._waiting
        by_kind: dict[Kind, tuple[list[float], list[Any]]] = {}
        for _ in range(len(waiting)):
            kind, value, span = waiting.popleft()
            found = by_kind.get(kind)
            if found is None:
                found = by_kind[kind] = ([], [])
            found[0].append(value)
            found[1].append(span)
        for kind, (values, spans) in by_kind.items():
            self._count(kind, values, spans)
