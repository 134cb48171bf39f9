"""Values as the store's statements take them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from watchkeeper_server.model.times import LATEST_NS, NANOSECONDS, TimeRange, format_time

# The sort keys of spans and log records begin with the time cut to this.
BUCKET_NS = 300 * NANOSECONDS
_LAST_BUCKET = LATEST_NS // BUCKET_NS
_MAX_BUCKETS = 10_000


def moment(time_ns: int) -> str:
    """An instant to the nanosecond."""
    return format_time(time_ns).removesuffix("Z")


def within(range_: TimeRange) -> dict[str, Any]:
    """The parameters of every statement that reads a range of time."""
    return {"start": moment(range_.start_ns), "end": moment(range_.end_ns)}


def buckets_of(ranges: Iterable[TimeRange]) -> list[str]:
    """The five-minute buckets that the ranges touch; none, which does not restrict, if they are too many to list."""
    numbers: set[int] = set()
    for one in ranges:
        numbers.update(range(one.start_ns // BUCKET_NS, min((one.end_ns - 1) // BUCKET_NS + 1, _LAST_BUCKET)))
        if len(numbers) > _MAX_BUCKETS:
            return []
    return [moment(number * BUCKET_NS)[:19] for number in sorted(numbers)]


def buckets_at(times_ns: Iterable[int]) -> list[str]:
    """The five-minute buckets that contain the instants."""
    return buckets_of(TimeRange(time_ns, time_ns + 1) for time_ns in times_ns)
