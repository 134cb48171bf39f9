from __future__ import annotations

import logging
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry

import watchkeeper as wk
from support.sdk import dropped
from watchkeeper.export.boundary import ERRORS, boundary
from watchkeeper.metrics.declare import Counter, Declarations, Gauge, Histogram, declarations
from watchkeeper.metrics.exemplars import BatchHistogram, ExemplarCounter


def value(name: str, **labels: str) -> float | None:
    return prometheus_client.REGISTRY.get_sample_value(name, labels)


def test_declaring_twice_gives_the_same_metric() -> None:
    first = wk.counter("t_orders_total", "Orders", ["status"])
    assert wk.counter("t_orders_total", "Orders", ["status"]) is first
    first.labels("paid").inc()
    first.labels(status="paid").inc(2)
    assert value("t_orders_total", status="paid") == 3


def test_gauges_and_histograms_do_what_they_are_for() -> None:
    gauge = wk.gauge("t_waiting")
    gauge.set(5)
    gauge.inc()
    gauge.dec(2)
    assert value("t_waiting") == 4
    histogram = wk.histogram("t_work_seconds", buckets=(0.1, 1))
    histogram.observe(0.5)
    with histogram.time():
        pass
    assert value("t_work_seconds_count") == 2
    assert value("t_work_seconds_bucket", le="0.1") == 1
    wk.gauge("t_asked").set_function(lambda: 7)
    assert value("t_asked") == 7


def errors() -> float:
    return sum(s.value for family in ERRORS.collect() for s in family.samples if s.name.endswith("_total"))


@pytest.mark.parametrize(
    "again",
    [
        lambda: wk.gauge("t_conflict_total"),
        lambda: wk.counter("t_conflict_total", labels=["other"]),
        lambda: wk.counter("python_info"),
        lambda: wk.counter("t_reserved_total", labels=["__name__"]),
    ],
)
def test_a_conflicting_declaration_is_counted_and_harmless(again: Any, production: None) -> None:
    original = wk.counter("t_conflict_total")
    before = errors()
    other = again()
    other.inc()
    assert wk.counter("t_conflict_total") is original
    assert errors() > before


def test_a_conflicting_declaration_is_loud_under_pytest() -> None:
    wk.counter("t_loud_total")
    with pytest.raises(ValueError, match="declared before"):
        wk.counter("t_loud_total", labels=["a"])


def test_wrong_labels_and_negative_counts_are_harmless(production: None) -> None:
    metric = wk.counter("t_labels_total", labels=["a", "b"])
    metric.labels("only one").inc()
    metric.labels(a=1, c=2).inc()
    metric.labels(1, 2, b=3).inc()
    metric.inc()
    metric.labels(1, 2).inc(-1)
    assert value("t_labels_total", a="1", b="2") == 0


def test_label_values_are_text_and_true_is_not_one() -> None:
    metric = wk.counter("t_types_total", labels=["a"])
    metric.labels(True).inc()
    metric.labels(1).inc()
    assert (value("t_types_total", a="True"), value("t_types_total", a="1")) == (1, 1)


def test_label_sets_beyond_the_limit_become_other_and_are_counted(
    production: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(declarations, "label_limit", 3)
    metric = wk.counter("t_limited_total", labels=["user"])
    before = dropped("metrics", "label_limit")
    for user in range(10):
        metric.labels(user).inc()
    metric.labels(0).inc()
    assert value("t_limited_total", user="0") == 2
    assert value("t_limited_total", user="__other__") == 7
    assert dropped("metrics", "label_limit") == before + 7


@pytest.mark.parametrize(
    "cause",
    [
        lambda: [
            wk.counter("t_heard_total", labels=["logger"]).labels(n).inc() for n in range(declarations.label_limit)
        ],
        lambda: wk.gauge("t_heard_total"),
    ],
    ids=["a label limit", "a conflicting declaration"],
)
def test_who_hears_of_a_metrics_trouble_may_count_in_it(
    cause: Callable[[], Any], production: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = threading.Event()

    class Counting(logging.Handler):
        """An application's, which declares its metric wherever it counts."""

        def emit(self, record: logging.LogRecord) -> None:
            wk.counter("t_heard_total", labels=["logger"]).labels(record.name).inc()
            heard.set()

    monkeypatch.setattr(declarations, "label_limit", 3)
    monkeypatch.setattr(boundary, "_said", set())
    wk.counter("t_heard_total", labels=["logger"]).labels("first").inc()
    handler = Counting()
    logging.getLogger("watchkeeper").addHandler(handler)
    try:
        counting = threading.Thread(target=cause, daemon=True)
        counting.start()
        counting.join(5)
        assert heard.is_set()
        assert not counting.is_alive()
    finally:
        logging.getLogger("watchkeeper").removeHandler(handler)


def test_a_registry_of_ones_own_is_left_alone() -> None:
    registry = CollectorRegistry()
    found = Declarations(registry).declare(Counter, prometheus_client.Counter, "t_own_total", "", ())
    found.inc()
    assert registry.get_sample_value("t_own_total") == 1
    assert value("t_own_total") is None


def test_an_application_may_have_a_metric_that_we_have_too() -> None:
    theirs = prometheus_client.Counter("http_requests_total", "Requests, as the application counts them", ["kind"])
    try:
        theirs.labels("page").inc()
        found = [family for family in prometheus_client.REGISTRY.collect() if family.name == "http_requests"]
        assert [family.documentation for family in found] == ["Requests, as the application counts them"]
    finally:
        prometheus_client.REGISTRY.unregister(theirs)


@pytest.mark.parametrize("kind", ["counter", "gauge", "histogram"])
def test_ten_thousand_series_take_less_than_ten_megabytes(kind: str) -> None:
    registry = CollectorRegistry()
    declared = Declarations(registry)
    declared.label_limit = 10_000
    kinds: dict[str, Any] = {
        "counter": (Counter, ExemplarCounter, 1),
        "gauge": (Gauge, prometheus_client.Gauge, 1),
        "histogram": (Histogram, BatchHistogram, 17),  # a series a bucket, and the count and the sum
    }
    wrapper, inner, series = kinds[kind]
    tracemalloc.start()
    try:
        metric: Any = declared.declare(wrapper, inner, "t_many", "", ("route", "status"))
        for number in range(10_000 // series):
            metric.labels(f"/orders/{number}", "200")
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 10_000_000
