"""What functions remark on their arguments, in Prometheus' words."""

from __future__ import annotations

import numpy as np

from watchkeeper_server.promql import numbers
from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.quoting import quote
from watchkeeper_server.promql.tree import Span
from watchkeeper_server.promql.values import METRIC_NAME, Bools, Floats, Labels

_COUNTER_SUFFIXES = ("_total", "_sum", "_count", "_bucket")


def names(labels: list[Labels], cells: Bools) -> list[str]:
    """The metrics of the series for which something is true at any step."""
    rows = np.flatnonzero(cells.any(axis=1)).tolist()
    return list(dict.fromkeys(labels[row].get(METRIC_NAME, "") for row in rows))


def of_metric(name: str) -> str:
    """Which metric is meant, where it has a name."""
    return f" for metric name {quote(name)}" if name else ""


def histograms_ignored(context: Context, labels: list[Labels], cells: Bools) -> None:
    """Only the floats of these windows were looked at."""
    for name in names(labels, cells):
        text = "PromQL info: ignored histograms in a range containing both floats and histograms for metric name "
        context.annotations.inform(text + quote(name), context.arguments[0])


def maybe_no_counter(context: Context, labels: list[Labels], cells: Bools) -> None:
    """The series with an answer in these cells are named as if they were no counters."""
    for name in names(labels, cells):
        if name and not name.endswith(_COUNTER_SUFFIXES):
            text = "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "
            context.annotations.inform(text + quote(name), context.arguments[0])


def quantiles_outside(context: Context, quantiles: Floats, span: Span) -> None:
    """Some of the quantiles asked for are none."""
    outside = quantiles[~((quantiles >= 0) & (quantiles <= 1))]
    for quantile in dict.fromkeys(map(numbers.general, np.unique(outside).tolist())):
        text = f"PromQL warning: quantile value should be between 0 and 1, got {quantile}"
        context.annotations.warn(text, span)
