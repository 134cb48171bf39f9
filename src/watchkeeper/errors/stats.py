"""How many errors there were: what `wk.error_stats()` tells."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from watchkeeper.errors.event import ErrorEvent
from watchkeeper.metrics.computed import PerMinute
from watchkeeper.metrics.sets import errors

MOST_FINGERPRINTS = 1_000  # told apart; of more, those that were seen last


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One kind of error: what it looked like last, and how often it came."""

    title: str
    category: str
    severity: str
    count: int
    last_seen_ns: int


@dataclass(frozen=True, slots=True)
class ErrorStats:
    """The errors of this process since it started, sent or not.

    Example:
        >>> import watchkeeper as wk
        >>> wk.error_stats().by_category.get("database", 0)
        0
    """

    total: int
    per_minute: int  # of the last sixty seconds
    by_category: Mapping[str, int]
    by_severity: Mapping[str, int]
    by_fingerprint: Mapping[str, ErrorKind]  # those that were seen last, at most a thousand


class Tally:
    """Counts errors, here and in the metrics."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begins at zero, with a lock of its own."""
        self.lock = threading.RLock()  # a finalizer that logs an error may run in a thread that holds it
        self._categories: Counter[str] = Counter()
        self._severities: Counter[str] = Counter()
        self._kinds: OrderedDict[str, ErrorKind] = OrderedDict()
        self._recent = PerMinute("errors", "")

    def count(self, event: ErrorEvent) -> None:
        """Counts one."""
        errors().error(event.category, event.severity)
        self._recent.count()
        with self.lock:
            self._categories[event.category] += 1
            self._severities[event.severity] += 1
            known = self._kinds.pop(event.fingerprint, None)
            if len(self._kinds) >= MOST_FINGERPRINTS:
                self._kinds.popitem(last=False)
            before = known.count if known is not None else 0
            kind = ErrorKind(event.title, event.category, event.severity, before + 1, event.time_ns)
            self._kinds[event.fingerprint] = kind

    def stats(self) -> ErrorStats:
        """The counts so far."""
        per_minute = self._recent.value()
        with self.lock:
            return ErrorStats(
                self._categories.total(),
                per_minute,
                dict(self._categories),
                dict(self._severities),
                dict(self._kinds),
            )


tally = Tally()


def error_stats() -> ErrorStats:
    """How many errors this process has seen: by category, by severity, by fingerprint, and per minute.

    Example:
        >>> import watchkeeper as wk
        >>> stats = wk.error_stats()
        >>> worst = max(stats.by_fingerprint.values(), key=lambda kind: kind.count, default=None)
    """
    return tally.stats()
