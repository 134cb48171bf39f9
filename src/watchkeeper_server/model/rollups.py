"""What samples are rolled up to, and from when on each is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NEVER_MS = -(1 << 62)
"""Earlier than anything."""


@dataclass(frozen=True, slots=True)
class Rollup:
    """Rows of one width: `signal` is what their retention goes by, `title` what people call them."""

    signal: str
    table: str
    width_ms: int
    title: str


ROLLUPS = (
    Rollup("rollups-5m", "rollups_5m", 300_000, "5 minutes"),
    Rollup("rollups-1h", "rollups_1h", 3_600_000, "1 hour"),
)


@dataclass(frozen=True, slots=True)
class RolledUp:
    """What of the samples is rolled up, Unix milliseconds; all times are borders of buckets.

    Attributes:
        samples_from_ms: samples of later than this are kept; of that time and earlier there are but rollups.
        until_ms: samples until this, and of this time, are rolled up.
        from_ms: what each rollup there is begins with.
    """

    samples_from_ms: int = NEVER_MS
    until_ms: int = NEVER_MS
    from_ms: Mapping[Rollup, int] = field(default_factory=dict)
