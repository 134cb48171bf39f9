"""Where the SDK reads time, so that tests can turn the hands."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Two clocks, in nanoseconds: `wall_ns` says when, `monotonic_ns` says how long and never jumps."""

    wall_ns: Callable[[], int] = time.time_ns
    monotonic_ns: Callable[[], int] = time.perf_counter_ns


SYSTEM_CLOCK = Clock()
