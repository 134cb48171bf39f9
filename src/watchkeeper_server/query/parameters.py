"""Values as the store's statements take them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from watchkeeper_server.model.times import NANOSECONDS, TimeRange, format_time

# The sort keys of spans and log records begin with the time cut to this.
BUCKET_NS = 300 * NANOSECONDS


def moment(time_ns: int) -> str:
    """An instant to the nanosecond."""
    return format_time(time_ns).removesuffix("Z")


def within(range_: TimeRange) -> dict[str, Any]:
    """The parameters of every statement that reads a range of time."""
    return {"start": moment(range_.start_ns), "end": moment(range_.end_ns)}


def buckets(times_ns: Iterable[int]) -> list[str]:
    """The five-minute buckets that contain the instants."""
    return [moment(bucket * BUCKET_NS)[:19] for bucket in sorted({time_ns // BUCKET_NS for time_ns in times_ns})]
