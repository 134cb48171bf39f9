"""Durations and sizes as Prometheus' configuration writes them: `1m30s`, `10MB`."""

from __future__ import annotations

import re
from typing import NewType

Milliseconds = NewType("Milliseconds", int)
Size = NewType("Size", int)
NO_TIME = Milliseconds(0)
NO_SIZE = Size(0)

_DAY = 24 * 60 * 60 * 1000
_UNITS = {"y": 365 * _DAY, "w": 7 * _DAY, "d": _DAY, "h": _DAY // 24, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = re.compile("".join(rf"(?:([0-9]{{1,18}}){unit})?" for unit in _UNITS))
_LONGEST = (2**63 - 1) // 10**6
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)([KMGTPE]?)i?B")


def parse_duration(text: str) -> Milliseconds:
    """A duration: units from years to milliseconds in their order, or `0`.

    Raises:
        ValueError: it is none.
    """
    if text == "0":
        return Milliseconds(0)
    if not text:
        raise ValueError("empty duration string")
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f'not a valid duration string: "{text}"')
    total = sum(int(number or 0) * size for number, size in zip(match.groups(), _UNITS.values(), strict=True))
    if total > _LONGEST:
        raise ValueError("duration out of range")
    return Milliseconds(total)


def format_duration(duration: Milliseconds) -> str:
    """The shortest form; years and weeks only where nothing else remains."""
    if not duration:
        return "0s"
    rest, text = int(duration), ""
    for unit, size in _UNITS.items():
        if unit in ("y", "w") and rest % size:
            continue
        count, rest = divmod(rest, size)
        if count:
            text += f"{count}{unit}"
    return text


def parse_size(text: str) -> Size:
    """A size in bytes; `KB` and `KiB` are both 1024 bytes, as in Prometheus.

    Raises:
        ValueError: it is none.
    """
    if text == "0":
        return Size(0)
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f'not a valid size: "{text}"; write a number and its unit, such as 512MB')
    number, prefix = match.groups()
    return Size(int(float(number) * 1024 ** " KMGTPE".index(prefix or " ")))
