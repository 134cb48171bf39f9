"""Log records: search, counts over time, and following what arrives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

import numpy as np

from watchkeeper_server.model.answers import LogCounts, LogRecord, Logs, Scope
from watchkeeper_server.model.attributes import decode_attributes, decode_value
from watchkeeper_server.model.cursors import LogCursor
from watchkeeper_server.model.filters import LogFilter
from watchkeeper_server.model.severity import LOWEST, severity_of, words_from
from watchkeeper_server.model.times import NANOSECONDS, TimeRange, format_time
from watchkeeper_server.query.newest import newest_first
from watchkeeper_server.query.parameters import buckets_at, buckets_of, moment, within
from watchkeeper_server.query.reader import Read
from watchkeeper_server.query.resources import Resources

Row = Mapping[str, Any]


class LogQueries:
    """Reads log records."""

    def __init__(self, read: Read) -> None:
        """`read` runs the store's named statements."""
        self._read = read
        self._resources = Resources(read)

    def search(self, filter_: LogFilter, range_: TimeRange, limit: int, cursor: LogCursor | None = None) -> Logs:
        """A page of matching records, newest first; the pages neither skip nor repeat any.

        The first half finds when the newest matches were, reading only what it filters by; the second reads whole
        records of just those instants.
        """
        conditions = _conditions(filter_)

        def times(window: TimeRange, wanted: int) -> list[int]:
            rows = self._read("read_log_times", conditions | within(window) | {"limit": wanted})
            found: list[int] = rows.column("time_ns").to_pylist()
            return found

        # records of the cursor's own instant may be left, besides one more than a page of older ones
        end_ns = min(range_.end_ns, cursor.time_ns) if cursor else range_.end_ns
        instants = newest_first(TimeRange(range_.start_ns, end_ns), limit + 1, times)
        if cursor and range_.start_ns <= cursor.time_ns < range_.end_ns:
            instants.append(cursor.time_ns)
        if not instants:
            return Logs(logs=[], next=None)
        rows = self._rows(conditions, limit + 1, cursor, instants=instants)
        page = rows[:limit]
        return Logs(logs=self._records(page), next=str(_end_of(page, cursor)) if len(rows) > limit else None)

    def counts(self, filter_: LogFilter, range_: TimeRange, pieces: int) -> LogCounts:
        """How many match in each piece of the range, by severity; severities without any are left out."""
        step_ns = range_.step_ns(pieces)
        pieces = -(-(range_.end_ns - range_.start_ns) // step_ns)  # a range of few nanoseconds has no more pieces
        rows = self._read("read_log_counts", _conditions(filter_) | within(range_) | {"step_ns": step_ns})
        counts: dict[str, np.ndarray[Any, np.dtype[np.int64]]] = {}
        for row in rows.to_pylist():
            severity = severity_of(row["severity_number"], row["severity_text"])
            counts.setdefault(severity, np.zeros(pieces, np.int64))[row["piece"]] += row["records"]
        return LogCounts(
            start=format_time(range_.start_ns),
            end=format_time(range_.end_ns),
            step_seconds=step_ns / NANOSECONDS,
            counts={severity: series.tolist() for severity, series in counts.items()},
            total=int(sum(series.sum() for series in counts.values())),
        )

    def last_segment(self) -> int:
        """The number of the newest segment stored; 0 when there is none."""
        number: int = self._read("read_last_log_segment", {}).column("segment")[0].as_py()
        return number

    def segments_after(self, number: int) -> set[int]:
        """The numbers of the segments stored whose number is greater."""
        return set(self._read("read_log_segments", {"after": number}).column("segment").to_pylist())

    def of_segments(self, filter_: LogFilter, segments: Sequence[int], limit: int) -> tuple[list[LogRecord], bool]:
        """The newest matching records that the segments brought, oldest first, and whether there are more."""
        rows = self._rows(_conditions(filter_), limit + 1, segments=segments)
        return self._records(rows[:limit])[::-1], len(rows) > limit

    def of_trace(self, trace_id: str, around: TimeRange, limit: int) -> tuple[list[LogRecord], bool]:
        """The newest records that name a trace, oldest first, and whether there are more.

        `around` says where to look, to five minutes: being that narrow, one statement does.
        """
        conditions = _conditions(LogFilter(trace_id=trace_id))
        rows = self._rows(conditions, limit + 1, buckets=buckets_of([around]))
        return self._records(rows[:limit])[::-1], len(rows) > limit

    def _rows(
        self,
        conditions: dict[str, Any],
        limit: int,
        cursor: LogCursor | None = None,
        instants: Sequence[int] = (),
        buckets: Sequence[str] = (),
        segments: Sequence[int] = (),
    ) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._read(
            "read_logs",
            conditions
            | {
                "times": [moment(time_ns) for time_ns in dict.fromkeys(instants)] or None,
                "buckets": buckets_at(instants) or list(buckets) or None,
                "segments": list(segments) or None,
                "newest": moment(cursor.time_ns) if cursor else None,
                "tie": cursor.tie if cursor else None,
                "answered": cursor.answered if cursor else 0,
                "limit": limit,
            },
        ).to_pylist()
        return rows

    def _records(self, rows: Sequence[Row]) -> list[LogRecord]:
        resources = self._resources.get({row["resource_id"] for row in rows})
        return [
            LogRecord(
                time=format_time(row["time_ns"]),
                observed_time=format_time(row["observed_ns"]) if row["observed_ns"] else None,
                severity=severity_of(row["severity_number"], row["severity_text"]),
                severity_number=row["severity_number"],
                severity_text=row["severity_text"],
                service=row["service"],
                body=decode_value(row["body"], row["body_type"]),
                event_name=row["event_name"],
                trace_id=present(row["trace"]),
                span_id=present(row["span"]),
                flags=row["flags"],
                attributes=decode_attributes(row["attribute_texts"], row["attribute_type_names"]),
                dropped_attributes_count=row["dropped_attributes_count"],
                scope=scope_of(row),
                resource=resources[row["resource_id"]],
            )
            for row in rows
        ]


def present(id_: str) -> str | None:
    """An id as it is, None where it is all zeros: absent."""
    return id_ if id_.strip("0") else None


def scope_of(row: Row) -> Scope:
    """The instrumentation scope in a row of spans or log records."""
    return Scope(
        name=row["scope_name"],
        version=row["scope_version"],
        attributes=decode_attributes(row["scope_attribute_texts"], row["scope_attribute_type_names"]),
        schema_url=row["scope_schema_url"],
        dropped_attributes_count=row["scope_dropped_attributes_count"],
    )


def _conditions(filter_: LogFilter) -> dict[str, Any]:
    return {
        "service": filter_.service or None,
        "severity": LOWEST[filter_.level] if filter_.level else None,
        "severity_words": words_from(filter_.level) if filter_.level else None,
        "trace_id": filter_.trace_id or None,
        "span_id": filter_.span_id or None,
        "words": list(filter_.words.words) or None,
        "phrases": list(filter_.words.phrases) or None,
    }


def _end_of(page: Sequence[Row], before: LogCursor | None) -> LogCursor:
    """The cursor after a page's last record; equal records that the pages before it ended with count along."""
    last = (page[-1]["time_ns"], page[-1]["tie"])
    answered = sum(1 for _ in takewhile(lambda row: (row["time_ns"], row["tie"]) == last, reversed(page)))
    if before and (before.time_ns, before.tie) == last:
        answered += before.answered
    return LogCursor(*last, answered)
