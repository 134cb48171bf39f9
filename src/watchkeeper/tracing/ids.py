"""Random trace and span ids."""

from __future__ import annotations

import random
from typing import Protocol


class Ids(Protocol):
    """Where ids come from; never zero."""

    def trace_id(self) -> int:
        """128 bits."""

    def span_id(self) -> int:
        """64 bits."""


class RandomIds:
    """Ids from a generator of our own, so that the application's `random.seed` neither sees nor repeats them."""

    def __init__(self) -> None:
        self.reseed()

    def reseed(self) -> None:
        """Starts over from the system's entropy; a forked child must, or it would repeat its parent's ids."""
        self._bits = random.Random().getrandbits  # noqa: S311  # ids need to be unique, not secret

    def trace_id(self) -> int:
        """128 random bits."""
        return self._bits(128) or self.trace_id()

    def span_id(self) -> int:
        """64 random bits."""
        return self._bits(64) or self.span_id()
