"""Deltas: what says «so many more» becomes a running total, once, whatever is replayed."""

from __future__ import annotations

import math
from pathlib import Path

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from support.otlp_metrics import (
    DELTA,
    NO_RECORDED_VALUE,
    NOW,
    SECOND,
    counter,
    gauge,
    histogram,
    load_metrics,
    metrics_request,
    number,
    series,
    stored_samples,
)
from watchkeeper_server.store.engine import Engine
from watchkeeper_server.store.store import Store

MS = NOW // 1_000_000
HOUR = 3600 * SECOND
MIDNIGHT = NOW - NOW % (24 * HOUR)


def _deltas(*points: tuple[int, float]) -> ExportMetricsServiceRequest:
    """Increases of one counter: (seconds after NOW, by how much)."""
    return metrics_request(
        [counter("orders", *(number(by, at=NOW + at * SECOND) for at, by in points), temporality=DELTA)]
    )


def _totals(engine: Engine, metric: str = "orders_total") -> list[tuple[int, float]]:
    """What a reader sees: of samples of one instant the one stored last; (seconds after NOW, total)."""
    rows = engine.query(
        "SELECT toUnixTimestamp64Milli(time) AS ms, argMax(value, segment) AS total FROM samples "
        "WHERE metric = {metric:String} GROUP BY id, ms ORDER BY ms",
        {"metric": metric},
    ).to_pylist()
    return [((row["ms"] - MS) // 1000, row["total"]) for row in rows]


def test_deltas_of_a_segment_add_up_in_the_order_of_time(store: Store, engine: Engine, tmp_path: Path) -> None:
    load_metrics(store, tmp_path, _deltas((20, 4), (0, 1)), _deltas((10, 2)))
    assert _totals(engine) == [(0, 1), (10, 3), (20, 7)]


def test_a_total_goes_on_from_the_last_segment(store: Store, engine: Engine, tmp_path: Path) -> None:
    for segment, by in enumerate([1, 2, 4], 1):
        load_metrics(store, tmp_path, _deltas((segment * 10, by)), segment=segment)
    assert _totals(engine) == [(10, 1), (20, 3), (30, 7)]


def test_each_series_has_its_own_total(store: Store, engine: Engine, tmp_path: Path) -> None:
    for segment in (1, 2):
        points = [number(by, {"shop": shop}, at=NOW + segment * SECOND) for shop, by in (("a", 1), ("b", 10))]
        load_metrics(store, tmp_path, metrics_request([counter("orders", *points, temporality=DELTA)]), segment=segment)
    assert {key: [value for _, value in found] for key, found in stored_samples(engine).items()} == {
        series("orders_total", shop="a"): [1, 2],
        series("orders_total", shop="b"): [10, 20],
    }


def test_deltas_of_one_instant_add_up(store: Store, engine: Engine, tmp_path: Path) -> None:
    load_metrics(store, tmp_path, _deltas((10, 1), (10, 2)), segment=1)
    load_metrics(store, tmp_path, _deltas((10, 4)), segment=2)
    assert _totals(engine) == [(10, 7)]


def test_a_late_delta_is_counted_and_never_looks_like_a_reset(store: Store, engine: Engine, tmp_path: Path) -> None:
    load_metrics(store, tmp_path, _deltas((10, 1), (20, 2)), segment=1)
    load_metrics(store, tmp_path, _deltas((5, 8), (15, 16), (30, 32)), segment=2)
    assert _totals(engine) == [(10, 1), (20, 27), (30, 59)]


def test_an_up_down_counter_goes_both_ways(store: Store, engine: Engine, tmp_path: Path) -> None:
    for segment, by in enumerate([5, -2], 1):
        points = number(by, at=NOW + segment * SECOND)
        load_metrics(
            store,
            tmp_path,
            metrics_request([counter("queue", points, temporality=DELTA, monotonic=False)]),
            segment=segment,
        )
    assert _totals(engine, "queue") == [(1, 5), (2, 3)]


def test_a_total_begins_anew_after_an_hour_of_silence(store: Store, engine: Engine, tmp_path: Path) -> None:
    load_metrics(store, tmp_path, _deltas((0, 5)), segment=1)
    load_metrics(store, tmp_path, _deltas((3599, 1)), segment=2)
    load_metrics(store, tmp_path, _deltas((3599 + 3601, 2)), segment=3)
    assert _totals(engine) == [(0, 5), (3599, 6), (7200, 2)]


def test_what_is_not_a_number_passes_by_the_total(store: Store, engine: Engine, tmp_path: Path) -> None:
    points = [number(1, at=NOW), number(0, at=NOW + SECOND, flags=NO_RECORDED_VALUE), number(2, at=NOW + 2 * SECOND)]
    load_metrics(store, tmp_path, metrics_request([counter("orders", *points, temporality=DELTA)]), segment=1)
    load_metrics(store, tmp_path, _deltas((3, 4)), segment=2)
    values = [value for _, value in _totals(engine)]
    assert values[0::2] == [1, 3]
    assert math.isnan(values[1])
    assert values[3] == 7


def test_a_delta_histogram_becomes_a_cumulative_one(store: Store, engine: Engine, tmp_path: Path) -> None:
    for segment, counts in enumerate([[1, 2, 3], [4, 0, 0]], 1):
        at = NOW + segment * SECOND
        metric = histogram("took", [1, 2], counts, total=0.5, at=at, temporality=DELTA)
        load_metrics(store, tmp_path, metrics_request([metric]), segment=segment)
    assert {key: [value for _, value in found] for key, found in stored_samples(engine).items()} == {
        series("took_seconds_bucket", le="1"): [1, 5],
        series("took_seconds_bucket", le="2"): [3, 7],
        series("took_seconds_bucket", le="+Inf"): [6, 10],
        series("took_seconds_count"): [6, 10],
        series("took_seconds_sum"): [0.5, 1.0],
    }


def test_totals_and_deltas_may_share_a_segment_and_reach_the_table_in_one_part(
    store: Store, engine: Engine, tmp_path: Path
) -> None:
    total = metrics_request([counter("requests", number(100)), gauge("up", number(1))], {"service.name": "s", "x": "y"})
    load_metrics(store, tmp_path, total, _deltas((0, 1), (1, 1)))
    found = {metric: [value for _, value in samples] for (metric, _), samples in stored_samples(engine).items()}
    assert found == {"requests_total": [100], "up": [1], "orders_total": [1, 2], "target_info": [1]}
    parts = engine.query("SELECT uniqExact(_part) AS parts FROM samples").column("parts")[0].as_py()
    assert parts == 1


def test_a_replay_of_deltas_changes_nothing(store: Store, engine: Engine, tmp_path: Path) -> None:
    load_metrics(store, tmp_path, _deltas((0, 1)), segment=1)
    request = _deltas((10, 2), (20, 4))
    load_metrics(store, tmp_path, request, segment=2)
    load_metrics(store, tmp_path, request, segment=2, replayed=True)
    assert _totals(engine) == [(0, 1), (10, 3), (20, 7)]


def test_a_replay_of_deltas_completes_a_lost_day(store: Store, engine: Engine, tmp_path: Path) -> None:
    """Whichever of the two days an interrupted load had stored, the totals come out the same."""
    before, after = (MIDNIGHT - NOW) // SECOND - 10, (MIDNIGHT - NOW) // SECOND + 10
    request = _deltas((before, 2), (before + 5, 4), (after, 8))
    expected = [(before - 5, 1), (before, 3), (before + 5, 7), (after, 15)]
    for lost in ("2026-11-20", "2026-11-21"):
        engine.execute("TRUNCATE TABLE samples")
        load_metrics(store, tmp_path, _deltas((before - 5, 1)), segment=1)
        load_metrics(store, tmp_path, request, segment=2)
        assert _totals(engine) == expected
        engine.execute(
            "ALTER TABLE samples DELETE WHERE segment = 2 AND toDate(time) = {lost:String} SETTINGS mutations_sync = 1",
            {"lost": lost},
        )
        load_metrics(store, tmp_path, request, segment=2, replayed=True)
        assert _totals(engine) == expected
