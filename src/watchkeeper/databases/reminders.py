"""Not saying the same thing too often: a warning about every execution of a slow statement would be harm of its own."""

from __future__ import annotations

from collections.abc import Hashable

QUIET_SECONDS = 60  # between two lines about the same
MOST_REMEMBERED = 1_000  # things that were said; then all are forgotten


class Reminders:
    """What was said, and when."""

    def __init__(self) -> None:
        self._said: dict[Hashable, int] = {}

    def due(self, about: Hashable, now_ns: int) -> bool:
        """Whether it is to be said (and notes that it is)."""
        said = self._said
        last = said.get(about)
        if last is not None and now_ns - last < QUIET_SECONDS * 1e9:
            return False
        if len(said) >= MOST_REMEMBERED:
            said.clear()
        said[about] = now_ns
        return True

    def __len__(self) -> int:
        return len(self._said)

    def forget(self) -> None:
        """Nothing was said."""
        self._said.clear()
