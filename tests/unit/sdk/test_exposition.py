from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator

import flask
import prometheus_client
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

import watchkeeper as wk
from support.sdk import request
from support.wsgi import call
from watchkeeper.endpoints import Asked
from watchkeeper.metrics import exposition
from watchkeeper.metrics.exposition import Exposition, answer, as_json
from watchkeeper.testing import Captured


def test_a_scrape_is_answered_in_the_format_it_asks_for() -> None:
    wk.counter("t_exposed_total", "Exposed", ["kind"]).labels("a").inc(2)
    status, content_type, body, _ = answer("", "")
    assert (status, content_type.split(";")[0]) == (200, "text/plain")
    assert b't_exposed_total{kind="a"} 2.0\n' in body
    _, content_type, body, _ = answer("application/openmetrics-text; version=1.0.0", "format=prometheus")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    status, content_type, body, _ = answer("application/openmetrics-text", "format=json")
    assert (status, content_type) == (200, "application/json")
    family = next(family for family in json.loads(body) if family["name"] == "t_exposed")
    assert (family["type"], family["help"]) == ("counter", "Exposed")
    assert {"name": "t_exposed_total", "labels": {"kind": "a"}, "value": 2.0} in family["samples"]


def test_an_unknown_format_is_refused_by_name() -> None:
    status, _, body, _ = answer("", "format=xml")
    assert status == 400
    assert b"'xml'" in body
    assert b"json" in body


def test_a_scrape_may_ask_for_some_metrics_by_name() -> None:
    wk.counter("t_wanted_total").inc()
    wk.histogram("t_wanted_seconds").observe(1)
    page = answer("", "name[]=t_wanted_total&name[]=t_wanted_seconds_count&name[]=python_info").body.decode()
    names = {re.split("[ {]", line)[0] for line in page.splitlines() if not line.startswith("#")}
    assert names == {"t_wanted_total", "t_wanted_seconds_count", "python_info"}
    whole = answer("", "name[]=t_wanted_seconds").body
    assert b"t_wanted_seconds_bucket" in whole
    assert b"t_wanted_total" not in whole


def test_a_large_page_is_compressed_for_who_takes_gzip() -> None:
    gauge = wk.gauge("t_large", labels=["n"])
    for at in range(300):
        gauge.labels(str(at)).set(at)
    found = Exposition().answer(Asked("/metrics", "", "", "deflate, gzip;q=0.9"))
    assert found.encoding == "gzip"
    assert b't_large{n="299"}' in gzip.decompress(found.body)
    assert Exposition().answer(Asked("/metrics", "", "", "deflate")).encoding == ""
    assert Exposition().answer(Asked("/metrics", "", "name[]=python_info", "gzip")).encoding == ""


async def test_both_protocols_say_that_it_is_compressed_and_take_a_slash_at_the_end(seen: Captured) -> None:
    wk.counter("t_served_total").inc()
    gauge = wk.gauge("t_large", labels=["n"])
    for at in range(300):
        gauge.labels(str(at)).set(at)
    sent = [("Accept-Encoding", "gzip")]
    response = await request(wk.instrument(FastAPI()), "/metrics/", headers=sent)
    assert (response.status, response.headers["content-encoding"]) == (200, "gzip")
    assert response.headers["vary"] == "accept-encoding"
    assert b"t_served_total 1.0" in gzip.decompress(response.body)
    plain = await request(wk.instrument(FastAPI()), "/metrics")
    assert "content-encoding" not in plain.headers
    found = call(wk.instrument(flask.Flask("shop")), "/metrics/", headers=sent)
    assert found.headers["content-encoding"] == "gzip"
    assert b"t_served_total 1.0" in gzip.decompress(found.body)


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
    status, _, body, _ = answer("", "")
    assert status == 500
    assert b"no database" in body
