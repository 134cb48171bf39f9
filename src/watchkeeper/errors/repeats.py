"""What leaves: each kind of error once in a window, and so many a minute. All else is counted.

The window of a kind begins with the first event that leaves. When it ends and the error came again meanwhile, one
event says how often.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, replace

from watchkeeper.errors.event import ErrorEvent, Problem

MOST_KINDS = 500  # that are remembered; the oldest window ends early
_MINUTE_NS = 60_000_000_000


@dataclass(slots=True)
class _Window:
    opened_ns: int
    event: ErrorEvent  # without what is large: it stands for its repeats
    repeats: int = 0
    last_ns: int = 0  # by the wall's clock


class Repeats:
    """Windows by fingerprint. Not for several threads at once: the collector sees to that."""

    def __init__(self, window_seconds: float, most_per_minute: int) -> None:
        self._window_ns = round(window_seconds * 1e9)
        self._windows: OrderedDict[str, _Window] = OrderedDict()  # the oldest first
        self._left: deque[int] = deque(maxlen=most_per_minute)

    def again(self, fingerprint: str, now_ns: int, wall_ns: int) -> str:
        """Counts a repeat: gives the id of the event that it repeats, empty if it is the first of a window."""
        window = self._windows.get(fingerprint)
        if window is None or now_ns - window.opened_ns >= self._window_ns:
            return ""
        window.repeats += 1
        window.last_ns = wall_ns
        return window.event.event_id

    def may_leave(self, now_ns: int) -> bool:
        """Whether another event fits into this minute; if so, it has left."""
        left = self._left
        if len(left) == left.maxlen and now_ns - left[0] < _MINUTE_NS:
            return False
        left.append(now_ns)
        return True

    def open(self, event: ErrorEvent, now_ns: int) -> None:
        """Begins the window of an event that leaves."""
        problems = tuple([_slim(problem) for problem in event.exceptions])
        self._windows[event.fingerprint] = _Window(now_ns, replace(event, breadcrumbs=(), exceptions=problems))
        self._windows.move_to_end(event.fingerprint)

    def ended(self, now_ns: int, *, every: bool = False) -> tuple[list[ErrorEvent], int]:
        """Takes the windows that have ended: an event for each in which it came again, and how many may not leave.

        Those wait for another minute, unless there is no more room. `every` ends all windows.
        """
        events: list[ErrorEvent] = []
        lost = 0
        for fingerprint, window in list(self._windows.items()):
            if not every and now_ns - window.opened_ns < self._window_ns and len(self._windows) <= MOST_KINDS:
                break
            if window.repeats:
                if not self.may_leave(now_ns):
                    if not every and len(self._windows) <= 2 * MOST_KINDS:
                        break
                    lost += 1
                else:
                    events.append(replace(window.event, repeats=window.repeats, time_ns=window.last_ns))
            del self._windows[fingerprint]
        return events, lost


def _slim(problem: Problem) -> Problem:
    frames = tuple([replace(frame, variables={}) if frame.variables else frame for frame in problem.frames])
    return replace(problem, frames=frames)
