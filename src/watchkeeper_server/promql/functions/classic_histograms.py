"""Classic histograms, one series a bucket: quantiles and fractions over columns of buckets.

Loops here are over the buckets of a histogram; each pass is over all histograms and steps. Most need none.

Source: https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from watchkeeper_server.promql.values import Bools, Floats, Ints

# Counts that differ by less than this part of their sum are equal but for rounding.
_TOLERANCE = 1e-12
_LEAST_NORMAL = 2.0**-1022
# By what counts differ that are certainly not equal but for rounding.
_CLEAR, _LEAST_CLEAR = 1e-11, 1e-300


@dataclass(frozen=True, slots=True)
class Buckets:
    """Histograms with equally many buckets: `bounds[histograms, buckets]` ascending, and at every step what they count.

    `counts` and `present` are [histograms, buckets, steps]; counts are cumulative. They are this object's own.
    """

    bounds: Floats
    counts: Floats
    present: Bools

    @property
    def complete(self) -> Bools:
        """Where the last bucket is the one of +Inf, as it has to be; bool[histograms, steps]."""
        return self.present[:, -1] & np.isposinf(self.bounds[:, -1:])

    def unite_equal_bounds(self) -> None:
        """Buckets with the same bound, written differently, become one: the last of them."""
        for bucket in range(1, self.bounds.shape[1]):
            both = (self.bounds[:, bucket] == self.bounds[:, bucket - 1])[:, None] & self.present[:, bucket - 1]
            if both.any():
                count = np.where(self.present[:, bucket], self.counts[:, bucket], 0.0)
                self.counts[:, bucket] = np.where(both, self.counts[:, bucket - 1] + count, count)
                self.present[:, bucket] |= both
                self.present[:, bucket - 1] &= ~both


@dataclass(frozen=True, slots=True)
class Fixes:
    """Counts that were less than the one of a lower bucket: bool[histograms, steps]; and of each histogram how bad."""

    where: Bools
    lowest_bound: Floats
    highest_bound: Floats
    greatest_drop: Floats


def fix_counts(buckets: Buckets) -> Fixes:
    """Make counts rise with their bounds, and forget differences that are but rounding."""
    bounds, counts, present = buckets.bounds, buckets.counts, buckets.present
    before, seen = counts[:, 0], present[:, 0]
    where = np.zeros(before.shape, np.bool_)
    lowest = np.full(len(bounds), np.inf)
    highest, greatest = -lowest, np.zeros(len(bounds))
    if _rise(buckets):
        return Fixes(where, lowest, highest, greatest)
    for bucket in range(1, bounds.shape[1]):
        count, here = counts[:, bucket], present[:, bucket]
        close = _close(before, count)
        drop = here & seen & ~close & (count < before)
        rows = drop.any(axis=1)
        if rows.any():
            where |= drop
            lowest[rows] = np.minimum(lowest[rows], bounds[rows, bucket])
            highest[rows] = np.maximum(highest[rows], bounds[rows, bucket])
            greatest = np.maximum(greatest, np.where(drop, before - count, 0.0).max(axis=1))
        counts[:, bucket] = np.where(seen & close | drop, before, count)
        before = np.where(here, counts[:, bucket], before)
        seen = seen | here
    return Fixes(where, lowest, highest, greatest)


def _rise(buckets: Buckets) -> bool:
    """Whether all is there and as it should be, at a glance: each count the same as the one before or clearly more."""
    counts = buckets.counts
    rise = np.diff(counts, axis=1)
    clear: Bools = (rise == 0) | (rise > np.maximum(counts[:, 1:] * _CLEAR, _LEAST_CLEAR))
    return bool(clear.all() and (counts[:, 0] >= 0).all() and buckets.present.all())


def _close(left: Floats, right: Floats) -> Bools:
    difference, sum_ = np.abs(left - right), np.abs(left) + np.abs(right)
    tiny = (left == 0) | (right == 0) | (sum_ < _LEAST_NORMAL)
    relative = difference / np.minimum(sum_, np.finfo(np.float64).max)
    close: Bools = np.where(tiny, difference < _TOLERANCE * _LEAST_NORMAL, relative < _TOLERANCE) | (left == right)
    return close


def quantile(buckets: Buckets, quantiles: Floats) -> Floats:
    """The quantile, one for each step, of histograms whose counts are fixed; float64[histograms, steps].

    Within a bucket observations are taken to be spread evenly, and the lowest to start at 0. What falls into the last
    bucket is its lower bound. NaN without observations, without a bucket of +Inf, or without another.
    """
    total, inside = buckets.counts[:, -1], (quantiles >= 0) & (quantiles <= 1)
    outside = np.where(quantiles < 0, -np.inf, np.where(quantiles > 1, np.inf, np.nan))
    bounds, counts, present = buckets.bounds[:, :-1], buckets.counts[:, :-1], buckets.present[:, :-1]
    if not bounds.shape[1]:
        return np.where(inside, np.nan, np.broadcast_to(outside, total.shape))
    rank = quantiles * total
    hits = present & (counts >= rank[:, None])
    hit, found = hits.argmax(axis=1), hits.any(axis=1)
    before = _last_before(present, np.where(found, hit, bounds.shape[1]))
    lowest = before < 0
    lower = np.maximum(before, 0)
    lower_bound = np.where(lowest, 0.0, np.take_along_axis(bounds, lower, axis=1))
    lower_count = np.where(lowest, 0.0, np.take_along_axis(counts, lower[:, None], axis=1)[:, 0])
    bound, count = np.take_along_axis(bounds, hit, axis=1), np.take_along_axis(counts, hit[:, None], axis=1)[:, 0]
    between = lower_bound + (bound - lower_bound) * ((rank - lower_count) / (count - lower_count))
    value = np.where(lowest & (bound <= 0), bound, between)
    value = np.where(found, value, lower_bound)
    value = np.where(present.any(axis=1) & buckets.complete & (total != 0), value, np.nan)
    return np.where(inside, value, outside)


def _last_before(present: Bools, bucket: Ints) -> Ints:
    """Of each histogram and step the last bucket before one that is there, -1 for none."""
    if present.all():
        return bucket - 1
    last = np.full((len(present), present.shape[1] + 1, present.shape[2]), -1)
    places = np.arange(present.shape[1])[:, None]
    np.maximum.accumulate(np.where(present, places, -1), axis=1, out=last[:, 1:])
    return np.take_along_axis(last, bucket[:, None], axis=1)[:, 0]


def fraction(buckets: Buckets, lower: Floats, upper: Floats) -> Floats:
    """The part of the observations between two bounds, each one for each step; float64[histograms, steps]."""
    count = buckets.counts[:, -1]
    part = np.where(lower >= upper, 0.0, (_rank(buckets, upper) - _rank(buckets, lower)) / count)
    unknown = ~buckets.complete | (count == 0) | np.isnan(lower) | np.isnan(upper)
    return np.where(unknown, np.nan, part)


def _rank(buckets: Buckets, value: Floats) -> Floats:
    """How many observations are less than the value; within a bucket they are taken to be spread evenly."""
    bounds, counts, present = buckets.bounds, buckets.counts, buckets.present
    shape = counts[:, -1].shape
    rank, below = np.zeros(shape), np.zeros(shape)
    lower_bound = np.zeros(shape)
    seen, found = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    for bucket in range(bounds.shape[1]):
        bound, count, here = bounds[:, bucket, None], counts[:, bucket], present[:, bucket]
        lower_bound = np.where(here & ~seen & (bound <= 0), -np.inf, lower_bound)
        between = below + (count - below) * (value - lower_bound) / (bound - lower_bound)
        between = np.where(np.isneginf(lower_bound), count, between)
        under = here & ~found & (lower_bound >= value)
        within = here & ~found & (lower_bound < value) & (bound > value)
        rank = np.where(under, below, np.where(within, between, rank))
        found = found | under | within
        lower_bound, below = np.where(here, bound, lower_bound), np.where(here, count, below)
        seen = seen | here
    return np.where(found & ~(rank > counts[:, -1]), rank, counts[:, -1])
