"""The read path's options."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RecentOptions:
    """How many of the newest samples are kept in memory, 16 bytes each, and for how long at most."""

    samples: int = 4_000_000
    # an hour, and what a dashboard's longest windows reach back
    span_ms: int = 90 * 60 * 1000
