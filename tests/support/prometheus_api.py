"""Prometheus' HTTP API over a few series in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import cycle
from typing import Any

import httpx

from support.promql import MemoryReader
from watchkeeper_server.api.prometheus.app import create_prometheus_api
from watchkeeper_server.api.prometheus.facts import ServerFacts
from watchkeeper_server.api.prometheus.options import PrometheusApiOptions
from watchkeeper_server.api.prometheus.queries import Selectors
from watchkeeper_server.model.targets import Metadata, Targets
from watchkeeper_server.model.tsdb import ExemplarSeries, TsdbStatus
from watchkeeper_server.promql.engine import Engine
from watchkeeper_server.promql.values import Labels, Result, Samples

NOW_MS = 1_795_240_800_000

SERIES = {
    'up{instance="a:1",job="api"}': [(NOW_MS - 60_000, 1.0), (NOW_MS - 30_000, 0.0), (NOW_MS, 1.0)],
    'up{instance="b:1",job="api"}': [(NOW_MS - 60_000, 1.0)],
    'size_bytes{instance="a:1"}': [(NOW_MS - 500, 1.5e17)],
}


@dataclass
class MemoryQueries:
    """Implements `PrometheusQueries` over series in memory; `asked` are the calls with their arguments."""

    reader: MemoryReader = field(default_factory=lambda: MemoryReader(SERIES))
    told_exemplars: list[ExemplarSeries] = field(default_factory=list)
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    error: Exception | None = None
    warnings: list[str] = field(default_factory=list)
    infos: list[str] = field(default_factory=list)

    def instant(
        self, query: str, time_ms: int, *, lookback_ms: int | None, timeout_seconds: float | None, coarsest_ms: int
    ) -> Result:
        self._note("instant", query, time_ms, lookback_ms, timeout_seconds, coarsest_ms)
        return self._remarked(Engine(self.reader).instant(query, time_ms, lookback_ms=lookback_ms))

    def range(
        self,
        query: str,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        *,
        lookback_ms: int | None,
        timeout_seconds: float | None,
        coarsest_ms: int,
    ) -> Result:
        self._note("range", query, start_ms, end_ms, step_ms, lookback_ms, timeout_seconds, coarsest_ms)
        return self._remarked(Engine(self.reader).range(query, start_ms, end_ms, step_ms, lookback_ms=lookback_ms))

    def series(self, selectors: Selectors, start_ms: int, end_ms: int, limit: int) -> list[Labels]:
        self._note("series", selectors, start_ms, end_ms, limit)
        return self.reader.samples.labels[: limit or None]

    def label_names(self, selectors: Selectors, start_ms: int, end_ms: int, limit: int) -> list[str]:
        self._note("label_names", selectors, start_ms, end_ms, limit)
        return sorted({name for labels in self.reader.samples.labels for name in labels})[: limit or None]

    def label_values(self, name: str, selectors: Selectors, start_ms: int, end_ms: int, limit: int) -> list[str]:
        self._note("label_values", name, selectors, start_ms, end_ms, limit)
        return sorted({labels[name] for labels in self.reader.samples.labels if name in labels})[: limit or None]

    def metadata(self, metric: str | None, limit: int, limit_per_metric: int) -> dict[str, list[Metadata]]:
        self._note("metadata", metric, limit, limit_per_metric)
        return {"up": [Metadata(type="gauge", help="Whether it answers.", unit="")]}

    def exemplars(self, selectors: Selectors, start_ms: int, end_ms: int) -> list[ExemplarSeries]:
        self._note("exemplars", selectors, start_ms, end_ms)
        return self.told_exemplars

    def federate(self, selectors: Selectors, time_ms: int, lookback_ms: int | None) -> Samples:
        self._note("federate", selectors, time_ms, lookback_ms)
        return self.reader.samples

    def delete(self, selectors: Selectors, start_ms: int, end_ms: int) -> None:
        self._note("delete", selectors, start_ms, end_ms)

    def clean_tombstones(self) -> None:
        self._note("clean_tombstones")

    def snapshot(self) -> str:
        self._note("snapshot")
        return "20261121T060000Z-1"

    def tsdb_status(self, limit: int) -> TsdbStatus:
        self._note("tsdb_status", limit)
        head = {"numSeries": 3, "numLabelPairs": 5, "chunkCount": 0, "minTime": NOW_MS - 60_000, "maxTime": NOW_MS}
        return TsdbStatus(
            headStats=head,  # type: ignore[typeddict-item]
            seriesCountByMetricName=[{"name": "up", "value": 2}],
            labelValueCountByLabelName=[],
            memoryInBytesByLabelName=[],
            seriesCountByLabelValuePair=[],
        )

    def _note(self, *call: Any) -> None:
        self.asked.append(call)
        if self.error is not None:
            raise self.error

    def _remarked(self, result: Result) -> Result:
        return replace(result, warnings=self.warnings, infos=self.infos)


class Api:
    """The application over `queries`; `targets` and `facts` may be replaced between requests."""

    def __init__(self, options: PrometheusApiOptions) -> None:
        self.queries = MemoryQueries()
        self.targets = Targets()
        self.facts = ServerFacts("0.1.0", NOW_MS * 1_000_000, "http://watch.example:7070")
        # every evaluation takes a quarter of a second
        stopwatch = cycle((1.0, 1.25))
        self.app = create_prometheus_api(
            self.queries, lambda: self.targets, lambda: self.facts, options, lambda: NOW_MS, lambda: next(stopwatch)
        )
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://watchkeeper")

    async def get(self, path: str, headers: Mapping[str, str] | None = None, **parameters: Any) -> httpx.Response:
        """GET; a parameter that is a list is repeated, and `match` is `match[]`."""
        named = {{"match": "match[]"}.get(name, name): value for name, value in parameters.items()}
        return await self.client.get(path, params=named or None, headers=headers)

    async def data(self, path: str, **parameters: Any) -> Any:
        """The data of a successful answer."""
        response = await self.get(path, **parameters)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "application/json"
        answer = response.json()
        assert answer.pop("status") == "success"
        return answer["data"]

    async def error(self, path: str, **parameters: Any) -> tuple[int, str, str]:
        """The status, kind and message of a refusal."""
        return refusal_of(await self.get(path, **parameters))


def refusal_of(response: httpx.Response) -> tuple[int, str, str]:
    """The status, kind and message of a refusal."""
    answer = response.json()
    assert list(answer) == ["status", "errorType", "error"]
    assert answer["status"] == "error"
    return response.status_code, answer["errorType"], answer["error"]
