"""Resets of native histograms of which only counts and sums are asked: `histogram_count(sum(h))` and its like.

Prometheus then reads no buckets, but finds out of each histogram whether its counter was reset before it. So it warns
where what was reset is added to what was not; elsewhere it often does not know.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from watchkeeper_server.promql.histograms.columns import NOT_RESET, RESET, UNKNOWN
from watchkeeper_server.promql.histograms.resets import is_reset
from watchkeeper_server.promql.tree import Binary, Call, Expr, Subquery, VectorSelector, children
from watchkeeper_server.promql.values import Samples

_OF_STATISTICS = frozenset({"histogram_avg", "histogram_count", "histogram_sum"})
_OF_BUCKETS = frozenset({"histogram_fraction", "histogram_quantile", "histogram_quantiles"})


def of_statistics(tree: Expr) -> frozenset[int]:
    """The selectors, by their ids, whose histograms' buckets are not asked for.

    None of them is under a function of buckets or within a subquery. Each side of an operator is a tree of its own.
    """
    return frozenset(_asked(tree, asked=False, barred=False))


def _asked(node: Expr, *, asked: bool, barred: bool) -> Iterator[int]:
    match node:
        case VectorSelector():
            if asked and not barred:
                yield id(node)
        case Call():
            asked |= node.function in _OF_STATISTICS
            barred |= node.function in _OF_BUCKETS
        case Subquery():
            barred = True
        case Binary():
            asked = barred = False
    for child in children(node):
        yield from _asked(child, asked=asked, barred=barred)


def with_resets(samples: Samples) -> Samples:
    """The samples with it said of each histogram after another whether its counter was reset, where it was not."""
    h, row = samples.histograms, samples.histogram_of
    if h is None or row is None:
        return samples
    follows = np.zeros(len(row), np.bool_)
    follows[1:] = (row[1:] >= 0) & (row[:-1] >= 0)
    starts = samples.offsets[:-1]
    follows[starts[starts < len(row)]] = False
    at = np.flatnonzero(follows)
    at = at[h.counter_reset[row[at]] == UNKNOWN]
    hints = h.counter_reset.copy()
    hints[row[at]] = np.where(is_reset(h, row[at - 1], row[at]), RESET, NOT_RESET)
    return replace(samples, histograms=replace(h, counter_reset=hints))
