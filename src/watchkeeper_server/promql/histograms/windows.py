"""Which windows hold native histograms, and what is said of those that cannot be used.

A function of windows answers as a `Matrix` does: `histogram_of[series, steps]`, the row of the histograms there, -1 for
nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.histograms.algebra import operand
from watchkeeper_server.promql.histograms.columns import EMPTY, take
from watchkeeper_server.promql.values import METRIC_NAME, Bools, Histograms, Ints, Labels, Windows

MIXED_TYPES = "PromQL warning: encountered a mix of histograms and floats for metric name"
MIXED_BUCKETS = (
    "PromQL warning: vector contains a mix of histograms with exponential and custom buckets schemas for metric name"
)
NOT_COUNTER = "PromQL warning: this native histogram metric is not a counter:"
NOT_GAUGE = "PromQL warning: this native histogram metric is not a gauge:"


def histogram_counts(windows: Windows) -> Ints:
    """How many histograms each window holds, int64[series, steps]; its other samples are floats."""
    of = windows.samples.histogram_of
    if of is None:
        return np.zeros(windows.first.shape, np.int64)
    before = np.concatenate([[0], np.cumsum(of >= 0)])
    counts: Ints = before[windows.last] - before[windows.first]
    return counts


class Chosen:
    """The windows that hold only histograms, at least so many.

    `series` and `steps` are where they are, `first` and `last` the samples they begin and end with.
    """

    def __init__(self, windows: Windows, least: int, context: Context) -> None:
        """Choose them, and warn of those that hold floats too."""
        self.windows, self._context = windows, context
        counts, lengths = histogram_counts(windows), windows.last - windows.first
        self.series, self.steps = np.nonzero((counts == lengths) & (lengths >= least))
        self.first = windows.first[self.series, self.steps]
        self.last = windows.last[self.series, self.steps] - 1
        warn_of_series(windows.samples.labels, np.nonzero((counts > 0) & (counts < lengths))[0], MIXED_TYPES, context)

    def __len__(self) -> int:
        return len(self.first)

    def warn(self, which: Bools, text: str) -> None:
        """Warn of some of them."""
        warn_of_series(self.windows.samples.labels, self.series[which], text, self._context)

    def answer(self, results: Histograms, possible: Bools) -> tuple[Ints, Histograms]:
        """What is at each series and step, where it is possible."""
        histogram_of = np.full(self.windows.first.shape, -1)
        histogram_of[self.series[possible], self.steps[possible]] = np.arange(np.count_nonzero(possible))
        return histogram_of, results if possible.all() else take(results, possible)


def nothing(windows: Windows) -> tuple[Ints, Histograms]:
    """The answer where there are no histograms."""
    return np.full(windows.first.shape, -1), EMPTY


def warn_of_series(labels: Sequence[Labels], series: Ints, text: str, context: Context) -> None:
    """Warn of each of these series by its name."""
    for index in np.unique(series).tolist():
        name = labels[index].get(METRIC_NAME, "")
        context.annotations.warn(f"{text} {json.dumps(name, ensure_ascii=False)}", operand(context))
