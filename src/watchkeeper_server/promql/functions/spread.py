"""How a window's floats are spread: quantiles, median absolute deviation, standard deviation and variance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.functions import remarks
from watchkeeper_server.promql.functions.arguments import number
from watchkeeper_server.promql.functions.over_time import over_floats
from watchkeeper_server.promql.functions.windows import Block, answer, kinds, per_window, total
from watchkeeper_server.promql.values import Floats, Ints, Matrix, Scalar, Text, Windows


def _quantiles(values: Floats, lengths: Ints, quantiles: Floats) -> Floats:
    """Of each column's first entries the quantile, interpolated between two; the rest of a column is NaN.

    An entry that is NaN is less than all numbers.
    """
    ascending = np.sort(values, axis=0)
    nans = lengths - np.count_nonzero(~np.isnan(values), axis=0)
    inside = (quantiles >= 0) & (quantiles <= 1)
    rank = np.where(inside, quantiles, 0.0) * (lengths - 1)
    lower = np.floor(rank)
    weight = rank - lower
    below = _at(ascending, lower.astype(np.int64) - nans)
    above = _at(ascending, np.minimum(lower.astype(np.int64) + 1, lengths - 1) - nans)
    outside = np.where(quantiles < 0, -np.inf, np.where(quantiles > 1, np.inf, np.nan))
    return np.where(inside, below * (1 - weight) + above * weight, outside)


def _at(ascending: Floats, row: Ints) -> Floats:
    """Each column's entry in its row, NaN before the first."""
    found = ascending[np.maximum(row, 0), np.arange(ascending.shape[1])]
    return np.where(row < 0, np.nan, found)


def quantile_over_time(context: Context, windows: Windows, arguments: Sequence[Scalar | Text]) -> Matrix:
    """A quantile of the floats."""
    of, labels = kinds(windows), windows.samples.labels
    quantiles = number(arguments[0])
    remarks.quantiles_outside(context, quantiles[(of.float_counts > 0).any(axis=0)], context.arguments[0])
    remarks.histograms_ignored(context, labels, of.mixed)
    of_cells = np.broadcast_to(quantiles, of.float_counts.shape).reshape(-1)

    def compute(block: Block) -> Floats:
        return _quantiles(block.take(of.floats.samples.values, np.nan), block.lengths, of_cells[block.cells])

    return answer(labels, per_window(of.floats, compute), of.float_counts > 0)


def _median_deviation(windows: Windows) -> Floats:
    def compute(block: Block) -> Floats:
        values, half = block.take(windows.samples.values, np.nan), np.full(len(block.lengths), 0.5)
        median = _quantiles(values, block.lengths, half)
        return _quantiles(np.abs(values - median), block.lengths, half)

    return per_window(windows, compute)


def _variance(windows: Windows) -> Floats:
    """In two passes, each a compensated sum: the mean, then the squared distances from it.

    Prometheus corrects the mean sample by sample, which would be a loop over samples here; the last digit may differ.
    Distances from the first sample instead of values make equal samples exactly 0.
    """

    def compute(block: Block) -> Floats:
        values, beyond = block.take(windows.samples.values, 0.0), block.beyond()
        distance = values - values[0]
        np.copyto(distance, 0.0, where=beyond)
        distance -= total(distance) / block.lengths
        np.copyto(distance, 0.0, where=beyond)
        return total(distance * distance) / block.lengths

    return per_window(windows, compute)


mad_over_time = over_floats(_median_deviation)
stddev_over_time = over_floats(lambda windows: np.sqrt(_variance(windows)))
stdvar_over_time = over_floats(_variance)
