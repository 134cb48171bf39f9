"""Quantiles and fractions of native histograms.

Within a bucket observations are taken to be spread evenly: on a logarithmic scale in exponential buckets, on a linear
one in the zero bucket and between custom bounds. A zero bucket beside buckets of one sign is taken to hold only that.

Source: https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile and #histogram_fraction.
"""

from __future__ import annotations

import numpy as np

from watchkeeper_server.promql.histograms.bounds import Ladder, ladder
from watchkeeper_server.promql.histograms.columns import CUSTOM
from watchkeeper_server.promql.values import Bools, Floats, Histograms, Ints


@np.errstate(all="ignore")
def quantile(q: Floats | float, h: Histograms) -> tuple[Floats, Bools, Bools]:
    """Row by row the q-quantile: infinite for a q outside of 0 to 1, NaN without observations.

    The masks say of which rows an info is due: those whose result is NaN because of NaN observations, and those whose
    result is skewed higher by them.
    """
    wanted = np.broadcast_to(np.asarray(q, np.float64), len(h))
    result = np.where(wanted < 0, -np.inf, np.where(wanted > 1, np.inf, np.nan))
    undefined, skewed = np.zeros(len(h), np.bool_), np.zeros(len(h), np.bool_)
    buckets = ladder(h)
    for rows, counts in buckets.dense(np.flatnonzero((wanted >= 0) & (wanted <= 1) & (h.count != 0))):
        result[rows], undefined[rows], skewed[rows] = _quantiles(wanted[rows], buckets, rows, counts)
    return result, undefined, skewed


def _quantiles(q: Floats, buckets: Ladder, rows: Ints, counts: Floats) -> tuple[Floats, Bools, Bools]:
    """Of some rows, of which the counts are given by step."""
    h, width, each = buckets.of, counts.shape[1], np.arange(len(rows))
    observed = h.count[rows]
    has_nan = np.isnan(h.sum[rows])
    # From the nearer end, for precision; NaN observations are in no bucket, as if above the highest.
    upwards = has_nan | (q < 0.5)  # noqa: PLR2004  half of the observations
    walk = np.where(upwards[:, None], counts, counts[:, ::-1])
    rank = np.where(upwards, q, 1 - q) * observed
    passed = np.cumsum(walk, axis=1)
    hits = (passed >= rank[:, None]) & (walk != 0)
    column = np.argmax(hits, axis=1)
    hit = hits[each, column]
    total = passed[:, -1]
    reached = np.minimum(np.where(hit, passed[each, column], total), observed)
    inside = np.where(hit, walk[each, column], 0.0)

    lengths = np.diff(buckets.splits)[rows]
    step = np.where(hit, np.where(upwards, column, width - 1 - column), np.where(upwards, lengths - 1, 0))
    lower, upper, _ = buckets.bounds(rows, np.where(lengths > 0, step, 0))
    lower, upper = np.where(lengths > 0, lower, 0.0), np.where(lengths > 0, upper, 0.0)
    custom = h.schema[rows] == CUSTOM
    lower, upper = _one_sided(h, rows, lower, upper, ~custom & (lower < 0) & (upper > 0))
    lowest, highest = custom & (lower == -np.inf), custom & (lower > -np.inf) & (upper == np.inf)
    lower = np.where(lowest & (upper > 0), 0.0, lower)

    part = np.where(upwards, rank - (reached - inside), reached - rank) / inside
    value = np.where(
        custom | ((lower <= 0) & (upper >= 0)),
        lower + (upper - lower) * part,
        _exponential(lower, upper, part),
    )
    short = reached < rank
    value = np.where(short, np.where(has_nan, np.nan, upper), value)
    at_end = (lowest & (upper <= 0)) | highest
    value = np.where(at_end, np.where(highest, lower, upper), value)
    return value, short & has_nan & ~at_end, ~short & has_nan & ~at_end & (total < observed)


def _one_sided(h: Histograms, rows: Ints, lower: Floats, upper: Floats, about_zero: Bools) -> tuple[Floats, Floats]:
    """Bounds, of which those of buckets about zero end there if the row has buckets only on one side."""
    negative, positive = np.diff(h.negative_splits)[rows] > 0, np.diff(h.positive_splits)[rows] > 0
    return (
        np.where(about_zero & positive & ~negative, 0.0, lower),
        np.where(about_zero & negative & ~positive, 0.0, upper),
    )


def _exponential(lower: Floats, upper: Floats, part: Floats) -> Floats:
    """The value below which this part of a bucket is."""
    near, far = np.log2(np.abs(lower)), np.log2(np.abs(upper))
    return np.where(lower > 0, np.exp2(near + (far - near) * part), -np.exp2(far + (near - far) * (1 - part)))


@np.errstate(all="ignore")
def fraction(lower: Floats | float, upper: Floats | float, h: Histograms) -> tuple[Floats, Bools]:
    """Row by row the part of the observations between two values; NaN without observations or where a value is NaN.

    The mask says of which rows an info is due: those with NaN observations, which are in no part.
    """
    low = np.broadcast_to(np.asarray(lower, np.float64), len(h))
    high = np.broadcast_to(np.asarray(upper, np.float64), len(h))
    undefined = (h.count == 0) | np.isnan(low) | np.isnan(high)
    result = np.where(undefined, np.nan, 0.0)
    excluded = np.zeros(len(h), np.bool_)
    buckets = ladder(h)
    for rows, counts in buckets.dense(np.flatnonzero(~undefined & (low < high))):
        steps = _Steps(buckets, rows, counts)
        result[rows] = (steps.below(high[rows]) - steps.below(low[rows])) / h.count[rows]
        excluded[rows] = np.isnan(h.sum[rows]) & (steps.observed < h.count[rows])
    return result, excluded


class _Steps:
    """Some rows' buckets, and how many observations are below a value."""

    def __init__(self, buckets: Ladder, rows: Ints, counts: Floats) -> None:
        """`counts` are by row and step."""
        h, shape = buckets.of, counts.shape
        every_row, steps = np.repeat(rows, shape[1]), np.tile(np.arange(shape[1]), shape[0])
        custom = h.schema[every_row] == CUSTOM
        lower, upper, _ = buckets.bounds(every_row, steps)
        about_zero = (lower <= 0) & (upper >= 0)
        lower, upper = _one_sided(h, every_row, lower, upper, about_zero)
        self._lower, self._upper = lower.reshape(shape), upper.reshape(shape)
        self._linear = (custom | about_zero).reshape(shape)
        self._given = (steps < np.diff(buckets.splits)[every_row]).reshape(shape)
        self._counts = counts
        self._passed = np.concatenate([np.zeros((shape[0], 1)), np.cumsum(counts, axis=1)], axis=1)
        # NaN observations are in no bucket.
        self.observed = np.where(np.isnan(h.sum[rows]), self._passed[:, -1], h.count[rows])

    def below(self, value: Floats) -> Floats:
        """How many observations are estimated to be below each row's value."""
        hits = self._given & ((self._lower >= value[:, None]) | (self._upper > value[:, None]))
        column = np.argmax(hits, axis=1)
        cell = np.arange(len(column)), column
        lower, upper, count, passed = self._lower[cell], self._upper[cell], self._counts[cell], self._passed[cell]
        linear = np.where(lower == -np.inf, count, passed + count * (value - lower) / (upper - lower))
        near, far, at = np.log2(np.abs(lower)), np.log2(np.abs(upper)), np.log2(np.abs(value))
        part = np.where(value > 0, (at - near) / (far - near), 1 - (at - far) / (near - far))
        within = np.where(self._linear[cell], linear, passed + count * part)
        rank = np.where((lower < value) & (upper > value), within, passed)
        return np.where(hits[cell] & ~(rank > self.observed), rank, self.observed)
