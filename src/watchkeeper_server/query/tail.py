"""Follow log records as they are stored, whatever time they carry."""

from __future__ import annotations

from watchkeeper_server.model.answers import LogRecord
from watchkeeper_server.model.filters import LogFilter
from watchkeeper_server.model.times import NANOSECONDS
from watchkeeper_server.query.logs import LogQueries

# A segment's number is the time it was begun. Segments are stored in that order, save the halves of one that was split
# and, with several loaders, each other's: so the last minute is looked through again for numbers not seen yet.
_OVERLAP = 60 * NANOSECONDS


class LogTail:
    """What arrives from now on; one reader, one thread at a time.

    Records of two days that one segment brings become visible one day after the other, milliseconds apart: a look in
    between misses the second day's.
    """

    def __init__(self, logs: LogQueries, filter_: LogFilter) -> None:
        """Begin after what is stored already; this reads."""
        self._logs = logs
        self._filter = filter_
        self._first = self._newest = logs.last_segment()
        self._seen: set[int] = set()

    def look(self, limit: int) -> tuple[list[LogRecord], bool]:
        """What has arrived since the last look, oldest first: the newest `limit` of it, and whether there was more."""
        arrived = self._logs.segments_after(max(self._first, self._newest - _OVERLAP)) - self._seen
        if not arrived:
            return [], False
        self._newest = max(self._newest, *arrived)
        self._seen = {number for number in self._seen | arrived if number > self._newest - _OVERLAP}
        return self._logs.of_segments(self._filter, sorted(arrived), limit)
