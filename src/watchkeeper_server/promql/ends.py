"""Which samples tell what is at the ends of windows that are extended beyond their own samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from watchkeeper_server.promql.selectors import counts_until
from watchkeeper_server.promql.values import Bools, Ints, Samples


@dataclass(frozen=True, slots=True)
class Ends:
    """The windows that hold something: series, step, start and end, and places of samples, all of one length.

    `first` is the last sample not later than the start, if it is not older than `oldest`, else the first after it;
    `last` is the window's last sample, or for `smoothed` the first one not earlier than its end if there is one.
    `newest` is the newest that was looked at. What begins before its start, or goes on after its end, is smoothed.
    """

    row: Ints
    step: Ints
    start: Ints
    end: Ints
    oldest: Ints
    newest: Ints
    first: Ints
    last: Ints
    before: Bools
    after: Bools

    def where(self, mask: Bools) -> Ends:
        """Only these windows."""
        return Ends(*(getattr(self, name)[mask] for name in Ends.__slots__))


def ends_of(samples: Samples, starts: Ints, times: Ints, lookback: int, *, smoothed: bool) -> Ends:
    """The ends of the windows of each series, from each start to the time of the same step."""
    oldest = counts_until(samples, starts - lookback)
    newest = counts_until(samples, times + lookback if smoothed else times) - 1
    last = np.minimum(counts_until(samples, times - 1), newest) if smoothed else newest
    first = np.maximum(oldest, counts_until(samples, starts) - 1)
    some: Bools = newest >= oldest
    if len(samples.times):
        some &= samples.times[np.maximum(last, 0)] > starts
        some &= samples.times.take(first, mode="clip") <= times
    row, step = np.nonzero(some)
    first, last = first[some], last[some]
    before = np.asarray(smoothed & (samples.times[first] < starts[step]))
    after = np.asarray(smoothed & (samples.times[last] > times[step]) & (last > oldest[some]))
    return Ends(row, step, starts[step], times[step], oldest[some], newest[some], first, last, before, after)
