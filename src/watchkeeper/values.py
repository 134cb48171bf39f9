"""Telemetry values: turning whatever an application hands over into something that can be encoded later, elsewhere.

A snapshot holds only None, bool, int, float, str, bytes, tuples and dicts with string keys. It shares nothing mutable
with the application, is bounded in depth, width and string length, and making it never raises, whatever `__str__`
does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

MAX_TEXT = 16_384  # characters of one string, bytes of one bytes value
MAX_DEPTH = 8
MAX_ITEMS = 1_000  # of one list or mapping
MAX_ALL_ITEMS = 10_000  # of a value with everything inside it: lists that hold one another often multiply
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

# What needs no copy: exact types, since a subclass (an enum, numpy's str) may override anything.
SCALARS = frozenset({str, int, float, bool, type(None), bytes})


def text_of(value: object) -> str:
    """`str(value)`, or what can be said of an object whose own words fail."""
    try:
        text = str(value)
    except BaseException as error:  # noqa: BLE001  # a host object's __str__ may raise anything, even SystemExit
        return f"<unprintable {type(value).__name__}: {type(error).__name__}>"
    return truncated(text)


def told(error: BaseException) -> str:
    """An exception in a few words, whatever its own `__repr__` does."""
    return f"{type(error).__name__}: {text_of(error)}"


def truncated(text: str) -> str:
    """At most MAX_TEXT characters, saying how many are missing."""
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text) - MAX_TEXT} more characters)"


def json_text(value: Any, default: Callable[[Any], Any], *, ascii_only: bool) -> str:
    """JSON of what orjson refuses. Numbers that JSON has none for are null, as orjson has them."""

    def text(of: Any) -> str:
        return json.dumps(of, default=default, ensure_ascii=ascii_only, separators=(",", ":"))

    found = text(value)
    return text(json.loads(found, parse_constant=lambda _: None)) if "NaN" in found or "Infinity" in found else found


class _Room:
    """How many items a snapshot may still have."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_ALL_ITEMS

    def take(self, wanted: int) -> int:
        """So many of a container's items, and no more than there is room for."""
        given = max(0, min(wanted, MAX_ITEMS, self.left))
        self.left -= given
        return given


def snapshot(value: Any, depth: int = 0, room: _Room | None = None) -> Any:
    """A bounded copy of `value` that is safe to encode in another thread."""
    kind = type(value)
    if kind is str:
        return truncated(value)
    if kind is bytes:
        return value[:MAX_TEXT]
    if kind is int:
        # Neither OTLP nor JSON readers hold more than 64 bits: exact text beats a wrong number.
        return value if INT64_MIN <= value <= INT64_MAX else text_of(value)
    if kind in SCALARS:
        return value
    try:
        return _snapshot_object(value, depth, room or _Room())
    except Exception:  # noqa: BLE001  # iterating a host's object may raise anything
        return text_of(value)


def _snapshot_object(value: Any, depth: int, room: _Room) -> Any:  # noqa: PLR0911  # one a kind
    if isinstance(value, bool | float):
        return float(value) if isinstance(value, float) else bool(value)
    if isinstance(value, str):
        return truncated(str.__str__(value))
    if isinstance(value, int):
        return snapshot(int(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value[:MAX_TEXT])
    if depth >= MAX_DEPTH:
        return "<nested too deep>"  # also where a recursive object ends
    if isinstance(value, Mapping):
        return fields_snapshot(value, depth + 1, room)
    if isinstance(value, list | tuple | set | frozenset):
        given = room.take(len(value))
        items = [snapshot(item, depth + 1, room) for item in islice(value, given)]
        if len(value) > given:
            items.append(f"… ({len(value) - given} more items)")
        return tuple(items)
    return text_of(value)


def fields_snapshot(fields: Mapping[Any, Any], depth: int = 0, room: _Room | None = None) -> dict[str, Any]:
    """A snapshot of a mapping: keys become strings."""
    room = room or _Room()
    given = room.take(len(fields))
    copy: dict[str, Any] = {}
    for key, value in islice(list(fields.items()), given):
        copy[key if type(key) is str and len(key) <= MAX_TEXT else text_of(key)] = snapshot(value, depth, room)
    if len(fields) > given:
        copy["…"] = f"{len(fields) - given} more fields"
    return copy
