"""`</` and `>/`: only the observations below or above a value. Experimental in Prometheus.

Buckets on the right side of the value stay as they are. The one that it is in is divided as `quantile` would, but that
with an infinite bound goes unless all of it may stay. If anything went, count and sum are estimated anew, each bucket's
observations being taken to be at the middle of what is left of it.

Source: https://prometheus.io/docs/prometheus/latest/querying/operators/#histogram-trim-operators.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from watchkeeper_server.promql.histograms.bounds import side_bounds
from watchkeeper_server.promql.histograms.columns import CUSTOM, compact
from watchkeeper_server.promql.values import Bools, Floats, Histograms


def trim_upper(h: Histograms, limits: Floats) -> Histograms:
    """Row by row `h </ limit`: the observations up to the limit."""
    return _trimmed(h, limits, upwards=False)


def trim_lower(h: Histograms, limits: Floats) -> Histograms:
    """Row by row `h >/ limit`: the observations above the limit."""
    return _trimmed(h, limits, upwards=True)


class _Left(NamedTuple):
    """What is left of buckets, and where the observations in that are taken to be."""

    counts: Floats
    middles: Floats


@np.errstate(all="ignore")
def _trimmed(h: Histograms, limits: Floats, *, upwards: bool) -> Histograms:
    n = len(h)
    owners = [np.repeat(np.arange(n), np.diff(splits)) for splits in (h.positive_splits, h.negative_splits)]
    filled = [np.bincount(owner, counts != 0, n) > 0 for owner, counts in zip(owners, _sides(h), strict=True)]
    parts = [
        _left(h, limits[owner], counts, h.schema[owner] == CUSTOM, positive=positive, upwards=upwards)
        for owner, counts, positive in zip(owners, _sides(h), (True, False), strict=True)
    ]
    zero = _zero_left(h, limits, *filled, upwards=upwards)
    all_owners = np.concatenate([*owners, np.arange(n)])
    before = np.concatenate([*_sides(h), h.zero_count])
    counts = np.concatenate([*(part.counts for part in parts), zero.counts])
    middles = np.concatenate([*(part.middles for part in parts), zero.middles])
    changed = np.bincount(all_owners[counts != before], minlength=n) > 0
    weights = np.where(counts != 0, counts * middles, 0.0)
    return compact(
        replace(
            h,
            count=np.where(changed, np.bincount(all_owners, counts, n), h.count),
            sum=np.where(changed, np.bincount(all_owners, weights, n), h.sum),
            zero_count=zero.counts,
            positive_counts=parts[0].counts,
            negative_counts=parts[1].counts,
        )
    )


def _sides(h: Histograms) -> tuple[Floats, Floats]:
    return h.positive_counts, h.negative_counts


def _left(h: Histograms, limit: Floats, counts: Floats, linear: Bools, *, positive: bool, upwards: bool) -> _Left:
    """What is left of one side's buckets."""
    lower, upper = side_bounds(h, positive=positive)
    whole = lower >= limit if upwards else upper <= limit
    cut = ~whole & (upper > limit if upwards else lower < limit)
    lowest, highest = lower == -np.inf, upper == np.inf
    near, far, at = (np.log2(np.abs(bound)) for bound in (lower, upper, limit))
    below = np.where(linear, (limit - lower) / (upper - lower), (at - near) / (far - near))
    # observations below the lowest custom bound are taken to be positive if that is
    below = np.where(lowest, limit / upper, below)
    share = 1 - below if upwards else below
    start = np.where(lowest & (upper > 0), 0.0, lower)
    middle = _middle(limit, upper, linear) if upwards else _middle(start, limit, linear)
    if upwards:
        share = np.where(lowest & ~((limit >= 0) & ~highest), 0.0, np.where(highest & ~lowest, 1.0, share))
        middle = np.where(highest, limit, middle)
    else:
        unknown = highest | (lowest & (upper > 0) & (limit <= 0))
        share = np.where(unknown, 0.0, np.where(lowest & (upper <= 0), 1.0, share))
        middle = np.where(lowest & (upper <= 0), limit, middle)
    return _Left(
        np.where(whole, counts, np.where(cut, counts * share, 0.0)),
        np.where(whole, _middle(lower, upper, linear), middle),
    )


def _middle(lower: Floats, upper: Floats, linear: Bools) -> Floats:
    """Where the observations between two bounds are taken to be: towards zero of an infinite one, at the other."""
    geometric = np.copysign(np.sqrt(np.abs(lower * upper)), upper)
    middle = np.where(linear, (lower + upper) / 2, geometric)
    middle = np.where(upper == np.inf, lower, middle)
    from_infinity = np.where(upper == np.inf, 0.0, np.where(upper > 0, upper / 2, upper))
    return np.where(lower == -np.inf, from_infinity, middle)


def _zero_left(h: Histograms, limit: Floats, positive: Bools, negative: Bools, *, upwards: bool) -> _Left:
    """What is left of zero buckets; one beside buckets of one sign is taken to hold only that sign."""
    lower = np.where(positive & ~negative, 0.0, -h.zero_threshold)
    upper = np.where(negative & ~positive, 0.0, h.zero_threshold)
    inner = np.clip(limit, lower, upper)
    start, end = (inner, upper) if upwards else (lower, inner)
    share = np.where(end > start, (end - start) / (upper - lower), (limit <= lower) if upwards else (limit > lower))
    return _Left(np.where(h.zero_count > 0, h.zero_count * share, h.zero_count), (start + end) / 2)
