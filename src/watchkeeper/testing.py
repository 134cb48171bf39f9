"""For tests of applications: what the SDK would have sent, on a clock that the test turns.

Example:
    >>> with watchkeeper.testing.capture() as seen:
    ...     client.post("/orders")
    >>> seen.span("POST /orders").attributes["http.response.status_code"]
    201
    >>> seen.messages()
    ['order placed']
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from watchkeeper.client import Client, running_client, shutdown, start_client
from watchkeeper.clock import SYSTEM_CLOCK, Clock
from watchkeeper.errors.event import ErrorEvent
from watchkeeper.logging.options import LogOptions
from watchkeeper.logging.record import Record
from watchkeeper.metrics.declare import declarations
from watchkeeper.options import Options
from watchkeeper.parts import Sinks
from watchkeeper.tracing.ids import Ids
from watchkeeper.tracing.span import Span


class FakeClock:
    """Both clocks stand still until `advance`."""

    def __init__(self, wall_ns: int = 1_800_000_000_000_000_000) -> None:
        self.wall_ns = wall_ns
        self.monotonic_ns = 1

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        passed = round(seconds * 1e9)
        self.wall_ns += passed
        self.monotonic_ns += passed

    def clock(self) -> Clock:
        """What the SDK reads."""
        return Clock(lambda: self.wall_ns, lambda: self.monotonic_ns)


class SequentialIds:
    """Ids 1, 2, 3 …, of traces and of spans."""

    def __init__(self) -> None:
        self._traces = self._spans = 0

    def trace_id(self) -> int:
        """The next trace's."""
        self._traces += 1
        return self._traces

    def span_id(self) -> int:
        """The next span's."""
        self._spans += 1
        return self._spans


@dataclass
class Captured:
    """What was seen: ended spans, log records and errors, in order."""

    spans: list[Span] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    errors: list[ErrorEvent] = field(default_factory=list)

    def span(self, name: str) -> Span:
        """The one span of that name; AssertionError, listing what there is, if there is none or more than one."""
        found = [span for span in self.spans if span.name == name]
        if len(found) != 1:
            raise AssertionError(f"{len(found)} spans are named {name!r} among {[span.name for span in self.spans]}")
        return found[0]

    def messages(self) -> list[str]:
        """What the log lines say."""
        return [record.message for record in self.records]

    @staticmethod
    def metric(name: str, **labels: str) -> float | None:
        """A sample's value as /metrics would show it (`orders_total`, `x_bucket` …), None if there is none.

        Metrics count for the life of the process: compare with a reading before.
        """
        for family in declarations.registry.collect():
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        return None


@contextmanager
def capture(
    options: Options | None = None, *, clock: Clock = SYSTEM_CLOCK, ids: Ids | None = None
) -> Iterator[Captured]:
    """Runs the SDK with nothing leaving the process; a client that was running is shut down first.

    Without options, lines from info upwards are captured and none is printed.
    """
    if running_client() is not None:
        shutdown()
    wanted = options or Options(logs=LogOptions(stream="off"))
    seen = Captured()
    start_client(Client(replace(wanted, export={}), clock, ids, _sinks(seen)))
    try:
        yield seen
    finally:
        shutdown()


def _sinks(seen: Captured) -> Sinks:
    return Sinks(seen.spans.append, seen.records.append, seen.errors.append)
