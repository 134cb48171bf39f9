"""What a partition of the tables that expire holds: see the schema."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

FIRST_DAY = date(2026, 1, 1)
"""From then on partitions are days; those of what is older are years."""


def partition_of(time_ms: int) -> date:
    """The first day of the partition that a time, Unix milliseconds, belongs to."""
    day = datetime.fromtimestamp(time_ms // 1000, UTC).date()
    return day if day >= FIRST_DAY else date(day.year, 1, 1)


def partition_end(day: date) -> date:
    """The first day after the partition that begins with a day."""
    return day + timedelta(1) if day >= FIRST_DAY else date(day.year + 1, 1, 1)
