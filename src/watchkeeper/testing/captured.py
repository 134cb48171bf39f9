"""What a test has seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from watchkeeper.errors.event import ErrorEvent
from watchkeeper.logging.record import Record
from watchkeeper.testing import readings
from watchkeeper.testing.telling import error_line_of, line_of, listed, tree_of
from watchkeeper.tracing.span import Span

_MISSING = object()


@dataclass
class Captured:
    """What was seen: ended spans, log lines and errors, each in order, and what metrics have counted since.

    Example:
        >>> with testing.capture() as seen:
        ...     with wk.span("bake"):
        ...         log.info("in the oven", cakes=2)
        >>> seen.line("in the oven").fields
        {'cakes': 2}
    """

    spans: list[Span] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)  # the log lines
    errors: list[ErrorEvent] = field(default_factory=list)
    _before: readings.Reading = field(default_factory=readings.read, repr=False)

    def span(self, name: str) -> Span:
        """The one span of that name; AssertionError, with the tree of all, if there is none or more than one.

        Example:
            >>> with testing.capture() as seen, wk.span("bake", cakes=2):
            ...     pass
            >>> seen.span("bake").attributes["cakes"]
            2
        """
        found = [span for span in self.spans if span.name == name]
        if len(found) != 1:
            raise AssertionError(f"{len(found)} spans are named {name!r}. {listed('Spans', [self.tree()])}")
        return found[0]

    def tree(self, *attributes: str) -> str:
        """All traces as text: a span a line, below its parent, in the order of their starts.

        Failed spans are followed by the error's type in brackets, all by those of the named attributes that they have.

        Example:
            >>> with testing.capture() as seen:
            ...     with wk.span("bake", cakes=2):
            ...         with wk.span("heat"):
            ...             pass
            >>> print(seen.tree("cakes"))
            bake cakes=2
              heat
        """
        return tree_of(self.spans, attributes)

    def line(self, message: str, **fields: Any) -> Record:
        """The one log line that says so, with these fields among its own; AssertionError, with all lines, otherwise.

        Example:
            >>> with testing.capture() as seen:
            ...     log.warning("oven cold", degrees=20)
            >>> seen.line("oven cold", degrees=20).level
            30
        """
        found = [
            record
            for record in self.records
            if record.message == message
            and all(record.fields.get(name, _MISSING) == value for name, value in fields.items())
        ]
        if len(found) != 1:
            told = "".join(f" {name}={value!r}" for name, value in fields.items())
            raise AssertionError(f"{len(found)} lines say {message + told!r}. {self._lines()}")
        return found[0]

    def messages(self) -> list[str]:
        """What the log lines say.

        Example:
            >>> with testing.capture() as seen:
            ...     log.info("in the oven")
            >>> seen.messages()
            ['in the oven']
        """
        return [record.message for record in self.records]

    def error(self, kind: str) -> ErrorEvent:
        """The one error whose exception is of that class (`LookupError`, `shop.Declined`, `Declined`).

        Of an error without an exception, `kind` is its message. AssertionError, with all errors, if there is none or
        more than one.

        Example:
            >>> with testing.capture() as seen:
            ...     try:
            ...         raise LookupError("no flour")
            ...     except LookupError as error:
            ...         event_id = wk.capture_exception(error)
            >>> seen.error("LookupError").message
            'no flour'
        """
        found = [event for event in self.errors if kind in _kinds(event)]
        if len(found) != 1:
            raise AssertionError(f"{len(found)} errors are {kind!r}. {self._errors()}")
        return found[0]

    def increase(self, name: str, **labels: str) -> float:
        """What was counted since the capture began: `orders_total`, `x_count`, `x_sum`; 0.0 if nothing was.

        Series with these labels, whatever others they have, are added up.

        Example:
            >>> orders = wk.counter("orders_total", "Orders by how they ended", ["status"])
            >>> with testing.capture() as seen:
            ...     orders.labels("paid").inc(2)
            >>> seen.increase("orders_total", status="paid")
            2.0
        """
        return sum(readings.increases(self._before, name, labels).values(), start=0.0)

    @staticmethod
    def metric(name: str, **labels: str) -> float | None:
        """A sample's value as /metrics would show it (`oven_degrees`, `x_bucket` …), None if there is none.

        The labels are all that it has. Metrics count for the life of the process: of counters, see `increase`.

        Example:
            >>> wk.gauge("oven_degrees").set(180)
            >>> testing.Captured.metric("oven_degrees")
            180.0
        """
        return readings.value_of(name, labels)

    def clear(self) -> None:
        """Forgets all of it, and counts increases from here.

        Example:
            >>> with testing.capture() as seen:
            ...     log.info("preheating")
            ...     seen.clear()
            >>> seen.messages()
            []
        """
        self.spans.clear()
        self.records.clear()
        self.errors.clear()
        self._before = readings.read()

    def describe(self) -> str:
        """All spans, lines and errors as text, for a person.

        Example:
            >>> with testing.capture() as seen:
            ...     log.info("in the oven", cakes=2)
            >>> print(seen.describe())
            Spans: none
            Lines:
              info shop: in the oven cakes=2
            Errors: none
        """
        return "\n".join([listed("Spans", [self.tree()]), self._lines(), self._errors()])

    def _lines(self) -> str:
        return listed("Lines", map(line_of, self.records))

    def _errors(self) -> str:
        return listed("Errors", map(error_line_of, self.errors))


def _kinds(event: ErrorEvent) -> set[str]:
    return {event.type, event.type.rpartition(".")[2]} if event.type else {event.message}
