"""The traces of the last minutes, for a look from within: `recent_traces` and `trace_summary`.

The export thread files finished spans as it takes them from the queue, so that requests pay nothing, and what is told
is up to a second old. Only facts are kept, no attributes: at most 1,000 traces of at most 200 spans, 20,000 spans in
all, which is some 6 MB. The trace whose first span
came first goes first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from opentelemetry.trace import StatusCode

from watchkeeper.tracing.span import Span

MOST_TRACES = 1_000
MOST_SPANS_OF_ONE = 200
MOST_SPANS = 20_000
_LONGEST_NAME = 200  # characters


class SpanFacts(NamedTuple):
    """A finished span in a summary. Times are nanoseconds since 1970."""

    span_id: int
    parent_id: int  # 0: a root
    name: str
    start_time: int
    end_time: int
    failed: bool

    @property
    def duration_seconds(self) -> float:
        """How long it took."""
        return (self.end_time - self.start_time) / 1e9


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """A trace as far as this process has seen it.

    Example:
        >>> import watchkeeper as wk
        >>> for trace in wk.recent_traces(limit=10):
        ...     print(trace.trace_id, trace.name, trace.duration_seconds, trace.errors)
    """

    trace_id: str  # 32 hexadecimal digits
    spans: tuple[SpanFacts, ...]  # by their start; the first 200 to finish
    missing: int  # spans beyond those

    @property
    def root(self) -> SpanFacts:
        """The span that began it here: the first whose parent is not among its spans."""
        ids = {span.span_id for span in self.spans}
        return next((span for span in self.spans if span.parent_id not in ids), self.spans[0])

    @property
    def name(self) -> str:
        """The root's name."""
        return self.root.name

    @property
    def start_time(self) -> int:
        """When the first span began, in nanoseconds since 1970."""
        return self.spans[0].start_time

    @property
    def duration_seconds(self) -> float:
        """From the first span's start to the last one's end."""
        return (max(span.end_time for span in self.spans) - self.start_time) / 1e9

    @property
    def errors(self) -> int:
        """How many of its spans failed."""
        return sum(span.failed for span in self.spans)


class _Filed:
    """One trace's spans, as they came."""

    __slots__ = ("missing", "spans")

    def __init__(self) -> None:
        self.spans: list[SpanFacts] = []
        self.missing = 0


class RecentTraces:
    """The ring. One thread files, any may read: a reader copies a list or a dictionary in one step of C."""

    def __init__(self) -> None:
        self._traces: dict[int, _Filed] = {}
        self._spans = 0

    def file(self, spans: Iterable[Span]) -> None:
        """Takes finished spans."""
        traces = self._traces
        for span in spans:
            filed = traces.get(span.trace_id)
            if filed is None:
                filed = traces[span.trace_id] = _Filed()
            elif len(filed.spans) >= MOST_SPANS_OF_ONE:
                filed.missing += 1
                continue
            name = span.name
            filed.spans.append(
                SpanFacts(
                    span.span_id,
                    span.parent_id,
                    name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…",
                    span.start_time,
                    span.end_time,
                    span.status_code is StatusCode.ERROR,
                )
            )
            self._spans += 1
        while len(traces) > MOST_TRACES or self._spans > MOST_SPANS:
            self._spans -= len(traces.pop(next(iter(traces))).spans)

    def latest(self, limit: int) -> list[TraceSummary]:
        """The newest traces first, by when the first span of each arrived."""
        items = list(self._traces.items())
        return [_summary(trace_id, filed) for trace_id, filed in reversed(items[-limit:] if limit > 0 else [])]

    def find(self, trace_id: int) -> TraceSummary | None:
        """One of them."""
        filed = self._traces.get(trace_id)
        return None if filed is None else _summary(trace_id, filed)

    def clear(self) -> None:
        """Forgets all of them."""
        self._traces = {}
        self._spans = 0


def _summary(trace_id: int, filed: _Filed) -> TraceSummary:
    latest_first = reversed(filed.spans.copy())  # of spans with one start, the one that ended last encloses the others
    spans = tuple(sorted(latest_first, key=lambda span: span.start_time))
    return TraceSummary(f"{trace_id:032x}", spans, filed.missing)


recent = RecentTraces()


def recent_traces(limit: Any = MOST_TRACES) -> list[TraceSummary]:
    """The newest traces first, at most 1,000: what this process has exported, up to a second ago.

    Example:
        >>> import watchkeeper as wk
        >>> slowest = sorted(wk.recent_traces(), key=lambda trace: trace.duration_seconds)[-3:]
    """
    return recent.latest(limit if isinstance(limit, int) else MOST_TRACES)


def trace_summary(trace_id: Any) -> TraceSummary | None:
    """One recent trace by its id (hexadecimal text or a number); None if it is not, or no more, among them.

    Example:
        >>> import watchkeeper as wk
        >>> wk.trace_summary("4bf92f3577b34da6a3ce929d0e0e4736")
    """
    if isinstance(trace_id, str):
        try:
            trace_id = int(trace_id, 16)
        except ValueError:
            return None
    return recent.find(trace_id) if isinstance(trace_id, int) else None
