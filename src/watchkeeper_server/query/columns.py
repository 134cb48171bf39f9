"""Columns of samples as the store answers them, put together by series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from watchkeeper_server.promql.histograms import take
from watchkeeper_server.promql.values import STALE, STALE_BITS, Bools, Floats, Histograms, Ints, Labels, Samples
from watchkeeper_server.query.series_index import Series

Ids: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]


@dataclass(frozen=True, slots=True)
class Columns:
    """Samples by series and time; `histograms` has a row for each, None where they are floats."""

    ids: Ids
    times: Ints
    values: Floats
    histograms: Histograms | None = None

    def kept(self, rows: Bools) -> Columns:
        """Only these rows."""
        histograms = None if self.histograms is None else take(self.histograms, rows)
        return Columns(self.ids[rows], self.times[rows], self.values[rows], histograms)

    def repeated(self) -> Bools:
        """Which samples are followed by another of the same series and instant."""
        repeated = np.zeros(len(self.ids), np.bool_)
        np.logical_and(self.times[1:] == self.times[:-1], self.ids[1:] == self.ids[:-1], out=repeated[:-1])
        return repeated


def floats_of(table: pa.Table) -> Columns:
    """Rows of `read_selected_samples`."""
    return Columns(_array(table, "id"), _times(table), _array(table, "value"))


def histograms_of(table: pa.Table) -> Columns:
    """Rows of `read_selected_histograms`; the value of a stale marker is that, of others nothing."""
    sums = _array(table, "sum")
    positive, negative, custom = (
        _lists(table, name) for name in ("positive_counts", "negative_counts", "custom_values")
    )
    histograms = Histograms(
        count=_array(table, "count"),
        sum=sums,
        schema=_array(table, "schema"),
        zero_threshold=_array(table, "zero_threshold"),
        zero_count=_array(table, "zero_count"),
        positive_offset=_array(table, "positive_offset"),
        positive_splits=positive[0],
        positive_counts=positive[1],
        negative_offset=_array(table, "negative_offset"),
        negative_splits=negative[0],
        negative_counts=negative[1],
        custom_splits=custom[0],
        custom_values=custom[1],
        counter_reset=_array(table, "counter_reset"),
    )
    values = np.where(sums.view(np.uint64) == STALE_BITS, STALE, 0.0)
    return Columns(_array(table, "id"), _times(table), values, histograms)


def samples_of(series: Series, floats: Columns, histograms: Columns | None = None) -> Samples:
    """Samples of these series."""
    ids, times, values = floats.ids, floats.times, floats.values
    histogram_of = None
    if histograms is not None and len(histograms.ids):
        ids, times, values = (
            np.concatenate([ours, others])
            for ours, others in ((ids, histograms.ids), (times, histograms.times), (values, histograms.values))
        )
        # a float and a histogram of one instant: the histogram counts, as it would have been refused by Prometheus
        rows = np.concatenate([np.full(len(floats.ids), -1), np.arange(len(histograms.ids))])
        order = np.lexsort((rows, times, ids))
        both = Columns(ids[order], times[order], values[order])
        kept = order[~both.repeated()]
        ids, times, values, histogram_of = ids[kept], times[kept], values[kept], rows[kept]
    if not len(ids):
        return Samples([], np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0))
    begins = np.concatenate([[0], np.flatnonzero(ids[1:] != ids[:-1]) + 1])
    labels, known = labels_of(series, ids[begins])
    lengths = np.diff(np.append(begins, len(ids)))
    if not known.all():
        rows = np.repeat(known, lengths)
        times, values, lengths = times[rows], values[rows], lengths[known]
        histogram_of = None if histogram_of is None else histogram_of[rows]
    return Samples(
        labels,
        np.concatenate([[0], np.cumsum(lengths)]),
        times,
        values,
        histogram_of,
        None if histogram_of is None or histograms is None else histograms.histograms,
    )


def labels_of(series: Series, ids: Ids) -> tuple[list[Labels], Bools]:
    """The labels of those of the ids that are known, and which are.

    Others are of series that were stored after the list was read, or whose labels are not stored yet.
    """
    if not len(series.ids):
        return [], np.zeros(len(ids), np.bool_)
    places = np.minimum(np.searchsorted(series.ids, ids), len(series.ids) - 1)
    known: Bools = series.ids[places] == ids
    return [series.labels[place] for place in places[known].tolist()], known


def _array(table: pa.Table, name: str) -> Any:
    return table.column(name).combine_chunks().to_numpy(zero_copy_only=False)


def _times(table: pa.Table) -> Ints:
    times: Ints = table.column("time").combine_chunks().cast(pa.int64()).to_numpy()
    return times


def _lists(table: pa.Table, name: str) -> tuple[Ints, Floats]:
    lists = table.column(name).combine_chunks()
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    return np.concatenate([[0], np.cumsum(lengths)]), lists.flatten().to_numpy(zero_copy_only=False)
