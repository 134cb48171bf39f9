"""What a model answered, as it becomes known: providers' shapes are read into this one, whole or piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from watchkeeper.values import MAX_TEXT

_MOST_CHOICES = 128


@dataclass(slots=True)
class Usage:
    """Tokens of a call. `cached` and `cache_written` are part of `input`, `reasoning` is part of `output`."""

    input: int = 0
    output: int = 0
    cached: int = 0  # read from the provider's cache
    cache_written: int = 0  # written to it
    reasoning: int = 0


@dataclass(slots=True)
class Answer:
    """An answer, as far as it has come."""

    id: str = ""
    model: str = ""  # the one that answered, often more exact than the one that was asked
    finish_reasons: list[str] = field(default_factory=list)
    usage: Usage | None = None
    error_type: str = ""  # where the answer itself says that it failed
    texts: dict[int, str] | None = None  # by choice; None: content is not captured

    def add_text(self, choice: int, text: Any) -> None:
        """Takes a piece of text in, where content is captured."""
        if self.texts is not None and isinstance(text, str) and choice < _MOST_CHOICES:
            self.texts[choice] = (self.texts.get(choice, "") + text)[: MAX_TEXT + 1]


Read = Callable[[Answer, Any], None]
"""Reads a whole answer, or one piece of a stream, into an Answer."""


def get(value: Any, *path: str) -> Any:
    """What stands at `path` in models or mappings, None where anything on the way is missing."""
    for name in path:
        if value is None:
            return None
        value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
    return value


def count(value: Any, *path: str) -> int:
    """The number at `path`; 0 where there is none."""
    found = get(value, *path)
    return found if type(found) is int else 0


def text(value: Any, *path: str) -> str:
    """The string at `path`; empty where there is none."""
    found = get(value, *path)
    return found if isinstance(found, str) else ""


def items(value: Any, *path: str) -> list[Any]:
    """The list at `path`; empty where there is none."""
    found = get(value, *path)
    return found if isinstance(found, list) else []
