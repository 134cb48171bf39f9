"""The traces of the last minutes, for a look from within: `recent_traces` and `trace_summary`.

The export thread files finished spans as it takes them from the queue, so that requests pay nothing, and what is told
is up to a second old. Only facts are kept, no attributes: at most 1,000 traces of at most 200 spans, 20,000 spans in
all, which is some 6 MB. The trace whose first span came first goes first.
"""

from __future__ import annotations

from collections import deque
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
    missing: int  # spans beyond those, or forgotten

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


class RecentTraces:
    """The ring. One thread files, any may read: a reader copies a dictionary or a deque in one step of C.

    Spans are kept as plain tuples of numbers and text, which garbage collection need not look at.
    """

    def __init__(self) -> None:
        self.clear()

    def file(self, spans: Iterable[Span]) -> None:
        """Takes finished spans."""
        seen, kept = self._seen, self._spans
        for span in spans:
            trace_id, name = span.trace_id, span.name
            earlier = seen.get(trace_id, 0)
            seen[trace_id] = earlier + 1
            if earlier >= MOST_SPANS_OF_ONE:
                continue
            if len(name) > _LONGEST_NAME:
                name = f"{name[:_LONGEST_NAME]}…"
            failed = span.status_code is StatusCode.ERROR
            kept.append((trace_id, (span.span_id, span.parent_id, name, span.start_time, span.end_time, failed)))
        while len(seen) > MOST_TRACES:
            del seen[next(iter(seen))]

    def latest(self, limit: int) -> list[TraceSummary]:
        """The newest traces first, by when the first span of each arrived."""
        seen = self._seen.copy()
        newest = list(seen)[-limit:] if limit > 0 else []
        found: dict[int, list[SpanFacts]] = {trace_id: [] for trace_id in reversed(newest)}
        for trace_id, facts in self._spans.copy():
            if trace_id in found:
                found[trace_id].append(SpanFacts(*facts))
        return [_summary(trace_id, spans, seen[trace_id]) for trace_id, spans in found.items() if spans]

    def find(self, trace_id: int) -> TraceSummary | None:
        """One of them."""
        seen = self._seen.get(trace_id, 0)
        spans = [SpanFacts(*facts) for of, facts in self._spans.copy() if of == trace_id] if seen else []
        return _summary(trace_id, spans, seen) if spans else None

    def clear(self) -> None:
        """Forgets all of them."""
        self._seen: dict[int, int] = {}  # how many spans of each trace came, the oldest trace first
        self._spans: deque[tuple[int, tuple[int, int, str, int, int, bool]]] = deque(maxlen=MOST_SPANS)


def _summary(trace_id: int, spans: list[SpanFacts], seen: int) -> TraceSummary:
    spans.reverse()  # of spans with one start, the one that ended last encloses the others
    spans.sort(key=lambda span: span.start_time)
    return TraceSummary(f"{trace_id:032x}", tuple(spans), max(0, seen - len(spans)))


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
