"""Watchkeeper's own engine over series in memory, as a target of the test language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from support.promql import MemoryReader
from support.promqltest.histograms import Histogram, as_columns, from_columns, with_hints
from support.promqltest.series import Series
from support.promqltest.targets import Answer, QueryFailedError
from watchkeeper_server.promql.engine import Engine
from watchkeeper_server.promql.errors import QueryError
from watchkeeper_server.promql.options import EngineOptions
from watchkeeper_server.promql.values import Histograms, Labels, Matrix, Result, Samples, Scalar, Steps, Text

Rows: TypeAlias = list[tuple[Labels, dict[int, float | Histogram]]]
# All experiments on, as Prometheus' own tests have them.
OPTIONS = EngineOptions(experimental=True, delayed_names=True)


class InProcess:
    """A target; see `targets.Target`."""

    def __init__(self, options: EngineOptions = OPTIONS) -> None:
        self._options = options
        self._engine = Engine(MemoryReader(samples_of(())), options)

    def hold(self, data: Sequence[Series]) -> None:
        """Keeps these series only."""
        self._engine = Engine(MemoryReader(samples_of(data)), self._options)

    def instant(self, query: str, time: int) -> Answer:
        """The answer at a time."""
        return _answer(lambda: self._engine.instant(query, time), instant=True)

    def range(self, query: str, steps: Steps) -> Answer:
        """The answer at each step."""
        return _answer(lambda: self._engine.range(query, steps.start, steps.end, steps.step), instant=False)


def samples_of(data: Sequence[Series]) -> Samples:
    """Series as the columns that an engine reads."""
    values = [with_hints([value for _, value in series.samples]) for series in data]
    flat = [value for of_series in values for value in of_series]
    rows = [value for value in flat if isinstance(value, Histogram)]
    is_histogram = np.array([isinstance(value, Histogram) for value in flat], np.bool_)
    return Samples(
        [series.labels for series in data],
        np.cumsum([0, *map(len, values)], dtype=np.int64),
        np.array([time for series in data for time, _ in series.samples], np.int64),
        np.array([np.nan if isinstance(value, Histogram) else value for value in flat], np.float64),
        np.where(is_histogram, np.cumsum(is_histogram) - 1, -1) if rows else None,
        as_columns(rows) if rows else None,
    )


def _answer(ask: Callable[[], Result], *, instant: bool) -> Answer:
    try:
        result = ask()
    except QueryError as error:
        raise QueryFailedError(str(error)) from error
    value, times = result.value, result.steps.times.tolist()
    match value:
        case Text():
            return Answer("string", [], value.value, result.warnings, result.infos)
        case Scalar():
            series: Rows = [({}, dict(zip(times, value.values.tolist(), strict=True)))]
            return Answer("scalar" if instant else "matrix", series, "", result.warnings, result.infos)
        case Matrix():
            return Answer("vector" if instant else "matrix", _rows(value, times), "", result.warnings, result.infos)
        case Samples():
            return Answer("matrix", _samples(value), "", result.warnings, result.infos)


def _rows(matrix: Matrix, times: list[int]) -> Rows:
    kinds = np.full(matrix.values.shape, -1) if matrix.histogram_of is None else matrix.histogram_of
    return [
        (
            dict(labels),
            {
                times[step]: _value(matrix.values[row, step], int(kinds[row, step]), matrix.histograms)
                for step in np.flatnonzero(matrix.present[row]).tolist()
            },
        )
        for row, labels in enumerate(matrix.labels)
        if matrix.present[row].any()
    ]


def _samples(samples: Samples) -> Rows:
    kinds = np.full(samples.values.shape, -1) if samples.histogram_of is None else samples.histogram_of
    return [
        (
            dict(labels),
            {
                int(samples.times[place]): _value(samples.values[place], int(kinds[place]), samples.histograms)
                for place in range(samples.offsets[row], samples.offsets[row + 1])
            },
        )
        for row, labels in enumerate(samples.labels)
    ]


def _value(value: np.float64, row: int, histograms: Histograms | None) -> float | Histogram:
    return float(value) if row < 0 or histograms is None else from_columns(histograms, row)
