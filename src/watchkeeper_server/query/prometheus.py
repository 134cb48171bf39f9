"""What Prometheus' HTTP API asks: PromQL, and which series, labels, metadata and exemplars there are.

Implements `api.prometheus.queries.PrometheusQueries`, which says what each answer is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import orjson
import pyarrow as pa

from watchkeeper_server.model.rollups import RolledUp
from watchkeeper_server.model.targets import Metadata
from watchkeeper_server.model.tsdb import ExemplarSeries, HeadStats, NamedCount, TsdbStatus
from watchkeeper_server.promql.engine import Engine
from watchkeeper_server.promql.errors import InvalidQueryError
from watchkeeper_server.promql.matchers import matches
from watchkeeper_server.promql.options import EngineOptions
from watchkeeper_server.promql.tree import Matcher
from watchkeeper_server.promql.values import METRIC_NAME, Labels, Result, Samples
from watchkeeper_server.query.reader import Read
from watchkeeper_server.query.recent_samples import RecentSamples
from watchkeeper_server.query.rollups import RollupReader
from watchkeeper_server.query.samples import SampleReader, bounded, joined
from watchkeeper_server.query.series_index import Series, SeriesIndex, Version, steps_around

Selectors = Sequence[Sequence[Matcher]]
_MOST_EXEMPLARS = 100_000
# longer than any range asked for, shorter than what overflows
_ALWAYS_MS = 10**15


class Administration(Protocol):
    """What may be asked of stored series and done to them; see `store.Store`."""

    def read(self, name: str, parameters: Mapping[str, Any], *, own: bool = False) -> pa.Table:
        """Run a named query; one of the store's `own` waits for no other."""

    def series_version(self) -> tuple[int, int]:
        """How often all that is known of series had to be forgotten, and the newest block of those stored."""

    def histograms_version(self) -> tuple[int, int]:
        """The same of native histograms."""

    def delete(self, metrics: Sequence[str], ids: Sequence[int], start_ms: int, end_ms: int, *, series: bool) -> None:
        """Delete what some series have between two times, which belong to it; with `series`, also that they exist."""

    def freeze(self, name: str) -> None:
        """Keep everything as it is now under a name."""


class PrometheusQueries:
    """All that can be asked of metrics as Prometheus is asked. Any thread may ask."""

    def __init__(
        self,
        read: Read,
        store: Administration,
        options: EngineOptions,
        snapshot_name: Callable[[], str],
        deleted: Callable[[], None],
        recent: RecentSamples,
        rolled_up: Callable[[], RolledUp] = RolledUp,
    ) -> None:
        """What answers are made of.

        Args:
            read: runs the store's named statements.
            store: what may be done to what is stored.
            options: PromQL's.
            snapshot_name: makes up a name never used before.
            deleted: called after series have been deleted.
            recent: the newest samples.
            rolled_up: what rollups there are.
        """
        self._read = read
        self._store = store
        self._snapshot_name = snapshot_name
        self._deleted = deleted
        self._recent = recent
        self._rolled_up = rolled_up
        self._options = options
        self._index = SeriesIndex(
            read,
            functools.partial(store.read, own=True),
            lambda: Version(*store.series_version()),
            lambda: Version(*store.histograms_version()),
            options.most_series,
        )
        self._samples = SampleReader(read, self._index, recent)

    def instant(self, query: str, time_ms: int, *, coarsest_ms: int = 0, **limits: Any) -> Result:
        """See `promql.engine.Engine`; rollups up to `coarsest_ms` wide may stand for samples that are kept."""
        return self._answered(coarsest_ms, lambda engine: engine.instant(query, time_ms, **limits))

    def range(
        self, query: str, start_ms: int, end_ms: int, step_ms: int, *, coarsest_ms: int = 0, **limits: Any
    ) -> Result:
        """See `promql.engine.Engine`; rollups up to `coarsest_ms` wide may stand for samples that are kept."""
        return self._answered(coarsest_ms, lambda engine: engine.range(query, start_ms, end_ms, step_ms, **limits))

    def _answered(self, coarsest_ms: int, ask: Callable[[Engine], Result]) -> Result:
        reader = RollupReader(self._read, self._index, self._samples, self._rolled_up(), self._options, coarsest_ms)
        result = ask(Engine(reader, self._options))
        return replace(result, infos=[*result.infos, *reader.infos])

    def series(self, selectors: Selectors, start_ms: int, end_ms: int, limit: int) -> list[Labels]:
        """The series that match any selector and may have samples in the range, ordered by labels."""
        found = sorted(self._labels(selectors, start_ms, end_ms), key=lambda labels: sorted(labels.items()))
        return found[:limit] if limit else found

    def label_names(self, selectors: Selectors, start_ms: int, end_ms: int, limit: int) -> list[str]:
        """The names of labels."""
        if selectors:
            names = {name for labels in self._labels(selectors, start_ms, end_ms) for name in labels}
        else:
            names = set(self._column("read_label_names", start_ms, end_ms, {}))
            names |= {METRIC_NAME} if names or self._index.metric_names(start_ms, end_ms) else set()
        return _first(names, limit)

    def label_values(self, name: str, selectors: Selectors, start_ms: int, end_ms: int, limit: int) -> list[str]:
        """The values of a label."""
        if selectors:
            values = {labels[name] for labels in self._labels(selectors, start_ms, end_ms) if name in labels}
        elif name == METRIC_NAME:
            values = set(self._index.metric_names(start_ms, end_ms))
        else:
            values = set(self._column("read_label_values", start_ms, end_ms, {"name": name}))
        return _first(values, limit)

    def metadata(self, metric: str | None, limit: int, limit_per_metric: int) -> dict[str, list[Metadata]]:
        """What metrics say of themselves, by family."""
        answer: dict[str, list[Metadata]] = {}
        for row in self._read("read_metadata", {"metric": metric}).to_pylist():
            if row["metric"] not in answer and limit and len(answer) == limit:
                break
            known = answer.setdefault(row["metric"], [])
            if not limit_per_metric or len(known) < limit_per_metric:
                known.append(Metadata(type=row["type_name"], help=row["help"], unit=row["unit"]))
        return answer

    def exemplars(self, selectors: Selectors, start_ms: int, end_ms: int) -> list[ExemplarSeries]:
        """The exemplars of a range, by series."""
        by_series: dict[int, ExemplarSeries] = {}
        for matchers in selectors:
            series = self._index.find(matchers, start_ms, end_ms)
            parameters = {
                "metrics": series.metrics,
                "ids": series.ids.tolist(),
                "start": bounded(start_ms),
                "end": bounded(end_ms),
                "limit": _MOST_EXEMPLARS,
            }
            labels = dict(zip(series.ids.tolist(), series.labels, strict=True))
            labels = {id_: one for id_, one in labels.items() if id_ not in by_series}
            found: dict[int, ExemplarSeries] = {}
            for row in self._read("read_exemplars", parameters).to_pylist() if series.labels else ():
                if row["id"] not in labels:  # another selector's too, or not known yet
                    continue
                of_series = found.setdefault(row["id"], ExemplarSeries(seriesLabels=labels[row["id"]], exemplars=[]))
                ids = {"trace_id": row["trace"], "span_id": row["span"]}
                of_series["exemplars"].append(
                    {
                        "labels": {name: id_ for name, id_ in ids.items() if id_.strip("0")}
                        | orjson.loads(row["label_texts"]),
                        "value": row["value"],
                        "timestamp": row["time_ms"],
                    }
                )
            by_series |= found
        return list(by_series.values())

    def federate(self, selectors: Selectors, time_ms: int, lookback_ms: int | None) -> Samples:
        """The samples of the lookback before a time."""
        start_ms = time_ms - (self._options.lookback_ms if lookback_ms is None else lookback_ms)
        most = self._options.most_samples
        return joined([self._samples.select(matchers, start_ms, time_ms, most) for matchers in selectors])

    def delete(self, selectors: Selectors, start_ms: int, end_ms: int) -> None:
        """Delete samples, and the series if nothing of them can be left.

        Raises:
            InvalidQueryError: a selector would mean everything there is.
            TooManySeriesError: a selector selects too many; nothing is deleted.
            StoreError: some of it, or nothing, is deleted; what is left may be deleted later.
        """
        if not all(any(not matches(matcher, "") for matcher in matchers) for matchers in selectors):
            raise InvalidQueryError("match[] must contain at least one non-empty matcher")
        found = [self._index.find(matchers, start_ms, end_ms) for matchers in selectors]
        whole = start_ms <= -_ALWAYS_MS and end_ms >= _ALWAYS_MS
        deleted = False
        try:
            for series in found:
                if series.labels:
                    self._store.delete(
                        series.metrics, series.ids.tolist(), bounded(start_ms), bounded(end_ms), series=whole
                    )
            deleted = True
        finally:  # what was deleted before something failed must not be answered from memory
            self._recent.forget(deleted=deleted)
            self._deleted()

    def clean_tombstones(self) -> None:
        """Nothing to do: the store frees the space of what is deleted when it merges."""

    def snapshot(self) -> str:
        """Keep everything as it is now; answers the name it is kept under."""
        name = self._snapshot_name()
        self._store.freeze(name)
        return name

    def tsdb_status(self, limit: int) -> TsdbStatus:
        """How many series there are, and where they come from."""
        facts = self._read("read_series_facts", {}).to_pylist()[0]
        labels = self._read("read_series_by_label", {}).to_pylist()
        by_metric = self._read("read_series_by_metric", {"limit": limit}).to_pylist()
        by_pair = self._read("read_series_by_pair", {"limit": limit}).to_pylist()
        return TsdbStatus(
            headStats=HeadStats(
                numSeries=facts["series"],
                numLabelPairs=sum(row["label_values"] for row in labels),
                chunkCount=facts["series"],
                minTime=facts["first"] * 1000,
                maxTime=facts["last"] * 1000,
            ),
            seriesCountByMetricName=_ranked(by_metric, "series", limit),
            labelValueCountByLabelName=_ranked(labels, "label_values", limit),
            memoryInBytesByLabelName=_ranked(labels, "bytes", limit),
            seriesCountByLabelValuePair=_ranked(by_pair, "series", limit),
        )

    def _labels(self, selectors: Selectors, start_ms: int, end_ms: int) -> Iterable[Labels]:
        found: list[Series] = [self._index.find(matchers, start_ms, end_ms) for matchers in selectors]
        by_id = {id_: labels for one in found for id_, labels in zip(one.ids.tolist(), one.labels, strict=True)}
        return by_id.values()

    def _column(self, name: str, start_ms: int, end_ms: int, parameters: dict[str, Any]) -> list[str]:
        start, end = steps_around(start_ms, end_ms)
        values: list[str] = self._read(name, parameters | {"start": start, "end": end}).column(0).to_pylist()
        return values


def _first(names: Iterable[str], limit: int) -> list[str]:
    ordered = sorted(names)
    return ordered[:limit] if limit else ordered


def _ranked(rows: list[dict[str, Any]], key: str, limit: int) -> list[NamedCount]:
    ranked = sorted(rows, key=lambda row: (-row[key], row["name"]))
    return [NamedCount(name=row["name"], value=row[key]) for row in ranked[:limit]]
