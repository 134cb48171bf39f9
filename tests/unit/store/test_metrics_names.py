"""Names: OTLP's to Prometheus', as Prometheus 3 translates them by default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from support.otlp_metrics import counter, gauge, histogram, load_metrics, metrics_request, number, stored_samples
from watchkeeper_server.store.engine import Engine
from watchkeeper_server.store.store import Store


def _names(engine: Engine) -> set[str]:
    return set(engine.query("SELECT DISTINCT metric FROM samples").column("metric").to_pylist())


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        (gauge("cpu.temperature", number(1)), "cpu_temperature"),
        (gauge("cpu..temp--x", number(1)), "cpu_temp_x"),
        (gauge("déjà:vu", number(1)), "d_j_:vu"),
        (gauge("2xx", number(1)), "_2xx"),
        (counter("total", number(1)), "total"),
        (gauge("_private", number(1)), "private"),
        (gauge("...", number(1)), "_"),
        # the unit's word follows the name
        (gauge("memory", number(1), unit="By"), "memory_bytes"),
        (gauge("latency", number(1), unit="ms"), "latency_milliseconds"),
        (gauge("room", number(1), unit="Cel"), "room_celsius"),
        (gauge("load", number(1), unit="%"), "load_percent"),
        (gauge("size", number(1), unit="TiBy"), "size_tibibytes"),
        (gauge("queue", number(1), unit="widgets"), "queue_widgets"),
        (gauge("speed", number(1), unit="m/s"), "speed_meters_per_second"),
        (gauge("rate", number(1), unit="foo/bar"), "rate_foo_per_bar"),
        (gauge("rate", number(1), unit="1/s"), "rate_per_second"),
        (gauge("odd", number(1), unit=" By "), "odd_bytes"),
        (gauge("odd", number(1), unit="a*b/c-d"), "odd_a_b_per_c_d"),
        # an annotation is no unit
        (gauge("requests", number(1), unit="{request}"), "requests"),
        (gauge("requests", number(1), unit="{request}/s"), "requests_per_second"),
        (gauge("requests", number(1), unit="By/{request}"), "requests_bytes"),
        # nothing is said twice
        (gauge("memory.bytes", number(1), unit="By"), "memory_bytes"),
        (gauge("bytes.used", number(1), unit="By"), "bytes_used"),
        (counter("requests.total", number(1)), "requests_total"),
        (counter("total.requests", number(1)), "requests_total"),
        (gauge("hit.ratio", number(1), unit="1"), "hit_ratio"),
        # what the type asks for comes last
        (counter("requests", number(1)), "requests_total"),
        (counter("io", number(1), unit="By"), "io_bytes_total"),
        (counter("io", number(1), unit="1"), "io_total"),
        (counter("queue", number(1), unit="1", monotonic=False), "queue"),
        (gauge("hits", number(1), unit="1"), "hits_ratio"),
    ],
    ids=lambda value: f"{value.name} [{value.unit}]" if isinstance(value, Metric) else str(value),
)
def test_a_metric_is_named_as_in_prometheus(
    store: Store, engine: Engine, tmp_path: Path, metric: Metric, name: str
) -> None:
    load_metrics(store, tmp_path, metrics_request([metric]))
    assert _names(engine) == {name}


@pytest.mark.parametrize(
    ("attributes", "labels"),
    [
        ({"http.method": "GET"}, {"http_method": "GET"}),
        ({"é.a": "x"}, {"__a": "x"}),
        ({"a__b": "x"}, {"a__b": "x"}),
        ({"1st": "x"}, {"key_1st": "x"}),
        ({"_private": "x"}, {"key_private": "x"}),
        ({"__reserved": "x"}, {"__reserved": "x"}),
        ({"b": "1", "a": "2"}, {"a": "2", "b": "1"}),
        # names that become the same are joined in the order of their keys
        ({"a_b": "3", "a.b": "2", "a-b": "1"}, {"a_b": "1;2;3"}),
        # a label without a value is no label; nobody else names the metric
        ({"empty": "", "__name__": "x"}, {}),
        # what is not text is written as text
        ({"i": -7, "big": 2**62, "zero": 0}, {"big": str(2**62), "i": "-7", "zero": "0"}),
        ({"t": True, "f": False}, {"f": "false", "t": "true"}),
        ({"d": 1.5, "whole": 2.0}, {"d": "1.5", "whole": "2"}),
        ({"raw": b"ab"}, {"raw": "YWI="}),
        # lengths of one, two and three bytes
        ({"k" * 127: "v" * 127, "l" * 128: "v" * 128}, {"k" * 127: "v" * 127, "l" * 128: "v" * 128}),
        ({"a": "v" * 124, "b": "v" * 125, "c": "v" * 126}, {"a": "v" * 124, "b": "v" * 125, "c": "v" * 126}),
        ({"k" * 300: "v" * 16_380}, {"k" * 300: "v" * 16_380}),
        ({"k": "v" * 16_384}, {"k": "v" * 16_384}),
        ({"k": "v" * 3_000_000}, {"k": "v" * 3_000_000}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_attributes_become_labels(
    store: Store, engine: Engine, tmp_path: Path, attributes: dict[str, Any], labels: dict[str, str]
) -> None:
    load_metrics(store, tmp_path, metrics_request([gauge("up", number(1, attributes))]))
    assert list(stored_samples(engine)) == [("up", tuple(sorted(labels.items())))]


def test_an_array_stays_protobuf_that_a_reader_can_expand(store: Store, engine: Engine, tmp_path: Path) -> None:
    load_metrics(store, tmp_path, metrics_request([gauge("up", number(1, {"a": ["x"], "m": {"k": 1}}))]))
    ((_, labels),) = stored_samples(engine)
    assert labels == (("a", '{"$array":"CgMKAXg="}'), ("m", '{"$map":"CgcKAWsSAhgB"}'))


@pytest.mark.parametrize(
    ("resource", "labels"),
    [
        ({}, {}),
        ({"service.name": "shop"}, {"job": "shop"}),
        ({"service.name": "shop", "service.namespace": "eu"}, {"job": "eu/shop"}),
        ({"service.name": "shop", "service.instance.id": "a"}, {"instance": "a", "job": "shop"}),
        ({"service.namespace": "eu"}, {}),
        ({"service.instance.id": 7}, {"instance": "7"}),
    ],
    ids=str,
)
def test_the_service_becomes_job_and_instance(
    store: Store, engine: Engine, tmp_path: Path, resource: dict[str, Any], labels: dict[str, str]
) -> None:
    load_metrics(store, tmp_path, metrics_request([gauge("up", number(1))], resource))
    assert list(stored_samples(engine)) == [("up", tuple(labels.items()))]


def test_our_labels_win_over_attributes_only_where_we_set_them(store: Store, engine: Engine, tmp_path: Path) -> None:
    attributes = {"job": "mine", "instance": "mine", "le": "mine", "quantile": "mine"}
    metrics = [gauge("up", number(1, attributes)), histogram("took", [], [2], attributes)]
    load_metrics(store, tmp_path, metrics_request(metrics, {"service.name": "shop"}))
    found = {metric: dict(labels) for metric, labels in stored_samples(engine)}
    assert found["up"] == attributes | {"job": "shop"}
    assert found["took_seconds_bucket"] == attributes | {"job": "shop", "le": "+Inf"}


def test_what_else_is_known_of_a_target_is_target_info(store: Store, engine: Engine, tmp_path: Path) -> None:
    resource = {"service.name": "shop", "service.instance.id": "a", "host.name": "h", "process.pid": 7}
    load_metrics(store, tmp_path, *[metrics_request([gauge("up", number(1))], resource)] * 3)
    samples = stored_samples(engine)
    labels = (("host_name", "h"), ("instance", "a"), ("job", "shop"), ("process_pid", "7"))
    assert [value for _, value in samples["target_info", labels]] == [1]


@pytest.mark.parametrize("resource", [{"host.name": "h"}, {"service.name": "shop"}], ids=str)
def test_a_target_without_a_name_or_without_more_has_no_target_info(
    store: Store, engine: Engine, tmp_path: Path, resource: dict[str, Any]
) -> None:
    load_metrics(store, tmp_path, metrics_request([gauge("up", number(1))], resource))
    assert _names(engine) == {"up"}


def test_a_series_id_is_what_series_id_says(store: Store, engine: Engine, tmp_path: Path) -> None:
    metrics = [gauge("up", number(1, {"a": "b", "c": "d"})), histogram("took", [0.5], [1, 2], {"a": "b"})]
    load_metrics(
        store, tmp_path, metrics_request(metrics, {"service.name": "shop", "service.instance.id": "1", "x": "y"})
    )
    wrong = "SELECT count() AS n FROM series WHERE id != series_id(metric, labels)"
    orphans = "SELECT count() AS n FROM samples WHERE (metric, id) NOT IN (SELECT metric, id FROM series)"
    assert engine.query(wrong).column("n")[0].as_py() == 0
    assert engine.query(orphans).column("n")[0].as_py() == 0
    assert engine.query("SELECT count() AS n FROM series").column("n")[0].as_py() == 6


def test_a_family_has_its_type_unit_and_help(store: Store, engine: Engine, tmp_path: Path) -> None:
    metrics = [
        counter("io", number(1), unit="By"),
        gauge("speed", number(1), unit="m/s", help_text="How fast."),
        histogram("took", [1], [1, 1]),
    ]
    load_metrics(store, tmp_path, metrics_request(metrics, {"service.name": "shop", "x": "y"}))
    rows = engine.query("SELECT metric, CAST(type AS String) AS type, unit, help FROM metric_metadata ORDER BY metric")
    assert [tuple(row.values()) for row in rows.to_pylist()] == [
        ("io_bytes_total", "counter", "bytes", ""),
        ("speed_meters_per_second", "gauge", "meters_per_second", "How fast."),
        ("target_info", "info", "", "What is known of a target besides its job and instance."),
        ("took_seconds", "histogram", "seconds", ""),
    ]
