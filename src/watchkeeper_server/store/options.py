"""How much the store may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DiskLimit:
    """What may be taken before the oldest data is dropped; false if there is no limit.

    Attributes:
        share: of the file system that holds the data, whoever fills it; above 0, at most 1. None is no limit.
        size_bytes: for all stored data. None is no limit.
        text: the limit as it was written.
    """

    share: float | None = None
    size_bytes: int | None = None
    text: str = "off"

    def __bool__(self) -> bool:
        return self.share is not None or self.size_bytes is not None

    def __str__(self) -> str:
        return self.text
