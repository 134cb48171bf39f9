"""One trace, whole: its spans in order, what made them, and the log records that name it."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson

from watchkeeper_server.model.answers import ServiceShare, Span, SpanEvent, SpanLink, Status, Trace
from watchkeeper_server.model.attributes import decode_attributes, typed
from watchkeeper_server.model.errors import NotFoundError
from watchkeeper_server.model.spans import kind_of, status_of
from watchkeeper_server.model.times import NANOSECONDS, TimeRange, format_time
from watchkeeper_server.query.logs import LogQueries, present, scope_of
from watchkeeper_server.query.parameters import within
from watchkeeper_server.query.reader import Read
from watchkeeper_server.query.resources import Resources
from watchkeeper_server.query.trace_search import TraceSearch

MAX_SPANS = 10_000
MAX_LOG_RECORDS = 1_000
# Log records are looked for this long before and after the trace: the clocks of machines differ.
LOG_SLACK_NS = 60 * NANOSECONDS

Row = dict[str, Any]


class TraceQueries:
    """Reads a trace by its id."""

    def __init__(self, read: Read) -> None:
        """`read` runs the store's named statements."""
        self._read = read
        self._search = TraceSearch(read)
        self._logs = LogQueries(read)
        self._resources = Resources(read)
        self._beside = ThreadPoolExecutor(max_workers=2, thread_name_prefix="trace-logs")
        self.search = self._search.search

    def get(self, trace_id: str) -> Trace:
        """A trace by its id in lower-case hex: at most 10,000 spans, the earliest, and its 1,000 newest log records.

        Raises:
            NotFoundError: no span names it.
        """
        extent = self._search.extents([trace_id]).get(trace_id)
        if not extent:
            raise _not_found(trace_id)
        # spans and log records take as long as each other: read at once
        reading_logs = self._beside.submit(self._logs.of_trace, trace_id, _around(extent), MAX_LOG_RECORDS)
        rows = self._rows(trace_id, extent)
        if not rows:
            raise _not_found(trace_id)
        truncated = len(rows) > MAX_SPANS
        rows = in_order(rows[:MAX_SPANS])
        start_ns = min(row["start_ns"] for row in rows)
        end_ns = max(row["start_ns"] + max(0, row["duration_ns"]) for row in rows)
        logs, logs_truncated = reading_logs.result()
        if end_ns > extent.end_ns + LOG_SLACK_NS:  # a span outlasts where log records were looked for
            longer = _around(TimeRange(extent.start_ns, end_ns))
            logs, logs_truncated = self._logs.of_trace(trace_id, longer, MAX_LOG_RECORDS)
        trace = Trace(
            trace_id=trace_id,
            start=format_time(start_ns),
            duration_ns=end_ns - start_ns,
            services=_shares(rows),
            spans=[_span(trace_id, row, start_ns) for row in rows],
            resources=self._resources.get({row["resource_id"] for row in rows}),
            logs=logs,
            truncated=truncated,
            logs_truncated=logs_truncated,
        )
        if truncated:  # say how large it is all the same
            whole = self._search.summaries({trace_id: start_ns})[trace_id]
            trace["duration_ns"], trace["services"] = whole["duration_ns"], whole["services"]
        return trace

    def _rows(self, trace_id: str, extent: TimeRange) -> list[Row]:
        parameters = within(extent) | {"trace_id": trace_id, "limit": MAX_SPANS + 1}
        rows: list[Row] = self._read("read_trace_spans", parameters).to_pylist()
        return rows


def _around(extent: TimeRange) -> TimeRange:
    return TimeRange(max(0, extent.start_ns - LOG_SLACK_NS), extent.end_ns + LOG_SLACK_NS)


def _not_found(trace_id: str) -> NotFoundError:
    return NotFoundError(f"no trace {trace_id} is stored; it may not have arrived yet, or be past its retention")


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Spans by start time, but each after its parent, whatever the clocks said.

    A span whose parent is not among them counts as a root, and so does the earliest of a circle.
    """
    ids = {row["id"] for row in rows}
    children: defaultdict[str, list[int]] = defaultdict(list)
    ready: list[tuple[int, int]] = []  # start, place in rows
    for i, row in enumerate(rows):
        if row["parent"] in ids and row["parent"] != row["id"]:
            children[row["parent"]].append(i)
        else:
            ready.append((row["start_ns"], i))
    by_start = iter(sorted(range(len(rows)), key=lambda i: (rows[i]["start_ns"], i)))
    heapq.heapify(ready)
    done = [False] * len(rows)
    ordered: list[Row] = []
    while len(ordered) < len(rows):
        # with nothing ready only circles are left
        i = heapq.heappop(ready)[1] if ready else next(i for i in by_start if not done[i])
        if done[i]:
            continue
        done[i] = True
        ordered.append(rows[i])
        for child in children.pop(rows[i]["id"], ()):
            heapq.heappush(ready, (rows[child]["start_ns"], child))
    return ordered


def _shares(rows: Sequence[Row]) -> list[ServiceShare]:
    spans = Counter(row["service"] for row in rows)
    errors = Counter(row["service"] for row in rows if status_of(row["status_code"]) == "error")
    return [
        ServiceShare(name=name, spans=count, errors=errors[name])
        for name, count in sorted(spans.items(), key=lambda item: (-item[1], item[0]))
    ]


def _span(trace_id: str, row: Row, trace_start_ns: int) -> Span:
    return Span(
        trace_id=trace_id,
        span_id=row["id"],
        parent_span_id=present(row["parent"]),
        name=row["name"],
        kind=kind_of(row["kind"]),
        service=row["service"],
        start=format_time(row["start_ns"]),
        end=format_time(row["start_ns"] + row["duration_ns"]),
        offset_ns=row["start_ns"] - trace_start_ns,
        duration_ns=row["duration_ns"],
        status=Status(code=status_of(row["status_code"]), message=row["status_message"]),
        attributes=decode_attributes(row["attribute_texts"], row["attribute_type_names"]),
        events=_events(row, trace_start_ns) if row["event_names"] else [],
        links=_links(row) if row["link_traces"] else [],
        scope=scope_of(row),
        resource=row["resource_id"],
        trace_state=row["trace_state"],
        flags=row["flags"],
        dropped_attributes_count=row["dropped_attributes_count"],
        dropped_events_count=row["dropped_events_count"],
        dropped_links_count=row["dropped_links_count"],
    )


def _events(row: Row, trace_start_ns: int) -> list[SpanEvent]:
    events = zip(
        row["event_times_ns"],
        row["event_names"],
        orjson.loads(row["event_attribute_texts"]),
        orjson.loads(row["event_attribute_type_names"]),
        row["event_dropped_attributes_counts"],
        strict=True,
    )
    return [
        SpanEvent(
            time=format_time(time_ns),
            offset_ns=time_ns - trace_start_ns,
            name=name,
            attributes=typed(attributes, types),
            dropped_attributes_count=dropped,
        )
        for time_ns, name, attributes, types, dropped in events
    ]


def _links(row: Row) -> list[SpanLink]:
    links = zip(
        row["link_traces"],
        row["link_spans"],
        row["link_trace_states"],
        row["link_flags"],
        orjson.loads(row["link_attribute_texts"]),
        orjson.loads(row["link_attribute_type_names"]),
        row["link_dropped_attributes_counts"],
        strict=True,
    )
    return [
        SpanLink(
            trace_id=trace_id,
            span_id=span_id,
            trace_state=trace_state,
            flags=flags,
            attributes=typed(attributes, types),
            dropped_attributes_count=dropped,
        )
        for trace_id, span_id, trace_state, flags, attributes, types, dropped in links
    ]
