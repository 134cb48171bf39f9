"""Local variables as text: bounded in all, without secrets, and without running any of the application's code.

An object shows its class and its attributes, not its `repr`, which may raise, take for ever or query a database.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from types import FunctionType
from typing import Any

from watchkeeper.logging.redaction import REDACTED, Redaction

MOST_VARIABLES = 40  # of a frame
MOST_ITEMS = 10  # of a container
MOST_VALUES = 4_000  # of an event
MAX_DEPTH = 3
MAX_TEXT = 200  # characters of a string
_LONGEST = 1_024  # characters of one variable

_SPOKEN = frozenset({"datetime", "decimal", "uuid", "pathlib", "fractions"})  # whose repr is short and harmless
_PLAIN = frozenset({int, float, bool, complex, type(None)})
_BRACKETS: tuple[tuple[Any, str], ...] = ((list, "[]"), (tuple, "()"), (set, "{}"), (frozenset, "{}"))


class Describer:
    """Describes variables until it has described enough of them; one for each event."""

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._left = MOST_VALUES

    def __call__(self, names: Mapping[str, Any]) -> dict[str, str]:
        """The variables of one frame."""
        described = {}
        try:
            for name, value in islice(list(names.items()), MOST_VARIABLES):
                if self._left <= 0:
                    break
                described[name] = self._field(name, value, 0)[:_LONGEST]
        except Exception as error:  # noqa: BLE001  # such as a mapping of a debugger's
            described["…"] = type(error).__name__
        return described

    def _field(self, name: object, value: Any, depth: int) -> str:
        if type(name) is str and self._redaction.is_secret(name) and value is not None and type(value) is not bool:
            return REDACTED
        return self._text(value, depth)

    def _text(self, value: Any, depth: int) -> str:
        self._left -= 1
        kind = type(value)  # never isinstance: it asks a proxy what it stands for, which may load that
        if issubclass(kind, str | bytes | bytearray):
            return self._string(value)
        if kind in _PLAIN or kind.__module__ in _SPOKEN:
            return self._spoken(value)
        if depth >= MAX_DEPTH or self._left <= 0:
            return "…"
        if issubclass(kind, dict):
            return f"{{{self._pairs(dict.items(value), dict.__len__(value), depth, ': ')}}}"
        for base, brackets in _BRACKETS:
            if issubclass(kind, base):
                return self._items(base.__iter__(value), base.__len__(value), brackets, depth)
        return self._object(value, depth)

    def _string(self, value: Any) -> str:
        if not issubclass(type(value), str):
            return repr(bytes(memoryview(value)[:MAX_TEXT]))
        shown = self._redaction.text(str.__getitem__(value, slice(_LONGEST)))[:MAX_TEXT]
        return repr(shown) + ("…" if str.__len__(value) > MAX_TEXT else "")

    def _spoken(self, value: Any) -> str:
        try:
            return self._redaction.text(repr(value)[:MAX_TEXT])
        except Exception as error:  # noqa: BLE001  # an integer of more digits than Python will print, a subclass
            return f"<{type(value).__name__}: {type(error).__name__}>"

    def _items(self, items: Iterable[Any], count: int, brackets: str, depth: int) -> str:
        shown = [self._text(item, depth + 1) for item in islice(items, MOST_ITEMS)]
        if count > MOST_ITEMS:
            shown.append(f"… {count - MOST_ITEMS} more")
        return f"{brackets[0]}{', '.join(shown)}{brackets[1]}"

    def _pairs(self, pairs: Iterable[tuple[Any, Any]], count: int, depth: int, between: str) -> str:
        shown = []
        for name, value in islice(pairs, MOST_ITEMS):
            key = name if between == "=" else self._text(name, depth + 1)
            shown.append(f"{key}{between}{self._field(name, value, depth + 1)}")
        if count > MOST_ITEMS:
            shown.append(f"… {count - MOST_ITEMS} more")
        return ", ".join(shown)

    def _object(self, value: Any, depth: int) -> str:
        kind = type(value)
        if kind is FunctionType:
            return f"<function {value.__qualname__}>"
        name = f"{kind.__module__}.{kind.__qualname__}"
        if issubclass(kind, type) or kind.__module__ == "builtins":
            return f"<{name}>"
        try:
            attributes = object.__getattribute__(value, "__dict__")
        except AttributeError:  # slots
            return f"<{name}>"
        if type(attributes) is not dict or not attributes:
            return f"<{name}>"
        return f"<{name} {self._pairs(attributes.items(), len(attributes), depth, '=')}>"
