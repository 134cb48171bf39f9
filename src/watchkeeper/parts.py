"""What the client and the parts of the SDK know of each other.

A part is a pillar (metrics, logging, tracing, requests, …). It exists from import on, hangs on handles of its own, and
does nothing until a client wires it; the client knows parts by this interface only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from watchkeeper.clock import Clock
from watchkeeper.export.exporter import Lane
from watchkeeper.export.queue import Queue
from watchkeeper.export.transport import Outlet
from watchkeeper.options import Options
from watchkeeper.tracing.ids import Ids
from watchkeeper.tracing.span import Span

if TYPE_CHECKING:
    from watchkeeper.errors.event import ErrorEvent
    from watchkeeper.logging.record import Record


class Sinks(NamedTuple):
    """Where spans, records and errors go instead of the queues."""

    spans: Callable[[Span], None]
    records: Callable[[Record], None]
    errors: Callable[[ErrorEvent], None] = lambda _event: None


@dataclass
class Wiring:
    """What parts work with while one client runs in one process."""

    options: Options
    clock: Clock
    ids: Ids
    resource: Mapping[str, Any]
    wake: Callable[[], None]  # the export thread, when a whole batch waits
    flush: Callable[[float], bool]  # everything, within so many seconds
    adopt: Callable[[], None]  # what was imported since
    sinks: Sinks | None = None
    lanes: dict[str, Lane] = field(default_factory=dict)  # of all parts, by signal

    def lane(
        self,
        signal: str,
        outlet: Outlet,
        encode: Callable[[Sequence[Any]], bytes],
        seen: Callable[[list[Any]], None] | None = None,
    ) -> Lane:
        """A lane with a queue as options have it."""
        queue = self.options.queue
        batch = min(queue.batch, queue.capacity)
        return Lane(signal, outlet, encode, Queue(signal, queue.capacity, batch, self.wake), seen=seen)


class Part:
    """A pillar of the SDK. What it does not need it leaves as it is here: nothing happens."""

    def lanes(self, wiring: Wiring) -> Iterable[Lane]:  # noqa: ARG002
        """New lanes for the export thread."""
        return ()

    def wire(self, wiring: Wiring) -> None:
        """Begins to work, or goes on with other options. May be told twice, and again in a forked child."""

    def adopt(self) -> None:
        """Takes in what the application has imported or configured since. Told often."""

    def every_round(self) -> None:
        """Called by the export thread, about once a second."""

    def unwire(self, timeout_seconds: float) -> None:
        """Stops: nothing new comes in. What is on its way is still sent, afterwards."""

    def flush(self, timeout_seconds: float) -> None:
        """Writes what waits outside of the lanes."""

    def locks(self) -> Iterable[threading.Lock]:
        """What a fork must not find taken by one of our threads."""
        return ()

    def forked(self) -> None:
        """In the parent, after each fork."""

    def after_fork(self) -> None:
        """In a child: forgets what is the parent's. `wire` follows, if a client runs."""
