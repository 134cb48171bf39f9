"""What an engine must do to be tried by the test language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from support.promqltest.histograms import Histogram
from support.promqltest.series import Series
from watchkeeper_server.promql.values import Labels, Steps

Kind = Literal["scalar", "string", "vector", "matrix"]


class QueryFailedError(Exception):
    """The engine has no answer; the message is the engine's."""


class NotSupportedError(Exception):
    """The target cannot be tried with this, as the message says; that is no failure."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query came to: a scalar is one sample of a series without labels; `text` is a string's.

    Each series has its labels and its samples by Unix milliseconds.
    """

    kind: Kind
    series: Sequence[tuple[Labels, dict[int, float | Histogram]]]
    text: str = ""
    warnings: list[str] = field(default_factory=list)
    infos: list[str] = field(default_factory=list)


class Target(Protocol):
    """An engine and the series it is asked about."""

    def hold(self, data: Sequence[Series]) -> None:
        """Forgets all, and then holds these.

        Raises:
            NotSupportedError: it cannot.
        """

    def instant(self, query: str, time: int) -> Answer:
        """The answer at a time.

        Raises:
            QueryFailedError: there is none.
            NotSupportedError: it should not be asked.
        """

    def range(self, query: str, steps: Steps) -> Answer:
        """The answer at each step, a matrix unless it is a string.

        Raises:
            QueryFailedError: there is none.
            NotSupportedError: it should not be asked.
        """
