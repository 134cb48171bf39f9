"""Adding, subtracting and scaling native histograms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.histograms.columns import GAUGE
from watchkeeper_server.promql.values import Bools, Floats, Histograms, Ints


def _per_row(factors: Floats, splits: Ints) -> Floats:
    return np.repeat(factors, np.diff(splits))


def scale(h: Histograms, factors: Floats) -> Histograms:
    """Everything that is counted times its row's factor; what comes of a negative factor is a gauge."""
    return replace(
        h,
        count=h.count * factors,
        sum=h.sum * factors,
        zero_count=h.zero_count * factors,
        positive_counts=h.positive_counts * _per_row(factors, h.positive_splits),
        negative_counts=h.negative_counts * _per_row(factors, h.negative_splits),
        counter_reset=np.where(factors < 0, GAUGE, h.counter_reset),
    )


def divide(h: Histograms, divisors: Floats) -> Histograms:
    """Everything that is counted by its row's divisor; where that is 0, no buckets are left but the zero bucket."""
    raise NotImplementedError


def add(a: Histograms, b: Histograms, context: Context) -> tuple[Histograms, Bools]:
    """Row by row the sum, and which rows have one: exponential and custom buckets have not."""
    raise NotImplementedError


def subtract(a: Histograms, b: Histograms, context: Context) -> tuple[Histograms, Bools]:
    """Row by row the difference, a gauge, and which rows have one: exponential and custom buckets have not."""
    raise NotImplementedError


def sum_groups(h: Histograms, group_of_row: Ints, groups: int, context: Context) -> tuple[Histograms, Bools]:
    """The sum of each group's rows, and which groups have one: mixed exponential and custom buckets have not.

    A group without rows is an empty histogram.
    """
    raise NotImplementedError


def avg_groups(h: Histograms, group_of_row: Ints, groups: int, context: Context) -> tuple[Histograms, Bools]:
    """The mean of each group's rows, else as `sum_groups`."""
    raise NotImplementedError
