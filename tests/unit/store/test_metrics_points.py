"""Points: what each of OTLP's five types becomes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar, ExponentialHistogramDataPoint, Metric

from support.otlp import key_values
from support.otlp_metrics import (
    DELTA,
    NO_RECORDED_VALUE,
    NOW,
    SECOND,
    STALE_BITS,
    bits,
    counter,
    exponential,
    gauge,
    histogram,
    load_metrics,
    metrics_request,
    number,
    series,
    stored_samples,
    summary,
)
from watchkeeper_server.store.engine import Engine
from watchkeeper_server.store.store import Store

MS = NOW // 1_000_000


def _values(engine: Engine) -> dict[Any, list[float]]:
    return {key: [value for _, value in samples] for key, samples in stored_samples(engine).items()}


def _query(engine: Engine, sql: str, **parameters: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = engine.query(sql, parameters).to_pylist()
    return rows


def _count(engine: Engine, table: str) -> int:
    count: int = _query(engine, "SELECT count() AS n FROM {table:Identifier}", table=table)[0]["n"]
    return count


@pytest.mark.parametrize(
    "value", [0, 1, -1, 2**53, -(2**63), 2**63 - 1, 0.0, -0.0, 0.1, 5e-324, 1.7e308, math.inf, -math.inf]
)
def test_a_number_is_stored_as_the_nearest_double(store: Store, engine: Engine, tmp_path: Path, value: float) -> None:
    load_metrics(store, tmp_path, metrics_request([gauge("up", number(value))]))
    ((stored,),) = _values(engine).values()
    assert bits(stored) == bits(float(value))


def test_time_is_cut_to_the_millisecond(store: Store, engine: Engine, tmp_path: Path) -> None:
    load_metrics(store, tmp_path, metrics_request([gauge("up", number(1, at=NOW + 1_999_999))]))
    assert list(stored_samples(engine).values()) == [[(MS + 1, 1.0)]]


def test_a_histogram_becomes_cumulative_buckets_a_sum_and_a_count(store: Store, engine: Engine, tmp_path: Path) -> None:
    load_metrics(store, tmp_path, metrics_request([histogram("took", [0.005, 1, 2.5], [4, 0, 3, 2], {"a": "b"})]))
    assert _values(engine) == {
        series("took_seconds_bucket", a="b", le="0.005"): [4],
        series("took_seconds_bucket", a="b", le="1"): [4],
        series("took_seconds_bucket", a="b", le="2.5"): [7],
        series("took_seconds_bucket", a="b", le="+Inf"): [9],
        series("took_seconds_sum", a="b"): [1.5],
        series("took_seconds_count", a="b"): [9],
    }


def test_a_histogram_without_a_sum_has_no_sum_series(store: Store, engine: Engine, tmp_path: Path) -> None:
    load_metrics(store, tmp_path, metrics_request([histogram("took", [1], [1, 0], total=None)]))
    assert {metric for metric, _ in stored_samples(engine)} == {"took_seconds_bucket", "took_seconds_count"}


def test_a_histogram_without_buckets_has_the_infinite_one(store: Store, engine: Engine, tmp_path: Path) -> None:
    load_metrics(store, tmp_path, metrics_request([histogram("took", [], [5], total=None)]))
    assert _values(engine) == {series("took_seconds_bucket", le="+Inf"): [5], series("took_seconds_count"): [5]}


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        (0.1, "0.1"),
        (10.0, "10"),
        (-2.5, "-2.5"),
        (1e-7, "0.0000001"),
        (-1.5e-9, "-0.0000000015"),
        (1e20, "100000000000000000000"),
        (1.234e25, "12340000000000000000000000"),
        (0.1 + 0.2, "0.30000000000000004"),
    ],
)
def test_a_bound_is_written_without_an_exponent(
    store: Store, engine: Engine, tmp_path: Path, bound: float, text: str
) -> None:
    load_metrics(store, tmp_path, metrics_request([histogram("took", [bound], [1, 0])]))
    assert series("took_seconds_bucket", le=text) in stored_samples(engine)


def test_a_summary_becomes_quantiles_a_sum_and_a_count(store: Store, engine: Engine, tmp_path: Path) -> None:
    load_metrics(store, tmp_path, metrics_request([summary("took", {0.5: 1.0, 0.99: 2.0}, count=7, total=9.5)]))
    assert _values(engine) == {
        series("took", quantile="0.5"): [1],
        series("took", quantile="0.99"): [2],
        series("took_sum"): [9.5],
        series("took_count"): [7],
    }


@pytest.mark.parametrize(
    ("metric", "count"),
    [
        (gauge("up", number(1.5, flags=NO_RECORDED_VALUE)), 1),
        (counter("up", number(3, flags=NO_RECORDED_VALUE)), 1),
        (counter("up", number(0, flags=NO_RECORDED_VALUE), temporality=DELTA), 1),
        (histogram("up", [1], [1, 1], flags=NO_RECORDED_VALUE), 4),
    ],
    ids=["gauge", "counter", "delta", "histogram"],
)
def test_no_recorded_value_is_the_stale_marker_bit_for_bit(
    store: Store, engine: Engine, tmp_path: Path, metric: Metric, count: int
) -> None:
    load_metrics(store, tmp_path, metrics_request([metric]))
    stored = _query(engine, "SELECT reinterpretAsUInt64(value) AS bits FROM samples")
    assert stored == [{"bits": STALE_BITS}] * count


def test_a_point_that_is_not_a_number_stays_one_that_is_not_stale(store: Store, engine: Engine, tmp_path: Path) -> None:
    load_metrics(store, tmp_path, metrics_request([gauge("up", number(math.nan))]))
    ((stored,),) = _values(engine).values()
    assert math.isnan(stored)
    assert bits(stored) != STALE_BITS


def test_a_point_and_its_exemplar_may_both_have_no_attributes(store: Store, engine: Engine, tmp_path: Path) -> None:
    point = number(3, exemplars=[Exemplar(as_int=3, time_unix_nano=NOW)])
    load_metrics(store, tmp_path, metrics_request([gauge("up", point)], {}))
    assert _values(engine) == {series("up"): [3]}


def test_an_exemplar_belongs_to_the_series_and_bucket_it_fits_in(store: Store, engine: Engine, tmp_path: Path) -> None:
    def exemplar(value: float) -> Exemplar:
        return Exemplar(
            as_double=value, time_unix_nano=NOW + SECOND, trace_id=b"\1" * 16, span_id=b"\2" * 8,
            filtered_attributes=key_values({"user.id": "u", "n": 3}),
        )  # fmt: skip

    metrics = [
        counter("orders", number(1, {"a": "b"}, exemplars=[Exemplar(as_int=4, time_unix_nano=NOW)])),
        histogram("took", [1, 2], [1, 1, 1], {"a": "b"}, exemplars=[exemplar(1.0), exemplar(1.5), exemplar(9)]),
    ]
    load_metrics(store, tmp_path, metrics_request(metrics))
    rows = _query(
        engine,
        "SELECT metric, series.labels['le'] AS le, series.labels['a'] AS a, value, toUnixTimestamp64Milli(time) AS ms, "
        "hex(trace_id) AS trace, hex(span_id) AS span, toString(exemplars.labels) AS labels "
        "FROM exemplars JOIN series USING (metric, id) ORDER BY metric, value",
    )
    ours = {"ms": MS + 1000, "trace": "01" * 16, "span": "02" * 8, "labels": "{'n':'3','user_id':'u'}"}
    bucket = {"metric": "took_seconds_bucket", "a": "b"} | ours
    assert rows == [
        {"metric": "orders_total", "le": "", "a": "b", "value": 4, "ms": MS}
        | {"trace": "00" * 16, "span": "00" * 8, "labels": "{}"},
        bucket | {"le": "1", "value": 1.0},
        bucket | {"le": "2", "value": 1.5},
        bucket | {"le": "+Inf", "value": 9.0},
    ]


def _exponential_point(**fields: Any) -> ExponentialHistogramDataPoint:
    point = ExponentialHistogramDataPoint(
        attributes=key_values({"a": "b"}), time_unix_nano=NOW, count=9, zero_count=2, **fields
    )
    point.positive.offset = -3
    point.positive.bucket_counts.extend([1, 2, 3, 4])
    return point


def test_an_exponential_histogram_becomes_a_native_one(store: Store, engine: Engine, tmp_path: Path) -> None:
    point = _exponential_point(scale=3, sum=4.5, min=0.1, max=8.0, zero_threshold=0.01)
    point.negative.offset = 5
    point.negative.bucket_counts.extend([7])
    load_metrics(store, tmp_path, metrics_request([exponential("took", point)], {"service.name": "shop"}))
    (row,) = _query(
        engine,
        "SELECT * EXCEPT (id, time, segment), id = series_id(metric, map('a', 'b', 'job', 'shop')) AS of_its_series, "
        "toUnixTimestamp64Milli(time) AS ms FROM native_histograms",
    )
    assert row == {
        "metric": "took", "ms": MS, "of_its_series": 1, "count": 9, "sum": 4.5, "schema": 3,
        "zero_threshold": 0.01, "zero_count": 2, "positive_offset": -2, "positive_counts": [1, 2, 3, 4],
        "negative_offset": 6, "negative_counts": [7], "custom_values": [], "counter_reset": 0,
        "min": 0.1, "max": 8.0, "delta": False,
    }  # fmt: skip


def test_the_series_of_a_native_histogram_is_known(store: Store, engine: Engine, tmp_path: Path) -> None:
    load_metrics(
        store, tmp_path, metrics_request([exponential("took", _exponential_point())], {"service.name": "shop"})
    )
    assert _query(engine, "SELECT metric, toString(labels) AS labels FROM series") == [
        {"metric": "took", "labels": "{'a':'b','job':'shop'}"}
    ]


@pytest.mark.parametrize(
    ("scale", "schema", "offset", "counts"),
    [
        (8, 8, -2, [1, 2, 3, 4]),
        (9, 8, -1, [1, 5, 4]),
        (10, 8, 0, [6, 4]),
        (20, 8, 0, [6, 4]),
        (-4, -4, -2, [1, 2, 3, 4]),
    ],
)
def test_a_scale_above_eight_is_made_coarser_as_prometheus_does(
    store: Store, engine: Engine, tmp_path: Path, scale: int, schema: int, offset: int, counts: list[int]
) -> None:
    load_metrics(store, tmp_path, metrics_request([exponential("took", _exponential_point(scale=scale))]))
    assert _query(
        engine,
        "SELECT schema, positive_offset AS offset, positive_counts AS counts, negative_counts, zero_threshold, min "
        "FROM native_histograms",
    ) == [
        {
            "schema": schema,
            "offset": offset,
            "counts": counts,
            "negative_counts": [],
            "zero_threshold": 1e-128,
            "min": None,
        }
    ]


def test_a_native_histogram_says_when_it_is_stale_and_when_it_is_a_delta(
    store: Store, engine: Engine, tmp_path: Path
) -> None:
    stale = exponential("stale", _exponential_point(flags=NO_RECORDED_VALUE, sum=1.0))
    delta = exponential("delta", _exponential_point(sum=1.0), temporality=DELTA)
    load_metrics(store, tmp_path, metrics_request([stale, delta]))
    found = _query(
        engine, "SELECT metric, delta, reinterpretAsUInt64(sum) AS sum FROM native_histograms ORDER BY metric"
    )
    assert found == [
        {"metric": "delta", "delta": True, "sum": bits(1.0)},
        {"metric": "stale", "delta": False, "sum": STALE_BITS},
    ]


def test_a_segment_reaches_each_table_in_one_part_a_day(store: Store, engine: Engine, tmp_path: Path) -> None:
    day = 86_400 * SECOND
    metrics = [
        gauge(f"g{i}", *(number(j, {"n": j}, at=NOW - day * (j % 3)) for j in range(500)), unit="By")
        for i in range(200)
    ]
    metrics.append(histogram("took", [1, 2], [1, 1, 1], exemplars=[Exemplar(as_double=1, time_unix_nano=NOW)]))
    load_metrics(store, tmp_path, *(metrics_request(metrics, {"service.name": f"s{i}"}) for i in range(3)))
    for table, parts in {"samples": 3, "exemplars": 1, "series": 1, "metric_metadata": 1}.items():
        found = _query(
            engine, "SELECT count() AS n FROM system.parts WHERE active AND table = {table:String}", table=table
        )
        assert found == [{"n": parts}], table


def test_a_series_is_known_from_its_first_sample_to_its_last_in_steps_of_ten_minutes(
    store: Store, engine: Engine, tmp_path: Path
) -> None:
    minute = 60 * SECOND
    for segment, minutes in enumerate([5, 9, 31, -15], 1):
        points = number(1, at=NOW + minutes * minute)
        load_metrics(store, tmp_path, metrics_request([gauge("up", points)]), segment=segment)
    (found,) = _query(
        engine,
        "SELECT toUInt32(first) AS first, toUInt32(last) AS last "
        "FROM (SELECT min(first_seen) AS first, max(last_seen) AS last FROM series GROUP BY id)",
    )
    assert found == {"first": NOW // SECOND - 1200, "last": NOW // SECOND + 2400}


def test_a_series_is_written_once_in_ten_minutes(store: Store, engine: Engine, tmp_path: Path) -> None:
    for segment in range(1, 4):
        points = number(1, at=NOW + segment * SECOND)
        load_metrics(store, tmp_path, metrics_request([gauge("up", points)]), segment=segment)
    assert _count(engine, "series") == 1
    assert _count(engine, "metric_metadata") == 1


def test_a_replayed_segment_is_stored_once(store: Store, engine: Engine, tmp_path: Path) -> None:
    metrics = [
        gauge("up", number(1)),
        histogram("took", [1], [1, 1], exemplars=[Exemplar(as_double=1, time_unix_nano=NOW)]),
        exponential("size", _exponential_point()),
    ]
    tables = ("samples", "exemplars", "native_histograms")
    for replayed in (False, True):
        load_metrics(store, tmp_path, metrics_request(metrics), replayed=replayed)
        counts = [_count(engine, table) for table in tables]
        assert counts == [5, 1, 1]


@pytest.mark.parametrize("lost", ["samples", "exemplars", "native_histograms"])
def test_a_replay_completes_what_an_interrupted_load_left_out(
    store: Store, engine: Engine, tmp_path: Path, lost: str
) -> None:
    day = 86_400 * SECOND
    points = [_exponential_point(), _exponential_point()]
    points[1].time_unix_nano = NOW - day
    metrics = [exponential("size", point) for point in points]
    metrics += [
        gauge("up", number(1, at=at, exemplars=[Exemplar(as_int=1, time_unix_nano=at)])) for at in (NOW, NOW - day)
    ]
    load_metrics(store, tmp_path, metrics_request(metrics))
    engine.execute("ALTER TABLE {lost:Identifier} DROP PARTITION '2026-11-20'", {"lost": lost})
    assert _count(engine, lost) == 1
    load_metrics(store, tmp_path, metrics_request(metrics), replayed=True)
    for table in ("samples", "exemplars", "native_histograms"):
        assert _count(engine, table) == 2
