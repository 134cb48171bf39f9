"""Mean and spread of the observations of native histograms."""

from __future__ import annotations

import numpy as np

from watchkeeper_server.promql.histograms.bounds import ladder
from watchkeeper_server.promql.histograms.columns import CUSTOM
from watchkeeper_server.promql.histograms.sums import summed_exactly
from watchkeeper_server.promql.values import Floats, Histograms


@np.errstate(all="ignore")
def avg(h: Histograms) -> Floats:
    """Row by row the mean of the observations."""
    return h.sum / h.count


def stddev(h: Histograms) -> Floats:
    """Row by row the estimated standard deviation of the observations."""
    return np.sqrt(stdvar(h))


@np.errstate(all="ignore")
def stdvar(h: Histograms) -> Floats:
    """Row by row the estimated variance of the observations.

    All observations of a bucket are taken to be at its middle: the geometric mean of its bounds, 0 in the zero bucket,
    the arithmetic mean with custom bounds.
    """
    buckets = ladder(h)
    filled = np.flatnonzero(buckets.counts)
    rows = np.searchsorted(buckets.splits, filled, "right") - 1
    lower, upper, is_zero = buckets.bounds(rows, filled - buckets.splits[rows])
    geometric = np.copysign(np.sqrt(upper * lower), upper)
    middle = np.where(is_zero | ((lower <= 0) & (upper >= 0)), 0.0, geometric)
    middle = np.where(h.schema[rows] == CUSTOM, (upper + lower) / 2, middle)
    return summed_exactly(rows, buckets.counts[filled] * (middle - avg(h)[rows]) ** 2, len(h)) / h.count
