"""Samples of any age as PromQL's engine reads them: where they are gone, what they were rolled up to stands for them.

Windows over rollups are of whole buckets: one is as long as asked, rounded up, and ends at the last border that is not
later than its step. Of such a window `rate`, `increase`, `delta`, the least, the greatest, the sum, the mean, the
number and the last of the samples are what they would be of the samples themselves; other functions see the last sample
of each bucket. Where samples are kept nothing of this applies, unless whoever asks allows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from watchkeeper_server.model.rollups import RolledUp, Rollup
from watchkeeper_server.promql import selectors
from watchkeeper_server.promql.annotations import Annotations
from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.errors import TooManySamplesError
from watchkeeper_server.promql.functions import OVER_RANGE
from watchkeeper_server.promql.labels import key
from watchkeeper_server.promql.options import EngineOptions
from watchkeeper_server.promql.tree import Matcher, Span
from watchkeeper_server.promql.values import STALE_BITS, Floats, Ints, Labels, Matrix, Samples, Steps
from watchkeeper_server.query.columns import floats_of, samples_of
from watchkeeper_server.query.reader import Read
from watchkeeper_server.query.samples import GRIDS, LATEST_MS, SampleReader, grid_of, selection
from watchkeeper_server.query.series_index import SeriesIndex

# Which samples stand for a bucket, by function, as `read_rollups` calls them; `lasts` to all others.
_POINTS = {
    "rate": "counters",
    "increase": "counters",
    "irate": "counters",
    "resets": "counters",
    "delta": "ends",
    "idelta": "ends",
    "ts_of_first_over_time": "ends",
    "min_over_time": "mins",
    "ts_of_min_over_time": "mins",
    "max_over_time": "maxs",
    "ts_of_max_over_time": "maxs",
    "sum_over_time": "sums",
    "count_over_time": "counts",
}
# What grows with its window; a window that was rounded up is scaled down again.
_OF_LENGTH = frozenset({"increase", "delta", "sum_over_time", "count_over_time", "changes", "resets"})
# Keeps its metric's name, which what is computed by a reader cannot.
_NAMED = frozenset({"first_over_time"})
# Rows of rollups, from which on they are cheaper to compute than to fetch.
_WORTH_A_GRID = 100_000
_NOWHERE = Span(0, 0)


@dataclass(frozen=True, slots=True)
class _Source:
    """A rollup that stands for the samples until a time, Unix milliseconds."""

    rollup: Rollup
    until: int


class RollupReader:
    """Reads samples and rollups for one query; implements `promql.reader.Reader`."""

    def __init__(
        self,
        read: Read,
        index: SeriesIndex,
        samples: SampleReader,
        rolled_up: RolledUp,
        options: EngineOptions,
        coarsest_ms: int,
    ) -> None:
        """How a query is read.

        Args:
            read: runs the store's named statements.
            index: knows which series match.
            samples: reads the samples themselves.
            rolled_up: what rollups there are.
            options: the engine's, for its limits.
            coarsest_ms: how wide buckets may be that are read although the samples are kept; 0 reads none.
        """
        self._read = read
        self._index = index
        self._samples = samples
        self._rolled_up = rolled_up
        self._options = options
        self._coarsest_ms = coarsest_ms
        self._infos: dict[str, None] = {}

    @property
    def infos(self) -> list[str]:
        """What the author of the query should know of what was read so far."""
        return list(self._infos)

    def grid(self, function: str, matchers: Sequence[Matcher], steps: Steps, window: int) -> Matrix | None:
        """See `Reader.grid`."""
        start = steps.start - window
        source = self._source(matchers, start, steps.end, whole=(start, steps.step, window))
        if source is None:
            return self._samples.grid(function, matchers, steps, window)
        if function in _NAMED:
            return None
        rolled, rest = _split(steps, source.until + window)
        matrix = self._over_buckets(function, matchers, rolled, window, source)
        if rest is None:
            return matrix
        recent = self._samples.grid(function, matchers, rest, window)
        if recent is None:
            samples = self._samples.select(matchers, rest.start - window, rest.end, self._options.most_samples)
            recent = self._evaluated(function, samples, rest.times, window)
        return _side_by_side(matrix, recent)

    def select(self, matchers: Sequence[Matcher], start: int, end: int, most: int) -> Samples:
        """See `Reader.select`."""
        source = self._source(matchers, start, end, whole=())
        if source is None:
            return self._samples.select(matchers, start, end, most)
        return self._points("lasts", matchers, start, end, source, most)

    def _source(self, matchers: Sequence[Matcher], start: int, end: int, *, whole: Sequence[int]) -> _Source | None:
        """What to read instead of samples from `start` on; None where the samples themselves are to be read.

        That is the finest that goes back so far; if `whole` are all of a coarser one's buckets, that, as it says the
        same; and if who asks allows it, the coarsest allowed.
        """
        known = self._rolled_up
        allowed = [rollup for rollup in known.from_ms if rollup.width_ms <= self._coarsest_ms]
        until = known.until_ms if allowed else known.samples_from_ms
        if start >= until or not known.from_ms:
            return None
        series = self._index.find(matchers, start, end)
        if not series.labels or self._index.have_histograms(series.metrics):
            return None
        farthest = max(start, min(known.from_ms.values()))
        far = [rollup for rollup, from_ms in known.from_ms.items() if from_ms <= farthest]
        fitting = [rollup for rollup in far if whole and not any(time % rollup.width_ms for time in whole)]
        if allowed:
            chosen = ([rollup for rollup in far if rollup in allowed] or allowed)[-1]
        else:
            chosen = fitting[-1] if fitting else far[0]
        day = datetime.fromtimestamp(until / 1000, UTC).date()
        self._infos[
            f"PromQL info: samples before {day} are rollups of {chosen.title}: windows there are of whole buckets"
        ] = None
        return _Source(chosen, until)

    def _over_buckets(
        self, function: str, matchers: Sequence[Matcher], steps: Steps, window: int, source: _Source
    ) -> Matrix:
        """The function over windows that are moved to the borders of buckets."""
        width = source.rollup.width_ms
        times = steps.times // width * width
        length = -(-window // width) * width
        if function == "avg_over_time":
            sums = self._over_points("sum_over_time", matchers, times, length, source)
            counts = self._over_points("count_over_time", matchers, times, length, source)
            matrix = replace(sums, values=sums.values / _rows_as(sums.labels, counts))
        else:
            matrix = self._over_points(function, matchers, times, length, source)
        if function in _OF_LENGTH and length != window:
            return replace(matrix, values=matrix.values * (window / length))
        return matrix

    def _over_points(
        self, function: str, matchers: Sequence[Matcher], times: Ints, length: int, source: _Source
    ) -> Matrix:
        points = _POINTS.get(function, "lasts")
        if function == "count_over_time":
            function = "sum_over_time"
        matrix = self._computed(function, points, matchers, times, length, source)
        if matrix is not None:
            return matrix
        samples = self._points(
            points, matchers, int(times[0]) - length, int(times[-1]), source, self._options.most_samples
        )
        return self._evaluated(function, samples, times, length)

    def _computed(
        self, function: str, points: str, matchers: Sequence[Matcher], times: Ints, length: int, source: _Source
    ) -> Matrix | None:
        """The same, where it is worth it, by the store."""
        width = source.rollup.width_ms
        start, end = int(times[0]), int(times[-1])
        if function not in GRIDS or start < length or end > LATEST_MS:
            return None
        series = self._index.find(matchers, start - length, end)
        if len(series.labels) * (end - start + length) < _WORTH_A_GRID * width:
            return None
        distances = np.unique(np.diff(times))
        # the store knows only steps of one length: it is asked at every border, if need be
        step = int(distances[0]) if len(distances) == 1 and distances[0] else width
        count = (end - start) // step + 1
        if len(series.labels) * count > self._options.most_cells:
            return None
        parameters = selection(series) | {
            "table": source.rollup.table,
            "points": points,
            "start": start,
            "end": end,
            "from": start - length,
            "until": min(end, source.until),
            "step": f"{step / 1000:.3f}",
            "window": f"{length / 1000:.3f}",
            "marker": None if function == "last" else STALE_BITS,
        }
        table = self._read(f"read_rollup_grid.{GRIDS[function]}", parameters)
        matrix = grid_of(function, table, series, count)
        if matrix is None or count == len(times):
            return matrix
        places = (times - start) // step
        return Matrix(matrix.labels, matrix.values[:, places], matrix.present[:, places])

    def _evaluated(self, function: str, samples: Samples, times: Ints, window: int) -> Matrix:
        """What the engine would make of the samples, of series that keep their names."""
        if len(samples.labels) * len(times) > self._options.most_cells:
            raise TooManySamplesError
        if function == "last":
            return selectors.vector(samples, times, window)
        steps = Steps(int(times[0]), int(times[-1]), 0)
        context = Context(steps, Annotations(), _NOWHERE, (_NOWHERE,))
        matrix = OVER_RANGE[function](context, selectors.windows(samples, times, window), [])
        return replace(matrix, labels=samples.labels)

    def _points(
        self, points: str, matchers: Sequence[Matcher], start: int, end: int, source: _Source, most: int
    ) -> Samples:
        """What stands for the samples until the source ends, and the samples after that."""
        series = self._index.find(matchers, start, end)
        parameters = selection(series) | {
            "table": source.rollup.table,
            "points": points,
            "start": max(0, start // source.rollup.width_ms * source.rollup.width_ms),
            "end": max(0, min(end, source.until)),
            "limit": most + 1,
        }
        table = self._read("read_rollups", parameters)
        if table.num_rows > most:
            raise TooManySamplesError
        rolled = samples_of(series, floats_of(table))
        if end <= source.until:
            return rolled
        rest = self._samples.select(matchers, max(start, source.until), end, most - table.num_rows)
        if points == "counts":
            rest = selectors.without_stale(rest)
            rest = replace(rest, values=np.ones(len(rest.values)))
        return _one_after_the_other(rolled, rest)


def _split(steps: Steps, until: int) -> tuple[Steps, Steps | None]:
    """The steps before a time and the others; the first is before it."""
    count = min(steps.count, -(-(until - steps.start) // steps.step)) if steps.step else 1
    last = steps.start + (count - 1) * steps.step
    before = Steps(steps.start, last, steps.step)
    return before, Steps(last + steps.step, steps.end, steps.step) if count < steps.count else None


def _rows(before: list[Labels], after: list[Labels]) -> tuple[list[Labels], Ints]:
    """The labels of both, each once, and which of them those of the second are."""
    labels = list(before)
    rows = {key(each): row for row, each in enumerate(before)}
    places = []
    for each in after:
        row = rows.setdefault(key(each), len(labels))
        if row == len(labels):
            labels.append(each)
        places.append(row)
    return labels, np.array(places, np.int64)


def _rows_as(labels: list[Labels], matrix: Matrix) -> Floats:
    """The values of a matrix in the order of these labels, 1 where it has none."""
    all_labels, places = _rows(labels, matrix.labels)
    values = np.ones((len(all_labels), matrix.values.shape[1]))
    values[places] = np.where(matrix.present, matrix.values, 1.0)
    return values[: len(labels)]


def _one_after_the_other(before: Samples, after: Samples) -> Samples:
    """Each series' samples of the first, then those of the second; there are no native histograms."""
    labels, places = _rows(before.labels, after.labels)
    lengths = np.zeros(len(labels), np.int64)
    lengths[: len(before.labels)] = np.diff(before.offsets)
    lengths[places] += np.diff(after.offsets)
    numbers = np.concatenate(
        [np.repeat(np.arange(len(before.labels)), np.diff(before.offsets)), np.repeat(places, np.diff(after.offsets))]
    )
    order = np.argsort(numbers, kind="stable")
    return Samples(
        labels,
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([before.times, after.times])[order],
        np.concatenate([before.values, after.values])[order],
    )


def _side_by_side(before: Matrix, after: Matrix) -> Matrix:
    """The steps of the first, then those of the second; there are no native histograms."""
    labels, places = _rows(before.labels, after.labels)
    split = before.present.shape[1]
    shape = len(labels), split + after.present.shape[1]
    values, present = np.zeros(shape), np.zeros(shape, np.bool_)
    values[: len(before.labels), :split], present[: len(before.labels), :split] = before.values, before.present
    values[places, split:], present[places, split:] = after.values, after.present
    return Matrix(labels, values, present)
