"""How many messages wait: asked of the broker by the application's own functions, in a thread that may wait for it.

Only the process that was told to watch asks; a forked child leaves that to its parent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, Context  # the first is published under no other name

from watchkeeper.context import attach
from watchkeeper.logging.logger import get_logger
from watchkeeper.metrics.sets import queues as metrics
from watchkeeper.parts import Part, Wiring

Count = Callable[[], int]
UNKNOWN = float("nan")
_log = get_logger("watchkeeper")


class Watched(NamedTuple):
    """What is asked about a queue."""

    depth: Count
    dead_letters: Count | None


class Queues(Part):
    """Asks, every `metrics.interval_seconds`."""

    def __init__(self) -> None:
        self._watched: dict[str, Watched] = {}  # replaced whole: the thread reads it
        self._lock = threading.Lock()
        self._interval: float | None = None  # None: no client runs
        self._stop: threading.Event | None = None  # of the thread that asks
        self._wake = threading.Event()

    def watch(self, queue: str, watched: Watched) -> None:
        """Asks about this queue, too, beginning at once."""
        with self._lock:
            self._watched = {**self._watched, queue: watched}
            self._wake.set()
            self._start()

    def wire(self, wiring: Wiring) -> None:
        """Begins to ask."""
        with self._lock:
            self._interval = wiring.options.metrics.interval_seconds
            self._start()

    def unwire(self, timeout_seconds: float) -> None:  # noqa: ARG002
        """Asks no more. A question that is under way is not waited for."""
        with self._lock:
            self._interval = None
            if self._stop is not None:
                self._stop.set()
                self._wake.set()
            self._stop = None

    def after_fork(self) -> None:
        """A child does not ask what its parent does."""
        self.__init__()  # type: ignore[misc]

    def _start(self) -> None:
        if self._interval is None or self._stop is not None or not self._watched:
            return
        self._stop = threading.Event()
        self._wake = threading.Event()
        arguments = (self._stop, self._wake, self._interval)
        threading.Thread(target=self._run, args=arguments, name="watchkeeper-queues", daemon=True).start()

    def _run(self, stop: threading.Event, wake: threading.Event, interval: float) -> None:
        attach(Context({_SUPPRESS_INSTRUMENTATION_KEY: True}))  # to ask is not what the application does
        silent: set[str] = set()  # queues of which nothing can be told just now

        def ask(queue: str, count: Count) -> float:
            try:
                found = float(count())
            except Exception as error:  # noqa: BLE001  # the application's function, and the network's trouble
                if queue not in silent:
                    _log.warning("it cannot be told how many messages wait", queue=queue, exc_info=error)
                    silent.add(queue)
                return UNKNOWN  # rather than what was true before
            silent.discard(queue)
            return found

        while not stop.is_set():
            wake.clear()
            for queue, watched in self._watched.items():
                depth = ask(queue, watched.depth)
                dead_letters = None if watched.dead_letters is None else ask(queue, watched.dead_letters)
                if not stop.is_set():
                    metrics().state(queue, depth=depth, dead_letters=dead_letters)
            wake.wait(interval)


queues = Queues()


def watch_queue(queue: str, depth: Callable[[], int], *, dead_letters: Callable[[], int] | None = None) -> None:
    """Shows how many messages wait in a queue (`queue_depth`) and were given up (`queue_dead_letters`).

    The functions ask the broker. They are called in a thread of their own, every `metrics.interval_seconds`, and may
    take their time; while one raises, its figure is NaN. Say it again to replace them. Works before `configure`, too.

    Example:
        >>> import watchkeeper as wk
        >>> wk.watch_queue("orders", lambda: redis_client.llen("orders"))
    """
    queues.watch(queue, Watched(depth, dead_letters))
