"""A circuit breaker: who fails again and again is left alone for a while."""

from __future__ import annotations

import time
from collections.abc import Callable


class CircuitBreaker:
    """Opens after `failures` in a row, for `rest_seconds`; then one try decides. For one caller at a time."""

    def __init__(
        self, failures: int = 5, rest_seconds: float = 30.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = failures
        self._rest = rest_seconds
        self._clock = clock
        self._failures = 0
        self._opened_at = 0.0

    def waits(self) -> float:
        """The seconds until the next try is due; 0 if one may be made now."""
        if self._failures < self._most:
            return 0.0
        return max(0.0, self._opened_at + self._rest - self._clock())

    def succeeded(self) -> None:
        """Closes it."""
        self._failures = 0

    def failed(self) -> None:
        """Counts a failure; a failed try opens it anew."""
        self._failures += 1
        if self._failures >= self._most:
            self._opened_at = self._clock()
