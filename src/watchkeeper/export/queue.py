"""The bounded queue between the application's threads and the export thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from watchkeeper.export.boundary import boundary


class Queue:
    """Holds at most `capacity` items; what does not fit is dropped and counted. Never blocks, never locks.

    A deque's append and popleft are atomic. Concurrent offers may overshoot the capacity by one item a thread, which
    is bounded too.
    """

    def __init__(self, signal: str, capacity: int, batch: int, wake: Callable[[], None]) -> None:
        self.signal = signal
        self.capacity = capacity
        self.batch = batch
        self._wake = wake  # called when a whole batch waits
        self._items: deque[Any] = deque()

    def offer(self, item: Any) -> None:
        """Takes an item, or drops it."""
        items = self._items
        waiting = len(items)
        if waiting >= self.capacity:
            boundary.dropped(self.signal, "queue_full")
            return
        items.append(item)
        if waiting + 1 == self.batch:
            self._wake()

    def take(self) -> list[Any]:
        """Up to one batch of the oldest items."""
        items = self._items
        return [items.popleft() for _ in range(min(len(items), self.batch))]

    def __len__(self) -> int:
        return len(self._items)
