"""What becomes of one exposition: limits, duplicates, times out of range, staleness markers, and what is to be stored.

Nothing here waits or knows a clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from watchkeeper_server.receive.exposition.exposed import (
    Exposed,
    ExpositionError,
    Floats,
    HistogramSample,
    SeriesCache,
)
from watchkeeper_server.receive.exposition.histograms import CUSTOM_BUCKETS, finest_schema
from watchkeeper_server.receive.exposition.push import encode_others
from watchkeeper_server.receive.scrape.config import ScrapeConfig
from watchkeeper_server.receive.scrape.units import NO_SIZE


@dataclass(frozen=True, slots=True)
class Window:
    """The times that samples may bring, Unix milliseconds."""

    earliest_ms: int
    latest_ms: int


@dataclass(frozen=True, slots=True)
class Taken:
    """One exposition, taken in.

    Attributes:
        heads: the series of the samples of the scrape's time, each once; the very tuple of the scrape before where
            they are the same.
        values: their values.
        others: everything else, as the bytes of a remote-write request.
        ended: the series that have ended with this.
        scraped: how many samples were exposed.
        kept: how many relabelling left.
        added: how many series were not in the last scrape.
        left_out: samples not stored, by reason.
    """

    heads: tuple[bytes, ...] = ()
    values: Floats = field(default_factory=lambda: np.empty(0))
    others: bytes = b""
    ended: Collection[bytes] = ()
    scraped: int = 0
    kept: int = 0
    added: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)


class TargetSeries:
    """The series of one target from scrape to scrape."""

    def __init__(self, cache: SeriesCache) -> None:
        """No series are known."""
        self.cache = cache
        self.tracked: set[bytes] = set()  # get a staleness marker once they are gone
        self._known: set[bytes] = set()  # in the last scrape that succeeded
        self._before: set[bytes] = set()
        self._last: tuple[bytes, ...] | None = None  # of the last scrape, if it held nothing else and nothing twice
        # held while an exposition is read: a scrape given up may still be reading when the next begins
        self.reading = asyncio.Lock()

    def successor(self, cache: SeriesCache) -> TargetSeries:
        """The same series, read by other rules from now on.

        Whether a scrape in hand is still written is not known, so that what has ended with it ends once more.
        """
        successor = TargetSeries(cache)
        successor.tracked, successor._known = self.tracked | self._before, self._known
        return successor

    def take(self, exposed: Exposed, config: ScrapeConfig, time_ms: int, window: Window) -> Taken:
        """Take an exposition in.

        Raises:
            ExpositionError: it is over a limit; nothing was taken in.
        """
        limit = config.limits.sample_limit
        if limit and exposed.kept > limit:
            raise ExpositionError("sample limit exceeded", scraped=exposed.scraped, kept=exposed.kept)
        if exposed.heads and exposed.heads is self._last:
            self._before = self.tracked
            return Taken(exposed.heads, exposed.values, scraped=exposed.scraped, kept=exposed.kept)
        exposed.histograms = [_limited(sample, config) for sample in exposed.histograms]
        if not config.honor_timestamps:
            _forget_times(exposed)
        left_out = _without_duplicates(exposed)
        within = [sample for sample in exposed.timed if window.earliest_ms <= sample.time_ms <= window.latest_ms]
        if len(within) < len(exposed.timed):
            left_out["out_of_bounds"] = len(exposed.timed) - len(within)
            exposed.timed = within
        now = set(exposed.heads)
        now.update([sample.head for sample in exposed.histograms if sample.time_ms is None])
        explicit = {sample.head for sample in exposed.timed}
        explicit.update([sample.head for sample in exposed.histograms if sample.time_ms is not None])
        tracked = now | explicit if config.track_timestamps_staleness else now
        ended = self.tracked - tracked
        now = now | explicit if explicit else now
        added = len(now - self._known)
        self._before, self.tracked, self._known = self.tracked, tracked, now
        self._last = None if exposed.timed or exposed.histograms or left_out else exposed.heads
        others = encode_others(exposed, self.cache, time_ms)
        return Taken(exposed.heads, exposed.values, others, ended, exposed.scraped, exposed.kept, added, left_out)

    def fail(self) -> Collection[bytes]:
        """The scrape failed: the series that have ended with this, which are all of them."""
        self.cache.relearn()
        self._last = None
        ended, self._before, self.tracked = self.tracked, self.tracked, set()
        return ended

    def not_written(self) -> None:
        """The last request was not stored: what it said once is said again with the next."""
        self.cache.relearn()
        self._last = None
        self.tracked = self.tracked | self._before


def _limited(sample: HistogramSample, config: ScrapeConfig) -> HistogramSample:
    """A histogram made coarse enough for its job."""
    histogram = sample.histogram
    finest = finest_schema(config.native_histogram_min_bucket_factor)
    if histogram.schema != CUSTOM_BUCKETS and histogram.schema > finest:
        histogram = histogram.coarser(finest)
    if config.native_histogram_bucket_limit:
        limited = histogram.limited(config.native_histogram_bucket_limit)
        if limited is None:
            raise ExpositionError("histogram bucket limit exceeded")
        histogram = limited
    return sample if histogram is sample.histogram else sample._replace(histogram=histogram)


def _forget_times(exposed: Exposed) -> None:
    exposed.heads += tuple([sample.head for sample in exposed.timed])
    exposed.values = np.concatenate([exposed.values, [sample.value for sample in exposed.timed]])
    exposed.timed = []
    exposed.histograms = [sample._replace(time_ms=None) for sample in exposed.histograms]


def _without_duplicates(exposed: Exposed) -> dict[str, int]:
    """Keep the first sample of each series, and of those with times the first of each time; count the others."""
    duplicates = 0
    unique = len(set(exposed.heads))
    if unique < len(exposed.heads):
        duplicates += len(exposed.heads) - unique
        first = dict(zip(reversed(exposed.heads), reversed(range(len(exposed.heads))), strict=True))
        exposed.heads, exposed.values = tuple(first), exposed.values[list(first.values())]
    if exposed.timed:
        timed = {(sample.head, sample.time_ms): sample for sample in reversed(exposed.timed)}
        duplicates += len(exposed.timed) - len(timed)
        exposed.timed = list(timed.values())
    if exposed.histograms:
        histograms = {(sample.head, sample.time_ms): sample for sample in reversed(exposed.histograms)}
        duplicates += len(exposed.histograms) - len(histograms)
        exposed.histograms = list(histograms.values())
    return {"duplicate": duplicates} if duplicates else {}


def same_rules(one: ScrapeConfig, other: ScrapeConfig) -> bool:
    """Whether two jobs make the same series of an exposition."""
    return _rules(one) == _rules(other)


def _rules(config: ScrapeConfig) -> tuple[object, ...]:
    limits = replace(config.limits, body_size_limit=NO_SIZE, sample_limit=0, target_limit=0, keep_dropped_targets=0)
    return (
        config.honor_labels,
        config.metric_relabel_configs,
        config.metric_name_validation_scheme,
        config.reading,
        limits,
    )
