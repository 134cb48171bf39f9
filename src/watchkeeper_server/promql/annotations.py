"""What the author of a query should know although it has an answer: each remark once, in the order they came."""

from __future__ import annotations


class Annotations:
    """Collects remarks while a query is evaluated."""

    def __init__(self) -> None:
        """Nothing to remark yet."""
        self._warnings: dict[str, None] = {}
        self._infos: dict[str, None] = {}

    def warn(self, text: str) -> None:
        """The answer is probably not what was meant."""
        self._warnings[text] = None

    def inform(self, text: str) -> None:
        """The answer may not be what was meant."""
        self._infos[text] = None

    @property
    def warnings(self) -> list[str]:
        """What was warned of."""
        return list(self._warnings)

    @property
    def infos(self) -> list[str]:
        """What was informed of."""
        return list(self._infos)
