"""OpenTelemetry's metrics API, counted in the registry."""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

import watchkeeper as wk
from support.sdk import Sink, attributes, dropped, request
from watchkeeper.metrics.declare import declarations
from watchkeeper.metrics.exposition import answer
from watchkeeper.metrics.otel import MOST_INSTRUMENTS, MeterProvider, meter_provider
from watchkeeper.metrics.otel_names import family_name, labels_of, unit_words
from watchkeeper.testing import Captured, capture


@pytest.fixture
def provider() -> Iterator[MeterProvider]:
    """One whose instruments are gone afterwards."""
    found = MeterProvider()
    declarations.standard.register(found.streams)
    yield found
    declarations.standard.unregister(found.streams)


@pytest.fixture
def meter(provider: MeterProvider) -> metrics.Meter:
    return provider.get_meter("shop.library", "1.2")


def samples(name: str) -> list[Sample]:
    return [
        sample
        for family in declarations.registry.collect()
        for sample in family.samples
        if sample.name == name and "otel_scope_name" in sample.labels
    ]


def value(name: str, **labels: str) -> float:
    scope = {"otel_scope_name": "shop.library", "otel_scope_version": "1.2"}
    return next(sample.value for sample in samples(name) if sample.labels == labels | scope)


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("http.server.request.duration", "s", "histogram", "http_server_request_duration_seconds"),
        ("queue.latency", "ms", "histogram", "queue_latency_milliseconds"),
        ("disk.io", "By", "counter", "disk_io_bytes"),
        ("speed", "m/s", "gauge", "speed_meters_per_second"),
        ("requests", "1/s", "gauge", "requests_per_second"),
        ("cpu.utilization", "1", "gauge", "cpu_utilization_ratio"),
        ("items", "1", "counter", "items"),
        ("orders", "{order}", "counter", "orders"),
        ("orders.total", "", "counter", "orders"),
        ("cpu.seconds", "s", "counter", "cpu_seconds"),
        ("a.-b/c", "", "gauge", "a_b_c"),
        ("cache", "{entry}/s", "gauge", "cache_per_second"),
        ("odd", "foo bar", "gauge", "odd_foo_bar"),
    ],
)
def test_names_and_units_are_prometheuss(name: str, unit: str, kind: str, expected: str) -> None:
    assert family_name(name, unit, kind) == expected


def test_a_unit_without_a_word_is_none() -> None:
    assert [unit_words(unit) for unit in ("", "1", "{call}", "%")] == ["", "", "", "percent"]


def test_attributes_become_labels() -> None:
    found = labels_of({"http.route": "/x", "ok": True, "n": 3, "le": "a", "1st": 2.5, "tags": ["a", "b"]})
    assert dict(found) == {
        "http_route": "/x",
        "ok": "true",
        "n": "3",
        "_le": "a",
        "_1st": "2.5",
        "tags": '["a", "b"]',
    }
    assert dict(labels_of({"a.b": "x", "a_b": "y"})) == {"a_b": "x;y"}
    assert labels_of({"b": "1", "a": "2"}) == labels_of({"a": "2", "b": "1"})


def test_every_synchronous_instrument_is_at_metrics(meter: metrics.Meter) -> None:
    counter = meter.create_counter("t.orders", "{order}", "Orders")
    counter.add(2, {"shop.kind": "a"})
    counter.add(3, {"shop.kind": "a"})
    counter.add(1)
    active = meter.create_up_down_counter("t.active")
    active.add(5)
    active.add(-2)
    meter.create_gauge("t.temperature", "Cel").set(21.5, {"room": "x"})
    durations = meter.create_histogram("t.duration", "s")
    durations.record(0.03)
    durations.record(7)
    assert value("t_orders_total", shop_kind="a") == 5
    assert value("t_orders_total") == 1
    assert value("t_active") == 3
    assert value("t_temperature_celsius", room="x") == 21.5
    assert value("t_duration_seconds_count") == 2
    assert value("t_duration_seconds_sum") == 7.03
    assert value("t_duration_seconds_bucket", le="0.05") == 1
    assert value("t_duration_seconds_bucket", le="+Inf") == 2
    body = answer("application/openmetrics-text; version=1.0.0", "").body
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    assert (families["t_orders"].type, families["t_orders"].documentation) == ("counter", "Orders")
    assert (families["t_active"].type, families["t_duration_seconds"].type) == ("gauge", "histogram")


def test_a_histogram_has_the_boundaries_it_is_given(meter: metrics.Meter) -> None:
    histogram = meter.create_histogram("t.rows", explicit_bucket_boundaries_advisory=[10, 1])
    for amount in (0, 1, 5, 11):
        histogram.record(amount)
    counts = {sample.labels["le"]: sample.value for sample in samples("t_rows_bucket")}
    assert counts == {"1.0": 2, "10.0": 3, "+Inf": 4}


def test_observable_instruments_are_asked_when_somebody_looks(meter: metrics.Meter, production: None) -> None:
    asked = [0]

    def jobs(_options: CallbackOptions) -> Iterable[Observation]:
        asked[0] += 1
        return [Observation(10 * asked[0], {"queue": "a"})]

    def failing(_options: CallbackOptions) -> Iterable[Observation]:
        raise RuntimeError("no")

    def steps() -> Any:
        yield
        while True:
            yield [Observation(4)]

    meter.create_observable_counter("t.jobs", [failing, jobs])
    meter.create_observable_gauge("t.depth", [steps()])
    meter.create_observable_up_down_counter("t.balance", [lambda _: [Observation(-3)]])
    assert value("t_jobs_total", queue="a") == 10
    assert value("t_jobs_total", queue="a") == 20
    assert (value("t_depth"), value("t_balance")) == (4, -3)


def test_the_same_instrument_twice_is_one(provider: MeterProvider) -> None:
    for _ in range(3):
        provider.get_meter("shop.library", "1.2").create_counter("t.twice", "By").add(1)
    assert value("t_twice_bytes_total") == 3


def test_scopes_tell_instruments_of_one_name_apart(provider: MeterProvider) -> None:
    for scope in ("a", "b"):
        provider.get_meter(scope).create_counter("t.scoped").add(1)
    assert [sample.labels for sample in samples("t_scoped_total")] == [
        {"otel_scope_name": "a"},
        {"otel_scope_name": "b"},
    ]
    families = [family for family in declarations.registry.collect() if family.name == "t_scoped"]
    assert len(families) == 1


def test_the_limit_of_label_sets_holds(meter: metrics.Meter, monkeypatch: pytest.MonkeyPatch, production: None) -> None:
    monkeypatch.setattr(declarations, "label_limit", 10)
    counter = meter.create_counter("t.limited")
    before = dropped("metrics", "label_limit")
    for at in range(50):
        counter.add(1, {"user.id": str(at)})
    counter.add(1, {f"user.{'x' * 3}": "y"})
    assert len(samples("t_limited_total")) == 11
    assert value("t_limited_total", user_id="__other__") == 41
    assert dropped("metrics", "label_limit") == before + 41


def test_no_mistake_raises(meter: metrics.Meter, production: None) -> None:
    counter = meter.create_counter("t.mistaken")
    for amount in (-1, math.nan, math.inf, "x", None):
        counter.add(amount)  # type: ignore[arg-type]
    counter.add(1, {"list": [1, 2]})
    counter.add(1, {1: 2, "a": 3})  # type: ignore[dict-item]
    meter.create_histogram("t.mistaken.histogram").record(-1)
    meter.create_gauge("t.mistaken.gauge").set("x")  # type: ignore[arg-type]
    meter.create_up_down_counter("t.mistaken.updown").add(math.inf)
    meter.create_counter("no name").add(1)
    meter.create_counter(None).add(1)  # type: ignore[arg-type]
    meter.create_observable_gauge("t.mistaken.asked", [lambda _: [Observation("x")], lambda _: 7])  # type: ignore[arg-type, list-item, return-value]
    assert value("t_mistaken_total", list="[1, 2]") == 1
    assert samples("t_mistaken_histogram_count") == []
    assert answer("", "").status == 200


def test_instruments_are_bounded(provider: MeterProvider, production: None) -> None:
    meter = provider.get_meter("many")
    made = [meter.create_counter(f"t.many{at}") for at in range(MOST_INSTRUMENTS + 5)]
    assert sum(isinstance(counter, metrics.NoOpCounter) for counter in made) == 5


def test_what_somebody_else_has_declared_is_shown_in_place_of_it(meter: metrics.Meter, production: None) -> None:
    wk.counter("t_claimed_total").inc(7)
    meter.create_counter("t.claimed").add(1)
    meter.create_gauge("t.kind").set(1)
    meter.create_counter("t.kind").add(5)
    found = [family for family in declarations.registry.collect() if family.name in {"t_claimed", "t_kind"}]
    assert sorted((family.name, family.type) for family in found) == [("t_claimed", "counter"), ("t_kind", "gauge")]
    assert samples("t_claimed_total") == []


def test_exemplars_carry_the_trace(meter: metrics.Meter, seen: Captured) -> None:
    with wk.span("counted") as span:
        meter.create_counter("t.traced").add(1)
        meter.create_histogram("t.traced.duration", "s").record(0.01)
    trace_id = f"{span.get_span_context().trace_id:032x}"
    (counted,) = samples("t_traced_total")
    assert counted.exemplar is not None
    assert counted.exemplar.labels["trace_id"] == trace_id
    (bucket,) = [sample for sample in samples("t_traced_duration_seconds_bucket") if sample.exemplar]
    assert bucket.labels["le"] == "0.01"


def test_they_are_pushed_too(sink: Sink, provider: MeterProvider) -> None:
    wk.configure(sink.options())
    provider.get_meter("pushed").create_counter("t.pushed", "By").add(3, {"a.b": "c"})
    assert wk.flush(5)
    (point,) = sink.metrics()["t_pushed_bytes"].sum.data_points
    assert point.as_double == 3
    assert attributes(point) == {"a_b": "c", "otel_scope_name": "pushed"}


def test_contribs_metrics_of_what_is_counted_here_are_none(seen: Captured) -> None:
    for name in ("asgi", "httpx", "sqlalchemy", "redis", "celery"):
        assert isinstance(meter_provider.get_meter(f"opentelemetry.instrumentation.{name}"), metrics.NoOpMeter)
    assert not isinstance(meter_provider.get_meter("opentelemetry.instrumentation.system_metrics"), metrics.NoOpMeter)


def test_fastapis_own_metrics_are_off_where_ours_count_and_on_again_after() -> None:
    app = FastAPI()
    with capture() as seen:
        wk.instrument(app)
        unmatched = {"method": "GET", "route": "unmatched", "status": "404"}
        before = seen.metric("http_requests_total", **unmatched) or 0
        theirs = samples("http_server_request_duration_seconds_count")  # of applications that nobody instrumented
        asyncio.run(request(app, "/nothing"))
        assert seen.metric("http_requests_total", **unmatched) == before + 1
        assert samples("http_server_request_duration_seconds_count") == theirs
        wk.uninstrument(app)
        if hasattr(app, "_telemetry"):
            assert app._telemetry["metrics"] is True


def run(source: str, **environment: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "WATCHKEEPER_LOG_STREAM": "off", **environment},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_meter_that_was_there_before_configure_counts_from_then_on() -> None:
    assert run("""
        import json
        from opentelemetry import metrics
        counter = metrics.get_meter("early").create_counter("t.early")
        import watchkeeper as wk
        wk.configure()
        counter.add(2)
        from watchkeeper.metrics.exposition import answer
        print(json.dumps({"there": b't_early_total{otel_scope_name="early"} 2.0' in answer("", "").body}))
    """) == {"there": True}


def test_a_provider_of_the_application_keeps_everything_whenever_it_comes() -> None:
    source = """
        import json
        from opentelemetry import metrics
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        import watchkeeper as wk
        reader = InMemoryMetricReader()
        provider = MeterProvider([reader])
        {first}
        {second}
        metrics.get_meter("theirs").create_counter("t.theirs").add(1)
        from watchkeeper.metrics.exposition import answer
        theirs = reader.get_metrics_data().to_json()
        print(json.dumps({{"ours": b"t_theirs" in answer("", "").body, "theirs": "t.theirs" in theirs}}))
    """
    steps = ("metrics.set_meter_provider(provider)", "wk.configure()")
    for first, second in (steps, steps[::-1]):
        assert run(source.format(first=first, second=second)) == {"ours": False, "theirs": True}


def test_a_provider_that_cannot_be_loaded_takes_nothing_else_with_it() -> None:
    source = """
        import json, watchkeeper as wk
        wk.configure()
        from fastapi import FastAPI
        wk.instrument(FastAPI())
        with wk.span("said") as span:
            print(json.dumps({"recording": span.is_recording()}))
    """
    assert run(source, OTEL_PYTHON_METER_PROVIDER="nonsense") == {"recording": True}


def test_a_forked_child_counts_from_zero_and_a_gauge_stays() -> None:
    assert run("""
        import json, os
        import watchkeeper as wk
        wk.configure()
        from opentelemetry import metrics
        from watchkeeper.metrics.declare import declarations
        meter = metrics.get_meter("m")
        counter, gauge = meter.create_counter("t.c"), meter.create_up_down_counter("t.g")
        counter.add(5); gauge.add(5)
        read, write = os.pipe()
        if os.fork() == 0:
            counter.add(1); gauge.add(1)
            found = {s.name: s.value for f in declarations.registry.collect() for s in f.samples}
            os.write(write, json.dumps({n: found[n] for n in ("t_c_total", "t_g")}).encode())
            os._exit(0)
        os.wait()
        print(os.read(read, 1000).decode())
    """) == {"t_c_total": 1, "t_g": 6}
