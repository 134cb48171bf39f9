"""The error boundary: where the SDK's own failures end, so that none of them becomes the application's.

In production a failure is counted (`watchkeeper_sdk_errors_total{where}`) and said once per place on the
`watchkeeper` logger. Under pytest, or with WATCHKEEPER_STRICT=1, it is raised, because there it is a bug to be found.
"""

from __future__ import annotations

import logging
import sys
import threading

from prometheus_client import Counter

from watchkeeper.multiprocess import ensure_folder
from watchkeeper.values import told

diagnostics = logging.getLogger("watchkeeper")

_trouble = ensure_folder()  # before the first metric
if _trouble:
    diagnostics.warning(_trouble)
ERRORS = Counter(
    "watchkeeper_sdk_errors", "Failures inside the Watchkeeper SDK, by the place that caught them", ["where"]
)
DROPPED = Counter(
    "watchkeeper_sdk_dropped", "Items the Watchkeeper SDK gave up, by signal and the reason why", ["signal", "reason"]
)


class Boundary:
    """Takes failures; `strict` makes it raise them instead."""

    def __init__(self) -> None:
        self.strict = "pytest" in sys.modules
        self._said: set[tuple[str, str]] = set()

    def failed(self, where: str, error: BaseException) -> None:
        """Counts a failure of our own code in `where`, in a thread of the application. Raises it when strict."""
        ERRORS.labels(where).inc()
        if self.strict:
            raise error
        self.say_once(where, f"watchkeeper {where} failed and carries on: {told(error)}", error)

    def failed_in_background(self, where: str, error: BaseException) -> None:
        """Counts a failure in one of our own threads, which goes on.

        When strict, `threading.excepthook` hears of it.
        """
        ERRORS.labels(where).inc()
        if self.strict:
            hook_args = threading.ExceptHookArgs((type(error), error, error.__traceback__, threading.current_thread()))
            threading.excepthook(hook_args)
        else:
            self.say_once(where, f"watchkeeper {where} failed and carries on: {told(error)}", error)

    def dropped(self, signal: str, reason: str, count: int = 1, detail: str = "") -> None:
        """Counts items that will never arrive; the first of a kind is also said.

        One kind is what cannot reach a server, and one what is left at the end, whatever the signal.
        """
        DROPPED.labels(signal, reason).inc(count)
        place = f"{signal} {reason}"
        if reason == "shutdown":
            place = reason
        elif reason == "unreachable":
            server = detail.partition("//")[2].partition("/")[0].partition(": ")[0]
            place = f"{reason} {server or signal}"
        self.say_once(place, f"watchkeeper drops {signal} ({reason}){': ' if detail else ''}{detail}")

    def say_once(self, place: str, message: str, error: BaseException | None = None) -> None:
        """One line per place and process: a warning that repeats ten thousand times is itself harm."""
        key = (place, type(error).__name__)
        if key in self._said:
            return
        self._said.add(key)
        diagnostics.disabled = False  # an application that configures logging disables all loggers there are by default
        diagnostics.warning(message, exc_info=error)


boundary = Boundary()
