"""Find traces by what one of their spans is like, and sum them up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from watchkeeper_server.model.answers import ServiceShare, Traces, TraceSummary
from watchkeeper_server.model.cursors import TraceCursor
from watchkeeper_server.model.filters import SpanFilter
from watchkeeper_server.model.spans import STATUSES
from watchkeeper_server.model.times import NANOSECONDS, TimeRange, format_time
from watchkeeper_server.query.newest import newest_first
from watchkeeper_server.query.parameters import buckets_of, within
from watchkeeper_server.query.reader import Read


class TraceSearch:
    """Reads which traces there are."""

    def __init__(self, read: Read) -> None:
        """`read` runs the store's named statements."""
        self._read = read

    def search(self, filter_: SpanFilter, range_: TimeRange, limit: int, cursor: TraceCursor | None = None) -> Traces:
        """A page of the traces with a matching span in the range, by the time of their newest such span, newest first.

        A trace is on one page only, also where its spans lie on both sides of a page's end.
        """
        conditions = self._conditions(filter_)
        seen: list[str] = []

        def matches(window: TimeRange, wanted: int) -> list[TraceCursor]:
            fresh: list[TraceCursor] = []
            asked = found = wanted
            while found == asked and len(fresh) < wanted:
                asked = wanted - len(fresh)
                rows = self._matches(conditions, window, asked, except_=seen)
                found = len(rows)
                seen.extend(row.trace_id for row in rows)
                fresh += self._unanswered(rows, cursor, range_, conditions)
            return fresh

        end_ns = min(range_.end_ns, cursor.time_ns + 1) if cursor else range_.end_ns
        found = newest_first(TimeRange(range_.start_ns, end_ns), limit + 1, matches)
        page = found[:limit]
        summaries = self.summaries({match.trace_id: match.time_ns for match in page})
        return Traces(
            traces=[summaries[match.trace_id] for match in page if match.trace_id in summaries],
            next=str(page[-1]) if len(found) > limit else None,
        )

    def extents(self, trace_ids: Iterable[str]) -> dict[str, TimeRange]:
        """For each trace that is known, when its spans began: whole seconds, perhaps a little too wide."""
        keys = {trace_id: int(trace_id[16:], 16) for trace_id in trace_ids}
        rows = self._read("read_trace_extents", {"keys": sorted(set(keys.values()))}).to_pylist() if keys else []
        extents = {
            row["trace_key"]: TimeRange(row["first"] * NANOSECONDS, (row["last"] + 1) * NANOSECONDS) for row in rows
        }
        return {trace_id: extents[key] for trace_id, key in keys.items() if key in extents}

    def summaries(self, traces: Mapping[str, int]) -> dict[str, TraceSummary]:
        """Traces by id, each over all its spans; `traces` gives a span's time for each id, in case it is very new."""
        if not traces:
            return {}
        extents = {id_: TimeRange(time_ns, time_ns + 1) for id_, time_ns in traces.items()} | self.extents(traces)
        whole = TimeRange(min(one.start_ns for one in extents.values()), max(one.end_ns for one in extents.values()))
        parameters = within(whole) | {"ids": list(traces), "buckets": buckets_of(extents.values()) or None}
        parts: dict[str, list[dict[str, Any]]] = {}
        for row in self._read("read_trace_summaries", parameters).to_pylist():
            parts.setdefault(row["id"], []).append(row)
        return {trace_id: _summary(trace_id, rows) for trace_id, rows in parts.items()}

    def _matches(
        self,
        conditions: dict[str, Any],
        range_: TimeRange,
        limit: int,
        among: Sequence[str] = (),
        except_: Sequence[str] = (),
    ) -> list[TraceCursor]:
        parameters = (
            conditions
            | within(range_)
            | {"limit": limit, "among": list(among) or None, "except": list(except_) or None}
        )
        rows = self._read("read_trace_matches", parameters).to_pylist()
        return [TraceCursor(row["newest_ns"], row["id"]) for row in rows]

    def _unanswered(
        self, matches: list[TraceCursor], cursor: TraceCursor | None, range_: TimeRange, conditions: dict[str, Any]
    ) -> list[TraceCursor]:
        """Those not on an earlier page: that is where a trace belongs whose newest match is newer than the cursor."""
        if not cursor:
            return matches
        matches = [match for match in matches if (match.time_ns, match.trace_id) < (cursor.time_ns, cursor.trace_id)]
        ends = {id_: extent.end_ns for id_, extent in self.extents(match.trace_id for match in matches).items()}
        longer = [id_ for id_, end_ns in ends.items() if end_ns > cursor.time_ns + 1]
        newer = TimeRange(cursor.time_ns + 1, min(range_.end_ns, max((ends[id_] for id_ in longer), default=0)))
        if not longer or newer.end_ns <= newer.start_ns:
            return matches
        answered = {match.trace_id for match in self._matches(conditions, newer, len(longer), among=longer)}
        return [match for match in matches if match.trace_id not in answered]

    def _conditions(self, filter_: SpanFilter) -> dict[str, Any]:
        bearers = [
            self._read("read_resources_with", {"name": name, "value": value}).column("id").to_pylist()
            for name, value in filter_.attributes
        ]
        return {
            "service": filter_.service or None,
            "operation": filter_.operation or None,
            "status": STATUSES.index(filter_.status) if filter_.status else None,
            "min_duration_ns": filter_.min_duration_ns,
            "max_duration_ns": filter_.max_duration_ns,
            "attribute_names": [name for name, _ in filter_.attributes] or None,
            "attribute_values": [value for _, value in filter_.attributes] or None,
            "attribute_bearers": bearers or None,
        }


def _summary(trace_id: str, rows: list[dict[str, Any]]) -> TraceSummary:
    """One trace from its rows, one a service."""
    first = min(rows, key=lambda row: tuple(row["first"].values()))
    root_missing, _, operation = first["first"].values()
    start_ns = min(row["start_ns"] for row in rows)
    shares = [ServiceShare(name=row["service"], spans=row["spans"], errors=row["errors"]) for row in rows]
    return TraceSummary(
        trace_id=trace_id,
        start=format_time(start_ns),
        duration_ns=max(row["end_ns"] for row in rows) - start_ns,
        service=first["service"],
        operation=operation,
        root_missing=bool(root_missing),
        spans=sum(share["spans"] for share in shares),
        errors=sum(share["errors"] for share in shares),
        services=sorted(shares, key=lambda share: (-share["spans"], share["name"])),
    )
