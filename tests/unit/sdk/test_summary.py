from __future__ import annotations

import math
import sys
import threading
from typing import Any

import prometheus_client
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client import CollectorRegistry, generate_latest

import watchkeeper as wk
from watchkeeper.export.otlp.metrics import MetricEncoder
from watchkeeper.metrics.summary import QuantileSummary, Window


class Hand:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_quantiles_are_within_one_per_cent() -> None:
    window = Window(Hand())
    values = [1.001**number / 1000 for number in range(10_000)]  # 1 ms to 22 s
    for value in values:
        window.add(value)
    for quantile, found in zip((0.5, 0.9, 0.99), window.quantiles((0.5, 0.9, 0.99)), strict=True):
        assert found == pytest.approx(values[int(quantile * (len(values) - 1))], rel=0.0101)


def test_quantiles_forget_what_is_older_than_ten_minutes() -> None:
    hand = Hand()
    window = Window(hand)
    window.add(100.0)
    hand.now += 479
    window.add(1.0)
    assert window.quantiles((1.0,))[0] == pytest.approx(100, rel=0.01)
    hand.now += 122
    assert window.quantiles((1.0,))[0] == pytest.approx(1, rel=0.01)
    hand.now += 600
    assert math.isnan(window.quantiles((1.0,))[0])


def test_no_stream_of_values_makes_a_window_grow_without_bound() -> None:
    hand = Hand()
    window = Window(hand)
    for _ in range(50):
        hand.now += 60
        for exponent in range(-300, 300, 5):
            window.add(10.0**exponent)
            window.add(-(10.0**exponent))
    bins = [len(store.bins) for _, sketch in window._slices for store in (sketch._store, sketch._negative_store)]
    assert len(bins) <= 10
    assert max(bins) <= 1_024


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_counted_and_leaves_the_quantiles_alone(odd: float) -> None:
    registry = CollectorRegistry()
    summary = QuantileSummary("odd", "Odd", registry=registry)
    summary.observe(2.0)
    summary.observe(odd)
    assert registry.get_sample_value("odd_count") == 2
    assert registry.get_sample_value("odd", {"quantile": "0.99"}) == pytest.approx(2, rel=0.01)


def test_a_summary_is_exposed_as_one() -> None:
    registry = CollectorRegistry()
    summary = QuantileSummary("rows", "Rows", ["table"], registry=registry, quantiles=(0.5, 1.0))
    summary.labels("orders").observe(0)
    text = generate_latest(registry).decode()
    assert "# TYPE rows summary\n" in text
    assert 'rows{quantile="0.5",table="orders"} 0.0\n' in text
    assert 'rows{quantile="1.0",table="orders"} 0.0\n' in text
    assert 'rows_count{table="orders"} 1.0\n' in text


def test_a_summary_is_pushed_as_one() -> None:
    registry = CollectorRegistry()
    summary = QuantileSummary("rows", "Rows", ["table"], registry=registry)
    for value in range(101):
        summary.labels("orders").observe(value)
    body = MetricEncoder(b"", start_ns=1).encode(registry.collect(), 2)
    (metric,) = ExportMetricsServiceRequest.FromString(body).resource_metrics[0].scope_metrics[0].metrics
    (point,) = metric.summary.data_points
    assert (point.count, point.sum) == (101, 5050)
    found = {value.quantile: value.value for value in point.quantile_values}
    assert found == pytest.approx({0.5: 50, 0.9: 90, 0.99: 99}, rel=0.01)


def test_a_summary_is_declared_like_other_metrics() -> None:
    summary = wk.summary("t_rows", "Rows", ["table"])
    assert wk.summary("t_rows", "Rows", ["table"]) is summary
    with summary.labels("orders").time():
        pass
    assert prometheus_client.REGISTRY.get_sample_value("t_rows_count", {"table": "orders"}) == 1


def test_a_quantile_that_is_none_is_counted_and_harmless(production: None) -> None:
    summary: Any = wk.summary("t_bad_quantile", quantiles=(99,))
    summary.observe(1)
    assert prometheus_client.REGISTRY.get_sample_value("t_bad_quantile_count") is None


def test_threads_observe_at_once_and_none_is_lost() -> None:
    window = Window(Hand())
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=lambda: [window.add(1.0) for _ in range(500)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert sum(sketch.count for _, sketch in window._slices) == 2_000
