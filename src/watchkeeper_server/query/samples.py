"""Samples out of the store, as PromQL's engine reads them; implements `promql.reader.Reader`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from watchkeeper_server.model.times import LATEST_NS
from watchkeeper_server.promql.errors import TooManySamplesError
from watchkeeper_server.promql.tree import Matcher
from watchkeeper_server.promql.values import STALE_BITS, Matrix, Samples, Steps
from watchkeeper_server.query.columns import Columns, floats_of, histograms_of, labels_of, samples_of
from watchkeeper_server.query.reader import Read
from watchkeeper_server.query.recent_samples import RecentSamples
from watchkeeper_server.query.series_index import Series, SeriesIndex

_EARLIEST_MS, LATEST_MS = -1, LATEST_NS // 1_000_000
# By PromQL's name, the variant of the statement: those that say what promql.functions do. Not so where infinity or NaN
# comes out: to `Rate` a counter that was infinite once is so ever after, to `Sum` what overflows on its way stays so.
GRIDS = {
    "last": "Last",
    "last_over_time": "Last",
    "rate": "Rate",
    "increase": "Increase",
    "delta": "Delta",
    "irate": "InstantRate",
    "idelta": "InstantDelta",
    "min_over_time": "Min",
    "max_over_time": "Max",
    "sum_over_time": "Sum",
    "avg_over_time": "Avg",
    "count_over_time": "Count",
    "resets": "Resets",
    "deriv": "Deriv",
}
# Series times milliseconds, from which on samples are cheaper to compute than to fetch: 100,000 at one in 15 seconds.
_WORTH_A_GRID_MS = 100_000 * 15_000
_MOST_CELLS = 20_000_000
_NONE = Samples([], np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0))


class SampleReader:
    """Reads samples."""

    def __init__(self, read: Read, index: SeriesIndex, recent: RecentSamples) -> None:
        """`index` knows which series match, `recent` has the newest samples."""
        self._read = read
        self._index = index
        self._recent = recent

    def grid(self, function: str, matchers: Sequence[Matcher], steps: Steps, window: int) -> Matrix | None:
        """See `Reader.grid`."""
        variant = GRIDS.get(function)
        start, end = steps.start - window, steps.end
        if variant is None or start < 0 or end > LATEST_MS or self._recent.covers(start):
            return None
        series = self._index.find(matchers, start, end)
        if len(series.labels) * (end - start) < _WORTH_A_GRID_MS or self._index.have_histograms(series.metrics):
            return None
        if len(series.labels) * steps.count > _MOST_CELLS:
            raise TooManySamplesError
        parameters = selection(series) | {
            "start": steps.start,
            "end": end,
            "from": start,
            "step": f"{(steps.step or 1) / 1000:.3f}",
            "window": f"{window / 1000:.3f}",
            "marker": None if function == "last" else STALE_BITS,
        }
        table = self._read(f"read_grid.{variant}", parameters)
        return grid_of(function, table, series, steps.count)

    def select(self, matchers: Sequence[Matcher], start: int, end: int, most: int) -> Samples:
        """See `Reader.select`."""
        if end < 0 or start >= end:
            return _NONE
        series = self._index.find(matchers, start, end)
        if not series.labels:
            return _NONE
        parameters = selection(series) | {
            "start": bounded(start),
            "end": bounded(end),
            "limit": most + 1,
            "by_segment": None,
        }
        floats = self._recent.select(series.ids, start, end, most)
        if floats is None:
            floats = self._stored(parameters, most)
        if not self._index.have_histograms(series.metrics):
            return samples_of(series, floats)
        table = self._read("read_selected_histograms", parameters)
        histograms = histograms_of(table)
        if table.num_rows + len(floats.ids) > most:
            raise TooManySamplesError
        return samples_of(series, floats, histograms.kept(~histograms.repeated()))

    def _stored(self, parameters: dict[str, Any], most: int) -> Columns:
        """What the store has."""
        table = self._read("read_selected_samples", parameters)
        if table.num_rows > most:
            raise TooManySamplesError
        floats = floats_of(table)
        if floats.repeated().any():
            floats = floats_of(self._read("read_selected_samples", parameters | {"by_segment": 1}))
            floats = floats.kept(~floats.repeated())
        return floats


def grid_of(function: str, table: pa.Table, series: Series, count: int) -> Matrix | None:
    """What `read_grid` says at so many steps; None where samples say something else, see `GRIDS`."""
    grid = table.column("grid").combine_chunks().flatten()
    shape = table.num_rows, count
    present = grid.is_valid().to_numpy(zero_copy_only=False).reshape(shape)
    values = grid.to_numpy(zero_copy_only=False).reshape(shape)
    if table.column("repeated").to_numpy().any():
        return None
    if function == "last":
        present = present & (values.view(np.uint64) != STALE_BITS)
    elif not np.isfinite(values[present]).all():
        return None
    labels, known = labels_of(series, table.column("id").to_numpy())
    return Matrix(labels, values[known], present[known])


def selection(series: Series) -> dict[str, Any]:
    """The parameters that restrict a statement to these series."""
    return {"metrics": series.metrics, "ids": None if series.whole else series.ids.tolist()}


def bounded(time_ms: int) -> int:
    """A time cut to what can be stored, or the last before it."""
    return min(max(time_ms, _EARLIEST_MS), LATEST_MS)


def joined(parts: Sequence[Samples]) -> Samples:
    """The series of all parts, each once, without their native histograms."""
    kept: dict[tuple[tuple[str, str], ...], tuple[Samples, Any]] = {}
    for part in parts:
        floats = np.ones(len(part.times), np.bool_) if part.histogram_of is None else part.histogram_of < 0
        for i, labels in enumerate(part.labels):
            places = np.arange(part.offsets[i], part.offsets[i + 1])
            kept.setdefault(tuple(sorted(labels.items())), (part, places[floats[places]]))
    rows = [(dict(key), part, places) for key, (part, places) in kept.items() if len(places)]
    if not rows:
        return _NONE
    return Samples(
        [labels for labels, _, _ in rows],
        np.cumsum([0, *(len(places) for _, _, places in rows)]),
        np.concatenate([part.times[places] for _, part, places in rows]),
        np.concatenate([part.values[places] for _, part, places in rows]),
    )
