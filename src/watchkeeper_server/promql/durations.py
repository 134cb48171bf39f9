"""Durations: `1h30m` to milliseconds and back, and what an arithmetic of durations comes to.

Source: https://prometheus.io/docs/prometheus/latest/querying/basics/#float-literals-and-time-durations.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

from watchkeeper_server.promql.errors import ExecutionError, QueryError
from watchkeeper_server.promql.quoting import quote
from watchkeeper_server.promql.tree import Duration, DurationOf, Number

_DAY = 24 * 60 * 60 * 1000
_UNITS = {"y": 365 * _DAY, "w": 7 * _DAY, "d": _DAY, "h": _DAY // 24, "m": 60_000, "s": 1000, "ms": 1}
_PARTS = re.compile(r"([0-9]+)([^0-9]+)")
# what fits 64 bits of nanoseconds, as in Prometheus
MOST = (2**63 - 1) // 10**6


class DurationError(QueryError):
    """Not a duration, or one that is too long; the message says so in Prometheus' words."""


def parse_duration(text: str) -> int:
    """The milliseconds of `1h30m`: units from the longest to the shortest, each once; only `0` needs none.

    Raises:
        DurationError: it is something else, or longer than 292 years.
    """
    if text == "0":
        return 0
    if not text:
        raise DurationError("empty duration string")
    total, last, end = 0, math.inf, 0
    for part in _PARTS.finditer(text):
        number, unit = part.groups()
        if part.start() != end:
            break
        if unit not in _UNITS:
            raise DurationError(f"unknown unit {quote(unit)} in duration {quote(text)}")
        if _UNITS[unit] >= last:
            break
        # no more digits than any duration has: int() of very many is slow
        total += int(number[:30]) * _UNITS[unit] if len(number.lstrip("0")) <= len(str(MOST)) else MOST + 1
        last, end = _UNITS[unit], part.end()
    if end != len(text):
        raise DurationError(f"not a valid duration string: {quote(text)}")
    if total > MOST:
        raise DurationError("duration out of range")
    return total


def format_duration(ms: int) -> str:
    """The duration in the form of `parse_duration`; years and weeks only where nothing else remains."""
    if ms == 0:
        return "0s"
    sign, rest = ("-", -ms) if ms < 0 else ("", ms)
    text = ""
    for unit, size in _UNITS.items():
        if unit in {"y", "w"} and rest % size:
            continue
        count, rest = divmod(rest, size)
        if count:
            text += f"{count}{unit}"
    return sign + text


def to_milliseconds(seconds: float, most: int = MOST) -> int:
    """Rounded to the nearest, a half away from zero.

    Raises:
        DurationError: it is not finite, or longer than `most` milliseconds.
    """
    ms = seconds * 1000
    if not abs(ms) <= most:
        raise DurationError("duration out of range")
    return int(ms + math.copysign(0.5, ms)) if ms % 1 else int(ms)


def resolve(duration: Duration, *, step_ms: int, range_ms: int) -> int:
    """What a duration is in a query whose steps are `step_ms` apart and that is `range_ms` long; may be negative.

    Raises:
        ExecutionError: it divides by zero or is out of range.
    """
    if isinstance(duration, int):
        return duration
    try:
        return to_milliseconds(_seconds(duration, {"step": step_ms / 1000, "range": range_ms / 1000}))
    except ZeroDivisionError as error:
        raise ExecutionError("division by zero" if error.args == ("/",) else "modulo by zero") from error
    except (OverflowError, ValueError, DurationError) as error:
        raise ExecutionError("duration is out of range") from error


def _seconds(node: DurationOf | Number, times: Mapping[str, float]) -> float:
    if isinstance(node, Number):
        return node.value
    if node.operator in times:
        return times[node.operator]
    operands = [_seconds(operand, times) for operand in node.operands]
    if len(operands) == 1:
        return -operands[0] if node.operator == "-" else operands[0]
    left, right = operands
    if node.operator in {"/", "%"} and right == 0:
        raise ZeroDivisionError(node.operator)
    return _ARITHMETIC[node.operator](left, right)


_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right,
    "%": math.fmod,
    "^": math.pow,
    "min": min,
    "max": max,
    "min_of": min,
    "max_of": max,
}
