"""What the API asks of the read path. Every question blocks.

Times are Unix milliseconds, both ends belong to a range, and where a request names none they are `MIN_TIME_MS` and
`MAX_TIME_MS`, which lie millions of years away. Selectors are alternatives: a series matches if all matchers of any
one of them do; no selectors at all restrict nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from watchkeeper_server.model.targets import Metadata
from watchkeeper_server.model.tsdb import ExemplarSeries, TsdbStatus
from watchkeeper_server.promql.tree import Matcher
from watchkeeper_server.promql.values import Labels, Result, Samples

# The earliest and latest times that Prometheus knows; clients send them to say "always".
MIN_TIME_MS = -9_223_309_901_257_974_000
MAX_TIME_MS = 9_223_309_901_257_974_999

Selectors = Sequence[Sequence[Matcher]]


class PrometheusQueries(Protocol):
    """The read path, and what may be done to what is stored.

    Raises:
        QueryError: of whichever kind applies.
        StoreError: likewise.
    """

    def instant(
        self, query: str, time_ms: int, *, lookback_ms: int | None, timeout_seconds: float | None, coarsest_ms: int
    ) -> Result:
        """A query at one time; None is the server's own lookback or time limit, which a longer one does not exceed.

        Rollups as wide as `coarsest_ms` may stand for samples that are kept; 0 allows none.
        """

    def range(
        self,
        query: str,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        *,
        lookback_ms: int | None,
        timeout_seconds: float | None,
        coarsest_ms: int,
    ) -> Result:
        """A query at every step of a range."""

    def series(self, selectors: Selectors, start_ms: int, end_ms: int, limit: int) -> list[Labels]:
        """The series with samples in the range, at most `limit`; 0 is all."""

    def label_names(self, selectors: Selectors, start_ms: int, end_ms: int, limit: int) -> list[str]:
        """Their label names, sorted, at most `limit`; 0 is all."""

    def label_values(self, name: str, selectors: Selectors, start_ms: int, end_ms: int, limit: int) -> list[str]:
        """The values one of their labels has, sorted, at most `limit`; 0 is all."""

    def metadata(self, metric: str | None, limit: int, limit_per_metric: int) -> dict[str, list[Metadata]]:
        """What metrics, or one of them, say of themselves: at most `limit` metrics; limits of 0 are none."""

    def exemplars(self, selectors: Selectors, start_ms: int, end_ms: int) -> list[ExemplarSeries]:
        """The exemplars of the range."""

    def federate(self, selectors: Selectors, time_ms: int, lookback_ms: int | None) -> Samples:
        """Each series' samples of the lookback before a time."""

    def delete(self, selectors: Selectors, start_ms: int, end_ms: int) -> None:
        """Delete the series' samples of the range."""

    def clean_tombstones(self) -> None:
        """Free the space of what was deleted."""

    def snapshot(self) -> str:
        """Copy everything to a new folder beside the data; answers the folder's name."""

    def tsdb_status(self, limit: int) -> TsdbStatus:
        """How much is stored, with rankings of at most `limit` lines."""
