"""Queries of too much, over the real store: each is refused in time, in words that say what to do."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from watchkeeper_server.api.prometheus.errors import refusal
from watchkeeper_server.promql.options import EngineOptions
from watchkeeper_server.query.options import RecentOptions
from watchkeeper_server.query.prometheus import PrometheusQueries
from watchkeeper_server.query.recent_samples import RecentSamples
from watchkeeper_server.store.engine import Engine
from watchkeeper_server.store.store import Store

START_MS = 1_795_240_800_000
# 1,500 series of 20,000 samples
SERIES = """
INSERT INTO series
SELECT 'big', number, map('i', toString(number)), toDateTime(1795240800), toDateTime(1795262400) FROM numbers(1500)
"""
SAMPLES = """
INSERT INTO samples
SELECT 'big', number % 1500, fromUnixTimestamp64Milli(1795240800000 + intDiv(number, 1500) * 1000), number % 7, 1
FROM numbers(30000000)
"""


@pytest.fixture
def queries(store: Store, engine: Engine) -> Iterator[PrometheusQueries]:
    for statement in (SERIES, SAMPLES):
        engine.execute(statement)
    store._note_series()
    recent = RecentSamples(RecentOptions(), int, 10**15)
    yield PrometheusQueries(store.read, store, EngineOptions(), str, lambda: None, recent)
    engine.execute("TRUNCATE TABLE samples")


def test_a_heavy_query_is_answered_503_as_soon_as_its_time_is_over(queries: PrometheusQueries, engine: Engine) -> None:
    for query in ("sum(quantile_over_time(0.5, big[5h]))", "sum(rate(big[5h]))", "count(big)"):
        queries.instant("count(big)", START_MS, lookback_ms=None, timeout_seconds=None)  # the series are known now
        began = time.monotonic()
        with pytest.raises(Exception) as raised:  # of whatever kind, as the API takes it
            queries.range(query, START_MS, START_MS + 20_000_000, 2_000, lookback_ms=None, timeout_seconds=0.5)
        assert time.monotonic() - began < 1.5
        refused = refusal(raised.value)
        assert (refused.status, refused.kind) == (503, "timeout")
    running = "SELECT count() AS n FROM system.processes WHERE query LIKE '%samples%' AND query NOT LIKE '%LIKE%'"
    assert engine.query(running).to_pylist() == [{"n": 0}]
