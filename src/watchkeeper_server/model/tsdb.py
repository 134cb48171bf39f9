"""What is said of stored series, in the shapes of Prometheus' HTTP API."""

from __future__ import annotations

from collections.abc import Mapping

from typing_extensions import TypedDict


class Exemplar(TypedDict):
    """One exemplar; `timestamp` is Unix milliseconds."""

    labels: Mapping[str, str]
    value: float
    timestamp: int


class ExemplarSeries(TypedDict):
    """The exemplars of a series, oldest first."""

    seriesLabels: Mapping[str, str]
    exemplars: list[Exemplar]


class HeadStats(TypedDict):
    """How much is stored; times are Unix milliseconds."""

    numSeries: int
    numLabelPairs: int
    chunkCount: int
    minTime: int
    maxTime: int


class NamedCount(TypedDict):
    """A line of a ranking."""

    name: str
    value: int


class TsdbStatus(TypedDict):
    """Where the series come from: rankings, the largest first."""

    headStats: HeadStats
    seriesCountByMetricName: list[NamedCount]
    labelValueCountByLabelName: list[NamedCount]
    memoryInBytesByLabelName: list[NamedCount]
    seriesCountByLabelValuePair: list[NamedCount]
