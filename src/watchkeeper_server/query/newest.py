"""Search from a range's end towards its start: what there is plenty of is answered from the newest data alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from watchkeeper_server.model.times import NANOSECONDS, TimeRange

T = TypeVar("T")

_FIRST_WINDOW_NS = 10 * NANOSECONDS
# A window that held something is followed by a somewhat longer one; where nothing is found, four windows span a month.
_GROWTH = 8
_GROWTH_AFTER_NOTHING = 64


def newest_first(range_: TimeRange, wanted: int, find: Callable[[TimeRange, int], list[T]]) -> list[T]:
    """What `find` finds in adjoining windows, from the newest on, until as many as wanted are found.

    Args:
        range_: where to search.
        wanted: how many are enough.
        find: answers at most so many finds of a window, newest first.
    """
    found: list[T] = []
    end_ns, length_ns = range_.end_ns, _FIRST_WINDOW_NS
    while end_ns > range_.start_ns and len(found) < wanted:
        start_ns = max(range_.start_ns, end_ns - length_ns)
        finds = find(TimeRange(start_ns, end_ns), wanted - len(found))
        found += finds
        length_ns *= _GROWTH if finds else _GROWTH_AFTER_NOTHING
        end_ns = start_ns
    return found
