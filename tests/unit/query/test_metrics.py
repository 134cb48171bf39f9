from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest

from watchkeeper_server.model.times import TimeRange
from watchkeeper_server.query.metrics import MetricQueries
from watchkeeper_server.store.store import Store

SECOND = 10**9
START_S = 1_795_240_800
RANGE = TimeRange(START_S * SECOND, (START_S + 3_600) * SECOND)
STALE_BITS = 0x7FF0000000000002

ADD_SERIES = """
INSERT INTO series SELECT
    {metric:String}, {id:UInt64}, mapFromArrays({names:Array(String)}, {values:Array(String)}),
    fromUnixTimestamp64Milli(arrayMin({times_ms:Array(Int64)})),
    fromUnixTimestamp64Milli(arrayMax({times_ms:Array(Int64)}))
"""
ADD_SAMPLES = """
INSERT INTO samples SELECT
    {metric:String}, {id:UInt64}, fromUnixTimestamp64Milli(sample.1), reinterpretAsFloat64(sample.2), {segment:UInt64}
FROM (SELECT arrayJoin(arrayZip({times_ms:Array(Int64)}, {bits:Array(UInt64)})) AS sample)
"""

Add = Callable[..., None]


@pytest.fixture
def metrics(store: Store) -> MetricQueries:
    return MetricQueries(store.read)


@pytest.fixture
def add(store: Store) -> Add:
    """Stores a series' samples, `(seconds after the start, value or bits)`, as one segment."""

    def add(
        metric: str,
        labels: dict[str, str],
        samples: Sequence[tuple[float, float | int]],
        id_: int = 1,
        segment: int = 1,
    ) -> None:
        times_ms = [int((START_S + at) * 1000) for at, _ in samples]
        parameters = {
            "metric": metric,
            "id": id_,
            "names": list(labels),
            "values": list(labels.values()),
            "times_ms": times_ms,
            "bits": [bits_of(value) for _, value in samples],
            "segment": segment,
        }
        store._engine.execute(ADD_SERIES, parameters)
        store._engine.execute(ADD_SAMPLES, parameters)

    return add


def describe(store: Store, family: str, type_: str, unit: str = "", text: str = "") -> None:
    store._engine.execute(
        "INSERT INTO metric_metadata SELECT {family:String}, {type:String}, {unit:String}, {text:String}",
        {"family": family, "type": type_, "unit": unit, "text": text},
    )


def bits_of(value: float) -> int:
    bits: int = value if isinstance(value, int) else struct.unpack("<Q", struct.pack("<d", value))[0]
    return bits


def test_metrics_are_listed_with_what_is_known_of_them(metrics: MetricQueries, add: Add, store: Store) -> None:
    describe(store, "requests_total", "counter", "", "Requests.")
    describe(store, "latency_seconds", "histogram", "seconds", "Latency.")
    add("requests_total", {"job": "shop", "code": "200"}, [(0, 1.0)], 1)
    add("requests_total", {"job": "shop", "code": "500"}, [(0, 1.0)], 2)
    add("latency_seconds_bucket", {"job": "eu/shop", "le": "1"}, [(0, 1.0)], 3)
    add("up", {"job": "other"}, [(0, 1.0)], 4)
    listed = metrics.all(RANGE)["metrics"]
    assert listed == [
        {"name": "latency_seconds_bucket", "type": "histogram", "unit": "seconds", "help": "Latency.", "series": 1},
        {"name": "requests_total", "type": "counter", "unit": "", "help": "Requests.", "series": 2},
        {"name": "up", "type": "unknown", "unit": "", "help": "", "series": 1},
    ]
    assert [one["name"] for one in metrics.all(RANGE, prefix="requests")["metrics"]] == ["requests_total"]
    shops = ["latency_seconds_bucket", "requests_total"]
    assert [one["name"] for one in metrics.all(RANGE, service="shop")["metrics"]] == shops


def test_series_not_seen_in_the_range_are_left_out(metrics: MetricQueries, add: Add) -> None:
    add("old", {"a": "1"}, [(-100, 1.0), (-50, 1.0)])
    add("new", {"a": "1"}, [(3_600, 1.0)], 2)
    add("across", {"a": "1"}, [(-100, 1.0), (5_000, 1.0)], 3)
    assert [one["name"] for one in metrics.all(RANGE)["metrics"]] == ["across"]
    assert metrics.labels("old", RANGE)["labels"] == {}
    assert metrics.series("new", (), RANGE, 10, 10)["series"] == []


def test_a_series_seen_in_several_segments_is_one(metrics: MetricQueries, add: Add) -> None:
    add("m", {"a": "1"}, [(0, 1.0)], segment=1)
    add("m", {"a": "1"}, [(10, 2.0)], segment=2)
    assert metrics.all(RANGE)["metrics"][0]["series"] == 1
    [series] = metrics.series("m", (), RANGE, 10, 10)["series"]
    assert series == {"labels": {"a": "1"}, "points": [(START_S, 1.0), (START_S + 10, 2.0)]}


def test_labels_are_listed_with_their_values(metrics: MetricQueries, add: Add) -> None:
    for i, (code, method) in enumerate([("200", "GET"), ("500", "GET"), ("200", "POST")]):
        add("m", {"code": code, "method": method}, [(0, 1.0)], i)
    assert metrics.labels("m", RANGE)["labels"] == {"code": ["200", "500"], "method": ["GET", "POST"]}


def test_series_are_those_that_have_all_the_labels(metrics: MetricQueries, add: Add) -> None:
    for i, (code, method) in enumerate([("200", "GET"), ("500", "GET"), ("200", "POST")]):
        add("m", {"code": code, "method": method}, [(0, float(i))], i)

    def points(*labels: tuple[str, str]) -> list[float]:
        return [float(one["points"][0][1]) for one in metrics.series("m", labels, RANGE, 10, 10)["series"]]

    assert points() == [0.0, 2.0, 1.0]
    assert points(("code", "200")) == [0.0, 2.0]
    assert points(("code", "200"), ("method", "POST")) == [2.0]
    assert points(("code", "404")) == []


def test_of_samples_of_one_instant_the_one_stored_last_counts(metrics: MetricQueries, add: Add) -> None:
    add("m", {}, [(1, 1.0), (2, 1.0)], segment=2)
    add("m", {}, [(1, 7.0)], segment=9)
    add("m", {}, [(2, 5.0)], segment=1)
    [series] = metrics.series("m", (), RANGE, 10, 10)["series"]
    assert series["points"] == [(START_S + 1, 7.0), (START_S + 2, 1.0)]


def test_a_series_end_marker_is_no_sample_but_nan_and_infinities_are(metrics: MetricQueries, add: Add) -> None:
    add("m", {}, [(0.5, float("nan")), (1, STALE_BITS), (2, float("inf")), (3, float("-inf")), (4, -0.5)])
    [series] = metrics.series("m", (), RANGE, 10, 10)["series"]
    assert series["points"] == [
        (START_S + 0.5, "NaN"),
        (START_S + 2, "+Inf"),
        (START_S + 3, "-Inf"),
        (START_S + 4, -0.5),
    ]


@pytest.mark.parametrize("max_points", [1, 2, 3, 7, 10, 50])
def test_more_samples_than_asked_are_thinned_evenly_and_the_newest_stays(
    metrics: MetricQueries, add: Add, max_points: int
) -> None:
    add("m", {}, [(i, float(i)) for i in range(20)])
    [series] = metrics.series("m", (), RANGE, 10, max_points)["series"]
    values = [float(value) for _, value in series["points"]]
    assert len(values) == min(max_points, 20)
    assert values[-1] == 19
    gaps = {later - earlier for earlier, later in pairwise(values)}
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_more_series_than_asked_are_cut_and_it_says_so(metrics: MetricQueries, add: Add) -> None:
    for i in range(4):
        add("m", {"i": str(i)}, [(0, float(i))], i)
    assert [metrics.series("m", (), RANGE, limit, 10)["truncated"] for limit in (3, 4)] == [True, False]
    assert len(metrics.series("m", (), RANGE, 3, 10)["series"]) == 3


def test_a_metric_that_is_not_stored_has_no_series(metrics: MetricQueries) -> None:
    assert metrics.series("none", (), RANGE, 10, 10) == {
        "metric": "none",
        "type": "unknown",
        "unit": "",
        "series": [],
        "truncated": False,
    }
    assert metrics.all(RANGE) == {"metrics": []}
