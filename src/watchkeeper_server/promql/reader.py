"""Where the engine's samples come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from watchkeeper_server.promql.tree import Matcher
from watchkeeper_server.promql.values import Matrix, Samples, Steps


class Reader(Protocol):
    """Anything that holds series."""

    def select(self, matchers: Sequence[Matcher], start: int, end: int, most: int) -> Samples:
        """The samples later than `start` and not later than `end`, Unix milliseconds, of the series that match all.

        Series without a sample in that time may be left out. No two have the same labels.

        Raises:
            TooManySamplesError: there are more than `most`.
        """

    def grid(self, function: str, matchers: Sequence[Matcher], steps: Steps, window: int) -> Matrix | None:
        """A function of the samples later than `window` milliseconds before each step and not later than it.

        For a reader that computes where the samples are; None, where it cannot or that is no cheaper, makes the engine
        `select` them. Functions are PromQL's over range vectors, or `last`: the last sample, unless that is a stale
        marker. The labels are the series' own, with their names; the matrix has no native histograms.
        """
