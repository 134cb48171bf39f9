"""Where the engine's samples come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from watchkeeper_server.promql.tree import Matcher
from watchkeeper_server.promql.values import Samples


class Reader(Protocol):
    """Anything that holds series."""

    def select(self, matchers: Sequence[Matcher], start: int, end: int, most: int) -> Samples:
        """The samples later than `start` and not later than `end`, Unix milliseconds, of the series that match all.

        Series without a sample in that time may be left out. No two have the same labels.

        Raises:
            TooManySamplesError: there are more than `most`.
        """
