"""A cache within the process: an entry lives for a time, and the oldest makes room when the cache is full."""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import watchkeeper as wk

Value = TypeVar("Value")

lookups = wk.counter("shop_cache_lookups_total", "Cache lookups by result", ["result"])


class Cache(Generic[Value]):
    """Remembers for `ttl_seconds` what `get` loaded; holds at most `capacity` entries. Thread-safe."""

    def __init__(self, *, ttl_seconds: float, capacity: int = 500, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl_seconds = ttl_seconds
        self._capacity = capacity
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[Hashable, tuple[float, Value]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable, load: Callable[[], Value]) -> Value:
        """The value of `key`, remembered or loaded now. Callers that miss at the same time each load."""
        with self._lock:
            entry = self._entries.get(key)
        if entry is not None and self._clock() < entry[0]:
            lookups.labels(result="hit").inc()
            return entry[1]
        lookups.labels(result="miss").inc()
        value = load()
        with self._lock:
            self._entries.pop(key, None)  # an entry that is replaced becomes the youngest
            while len(self._entries) >= self._capacity:
                del self._entries[next(iter(self._entries))]
            self._entries[key] = (self._clock() + self._ttl_seconds, value)
        return value
