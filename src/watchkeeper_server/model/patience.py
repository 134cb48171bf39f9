"""How long whoever asked waits for the answer that this thread works on, and whether they are still there.

Known to the thread instead of handed down, as Go's context would be: it concerns whatever is done for a question and
nothing of what is asked.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_PAUSE_SECONDS, _ATTEMPTS = 0.05, 40

_end: ContextVar[float] = ContextVar("end", default=math.inf)


class Asker:
    """Whoever waits for an answer, until they leave. Any thread may tell."""

    def __init__(self) -> None:
        """They begin to wait."""
        self.gone = False
        self._since = time.monotonic()
        self._stops: list[Callable[[], None]] = []
        self._changed = threading.Condition()

    def waited_seconds(self) -> float:
        """How long they have waited by now."""
        return time.monotonic() - self._since

    def leave(self) -> None:
        """They are gone: stop what is being done for them. Takes as long as that does, two seconds at most."""
        with self._changed:
            self.gone = True
        # what has only just begun may not be known yet to those that could stop it
        for _ in range(_ATTEMPTS):
            with self._changed:
                stops = list(self._stops)
            for stop in stops:
                stop()
            with self._changed:
                if self._changed.wait_for(lambda: not self._stops, _PAUSE_SECONDS):
                    return

    @contextmanager
    def stopping_with(self, stop: Callable[[], None]) -> Iterator[None]:
        """Within this, `stop` ends what is being done when they leave; it may be called more than once, or too late."""
        with self._changed:
            self._stops.append(stop)
        try:
            yield
        finally:
            with self._changed:
                self._stops.remove(stop)
                self._changed.notify_all()


_asker: ContextVar[Asker | None] = ContextVar("asker", default=None)


def asker() -> Asker | None:
    """Who waits for what this thread does; None where nobody can leave."""
    return _asker.get()


@contextmanager
def answering(who: Asker) -> Iterator[None]:
    """Within this, the thread works for somebody."""
    token = _asker.set(who)
    try:
        yield
    finally:
        _asker.reset(token)


def left_seconds() -> float:
    """How long it may still take; infinite where nobody has set a limit."""
    return _end.get() - time.monotonic()


@contextmanager
def limited_to(seconds: float) -> Iterator[None]:
    """Within this, it may take so long, or less where less was left already."""
    token = _end.set(min(_end.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _end.reset(token)
