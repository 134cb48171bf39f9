from __future__ import annotations

import json
from collections.abc import Iterator

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

import watchkeeper as wk
from watchkeeper.metrics import exposition
from watchkeeper.metrics.exposition import answer, as_json


def test_a_scrape_is_answered_in_the_format_it_asks_for() -> None:
    wk.counter("t_exposed_total", "Exposed", ["kind"]).labels("a").inc(2)
    status, content_type, body = answer("", "")
    assert (status, content_type.split(";")[0]) == (200, "text/plain")
    assert b't_exposed_total{kind="a"} 2.0\n' in body
    _, content_type, body = answer("application/openmetrics-text; version=1.0.0", "format=prometheus")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    status, content_type, body = answer("application/openmetrics-text", "format=json")
    assert (status, content_type) == (200, "application/json")
    family = next(family for family in json.loads(body) if family["name"] == "t_exposed")
    assert (family["type"], family["help"]) == ("counter", "Exposed")
    assert {"name": "t_exposed_total", "labels": {"kind": "a"}, "value": 2.0} in family["samples"]


def test_an_unknown_format_is_refused_by_name() -> None:
    status, _, body = answer("", "format=xml")
    assert status == 400
    assert b"'xml'" in body
    assert b"json" in body


def test_json_has_strings_for_what_it_has_no_number_for() -> None:
    registry = CollectorRegistry()
    gauge = prometheus_client.Gauge("odd", "Odd", ["kind"], registry=registry)
    for kind in ("nan", "inf", "-inf"):
        gauge.labels(kind).set(float(kind))
    (family,) = json.loads(as_json(registry.collect()))
    assert [sample["value"] for sample in family["samples"]] == ["NaN", "+Inf", "-Inf"]


def test_a_failing_collector_makes_a_500_and_no_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(Collector):
        def collect(self) -> Iterator[Metric]:
            raise RuntimeError("no database")

    registry = CollectorRegistry()
    registry.register(Failing())
    monkeypatch.setattr(exposition, "registry", lambda: registry)
    status, _, body = answer("", "")
    assert status == 500
    assert b"no database" in body
