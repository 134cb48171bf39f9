"""Instants and durations: integers of nanoseconds inside, text at the edges."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache

NANOSECONDS = 1_000_000_000
DEFAULT_RANGE_NS = 3_600 * NANOSECONDS
# The store's five-minute buckets are 32-bit seconds, which end in 2106.
LATEST_NS = 4_102_444_800 * NANOSECONDS  # 2100-01-01

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": NANOSECONDS,
    "m": 60 * NANOSECONDS,
    "h": 3_600 * NANOSECONDS,
    "d": 86_400 * NANOSECONDS,
    "w": 604_800 * NANOSECONDS,
}
_PART = r"(\d{1,12}(?:\.\d{1,12})?)(ns|us|µs|ms|s|m|h|d|w)"
_PARTS = re.compile(_PART, re.ASCII)
_DURATION = re.compile(f"(?:{_PART})+", re.ASCII)
_RELATIVE = re.compile(r"now(?:([+-])(.+))?")
_UNIX = re.compile(r"\d{1,12}(?:\.\d{1,9})?", re.ASCII)
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From `start_ns` up to, and not including, `end_ns`."""

    start_ns: int
    end_ns: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.end_ns - self.start_ns) / NANOSECONDS

    def step_ns(self, pieces: int) -> int:
        """The length of each of so many equal pieces, which together cover the range; at least one nanosecond."""
        return max(1, -(-(self.end_ns - self.start_ns) // pieces))


def parse_time(text: str, now_ns: int) -> int:
    """A time in nanoseconds since 1970: RFC 3339, Unix seconds, or relative to now, such as `now-15m`.

    Raises:
        ValueError: it is none of these, or not between 1970 and 2100.
    """
    if relative := _RELATIVE.fullmatch(text):
        sign, distance = relative.groups()
        time_ns = now_ns + (parse_duration(distance) * (-1 if sign == "-" else 1) if sign else 0)
    elif _UNIX.fullmatch(text):
        time_ns = int(Decimal(text) * NANOSECONDS)
    elif match := _RFC3339.fullmatch(text):
        date, clock, fraction, zone = match.groups()
        # Python's own fractions end at microseconds
        seconds = int(datetime.fromisoformat(f"{date}T{clock}{zone.upper()}").timestamp())
        time_ns = seconds * NANOSECONDS + int((fraction or "").ljust(9, "0"))
    else:
        raise ValueError(
            f"{text!r} is not a time; write RFC 3339 (2026-11-21T05:00:00Z), Unix seconds, or relative to now (now-15m)"
        )
    if not 0 <= time_ns <= LATEST_NS:
        raise ValueError(f"{text!r} is not between 1970 and 2100; Unix times are in seconds")
    return time_ns


def parse_duration(text: str) -> int:
    """A duration in nanoseconds: `250ms`, `1.5s`, `1h30m`; the units are ns, us, ms, s, m, h, d and w.

    Raises:
        ValueError: it is not one.
    """
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration; write a number and its unit, such as 250ms, 1.5s or 2m")
    return int(sum(Decimal(number) * _UNITS_NS[unit] for number, unit in _PARTS.findall(text)))


def format_time(time_ns: int) -> str:
    """RFC 3339 in UTC with nine decimals."""
    return f"{_second(time_ns // NANOSECONDS)}.{time_ns % NANOSECONDS:09d}Z"


@lru_cache(maxsize=4096)  # neighbouring spans and records share their second
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
