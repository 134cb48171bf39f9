"""Traces that the adaptive sampler had no room for, watched until it is known whether they failed or were slow.

What enters this process without being kept is recorded all the same, and held. When its local root ends,

- it is kept, with every span held, if one of its spans that ended before the root failed, or the root took at least
  `slow_seconds`;
- otherwise it is let go.

At most 256 spans of one trace and 10,000 in all are held; the root itself always has room. Spans beyond that are
missing from a trace that is kept, and counted as dropped (`undecided_full`). Spans that end after their root follow
its decision. Other processes hear "not sampled" meanwhile: what they record of the trace is their own sampler's choice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from opentelemetry.trace import StatusCode

from watchkeeper.export.boundary import boundary
from watchkeeper.tracing.sampling import Adaptive
from watchkeeper.tracing.span import Span

MOST_OF_ONE = 256
MOST_IN_ALL = 10_000


class Undecided:
    """What all watched traces share: where kept spans go, what they are charged to, how many may be held.

    Nothing here locks: a deque's ends are atomic, and a fork leaves nothing taken.
    """

    def __init__(self, sink: Callable[[Span], None], sampler: Adaptive, room: int = MOST_IN_ALL) -> None:
        self.sink = sink
        self.charge = sampler.bucket.spend
        self.slow_ns = sampler.slow_seconds * 1e9
        self.room: deque[None] = deque([None] * room)  # a place for each span that may still be held

    def watch(self, root_id: int) -> WatchedTrace:
        """The sink of a local root's spans."""
        return WatchedTrace(self, root_id)


class WatchedTrace:
    """The sink of one local root and of everything below it."""

    __slots__ = ("_failed", "_held", "_kept", "_missing", "_root_id", "_shared")

    def __init__(self, shared: Undecided, root_id: int) -> None:
        self._shared = shared
        self._root_id = root_id
        self._held: deque[Span] = deque()
        self._failed = False
        self._missing = 0
        self._kept: bool | None = None  # None until the root has ended

    def __call__(self, span: Span) -> None:
        """Takes a span that has ended."""
        if span.status_code is StatusCode.ERROR:
            self._failed = True
        if span.span_id == self._root_id:
            self._decide(span)
        else:
            self._hold(span)

    def __del__(self) -> None:
        """Gives back the room of a trace whose root was lost without having ended."""
        self._shared.room.extend([None] * len(self._held))

    def _decide(self, root: Span) -> None:
        shared = self._shared
        kept = self._failed or root.end_time - root.start_time >= shared.slow_ns
        self._kept = kept
        self._settle()
        if kept:
            self._keep(root)
            if self._missing:
                boundary.dropped("traces", "undecided_full", self._missing)

    def _hold(self, span: Span) -> None:
        if len(self._held) >= MOST_OF_ONE:
            self._missing += 1
            return
        try:
            self._shared.room.pop()
        except IndexError:
            self._missing += 1
            return
        self._held.append(span)
        if self._kept is not None:  # looked at after the append, as the root decides before it settles: none is left
            self._settle()

    def _settle(self) -> None:
        """Passes what is held on, or lets it go."""
        held, room = self._held, self._shared.room
        while held:
            try:
                span = held.popleft()
            except IndexError:  # another thread was faster
                return
            room.append(None)
            if self._kept:
                self._keep(span)

    def _keep(self, span: Span) -> None:
        self._shared.charge(1)
        span.mark_sampled()
        self._shared.sink(span)
