"""Metrics: which there are, their labels, and raw samples of their series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from watchkeeper_server.model.answers import Labels, Metric, Metrics, Series, SeriesAnswer
from watchkeeper_server.model.times import TimeRange
from watchkeeper_server.query.parameters import within
from watchkeeper_server.query.reader import Read

MAX_METRICS = 10_000
MAX_LABEL_VALUES = 1_000
# A histogram's or summary's series are named after the family with one of these behind it.
_SUFFIXES = ("_bucket", "_count", "_sum")
_UNKNOWN = {"type_name": "unknown", "unit": "", "help": ""}


class MetricQueries:
    """Reads metrics."""

    def __init__(self, read: Read) -> None:
        """`read` runs the store's named statements."""
        self._read = read

    def all(self, range_: TimeRange, prefix: str = "", service: str = "") -> Metrics:
        """Metrics with a series in the range, by name; if asked, of one service: its job, with or without namespace."""
        parameters = within(range_) | {"prefix": prefix, "service": service or None, "limit": MAX_METRICS}
        rows = self._read("read_metrics", parameters).to_pylist()
        known = self._metadata([row["name"] for row in rows])
        return Metrics(
            metrics=[
                Metric(
                    name=row["name"],
                    type=known[row["name"]]["type_name"],
                    unit=known[row["name"]]["unit"],
                    help=known[row["name"]]["help"],
                    series=row["series_count"],
                )
                for row in rows
            ]
        )

    def labels(self, metric: str, range_: TimeRange) -> Labels:
        """The labels of a metric's series in the range, each with the values it took, at most 1,000."""
        rows = self._read("read_metric_labels", within(range_) | {"metric": metric, "limit": MAX_LABEL_VALUES})
        return Labels(metric=metric, labels={row["name"]: row["label_values"] for row in rows.to_pylist()})

    def series(
        self, metric: str, labels: Sequence[tuple[str, str]], range_: TimeRange, limit: int, max_points: int
    ) -> SeriesAnswer:
        """Raw samples of the series that have all the labels: at most `limit` series of at most `max_points`."""
        parameters = within(range_) | {
            "metric": metric,
            "label_names": [name for name, _ in labels],
            "label_values": [value for _, value in labels],
            "limit": limit + 1,
        }
        rows = self._read("read_series", parameters).to_pylist()
        points = self._points(metric, [row["id"] for row in rows[:limit]], range_, max_points)
        known = self._metadata([metric])[metric]
        return SeriesAnswer(
            metric=metric,
            type=known["type_name"],
            unit=known["unit"],
            series=[
                Series(labels=orjson.loads(row["label_texts"]), points=points[row["id"]])
                for row in rows[:limit]
                if row["id"] in points
            ],
            truncated=len(rows) > limit,
        )

    def _points(
        self, metric: str, ids: list[int], range_: TimeRange, max_points: int
    ) -> dict[int, list[tuple[float, float | str]]]:
        if not ids:
            return {}
        parameters = within(range_) | {"metric": metric, "ids": ids, "max_points": max_points}
        table = self._read("read_samples", parameters)
        columns = (table.column(name) for name in ("id", "times_ms", "point_values"))
        return {
            id_.as_py(): list(zip(_seconds(times_ms.values), _numbers(values.values), strict=True))
            for id_, times_ms, values in zip(*columns, strict=True)
        }

    def _metadata(self, metrics: Sequence[str]) -> dict[str, dict[str, str]]:
        """Type, unit and help of each metric: its own, or those of the histogram or summary it is a part of."""
        families = {metric: [metric, *_families(metric)] for metric in metrics}
        names = sorted({name for candidates in families.values() for name in candidates})
        rows = self._read("read_metric_metadata", {"names": names}).to_pylist() if names else []
        known = {row["name"]: row for row in rows}
        return {
            metric: next((known[name] for name in candidates if name in known), _UNKNOWN)
            for metric, candidates in families.items()
        }


def _families(metric: str) -> list[str]:
    return [metric.removesuffix(suffix) for suffix in _SUFFIXES if metric.endswith(suffix)]


def _seconds(times_ms: Any) -> list[float]:
    seconds: list[float] = (times_ms.to_numpy(zero_copy_only=False) / 1000).tolist()
    return seconds


def _numbers(values: Any) -> list[float | str]:
    """Values for JSON, which has no word for NaN and infinities; they are written as Prometheus does."""
    array = values.to_numpy(zero_copy_only=False)
    numbers: list[float | str] = array.tolist()
    for i in np.flatnonzero(~np.isfinite(array)):
        numbers[i] = "NaN" if np.isnan(array[i]) else "+Inf" if array[i] > 0 else "-Inf"
    return numbers
