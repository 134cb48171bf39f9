"""What users of prometheus_client write, written with `wk`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import prometheus_client
import pytest
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import watchkeeper as wk
from watchkeeper.metrics.declare import declarations
from watchkeeper.metrics.exposition import answer
from watchkeeper.testing import Captured


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def exemplars(name: str) -> list[dict[str, str]]:
    page = answer("application/openmetrics-text; version=1.0.0", "").body.decode()
    return [
        sample.exemplar.labels
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name and sample.exemplar is not None
    ]


def test_a_series_can_be_removed_and_counts_anew_then() -> None:
    pods = wk.gauge("t_pod_up", "Pods", ["pod", "zone"])
    pods.labels("a", "x").set(1)
    pods.labels("b", "x").set(1)
    pods.remove("a", "x")
    assert (value("t_pod_up", pod="a", zone="x"), value("t_pod_up", pod="b", zone="x")) == (None, 1)
    pods.remove(pod="b", zone="x")
    pods.remove("never", "there")
    assert value("t_pod_up", pod="b", zone="x") is None
    pods.labels("a", "x").inc()
    assert value("t_pod_up", pod="a", zone="x") == 1


def test_a_removed_series_makes_room_below_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declarations, "label_limit", 2)
    pods = wk.counter("t_pods_total", labels=["pod"])
    for pod in ("a", "b"):
        pods.labels(pod).inc()
    pods.remove("a")
    pods.labels("c").inc()
    assert value("t_pods_total", pod="c") == 1


def test_all_series_can_be_cleared() -> None:
    rows = wk.histogram("t_cleared_rows", labels=["table"])
    rows.labels("a").observe(1)
    rows.clear()
    assert value("t_cleared_rows_count", table="a") is None
    rows.labels("a").observe(1)
    assert value("t_cleared_rows_count", table="a") == 1
    wk.counter("t_not_cleared_total").clear()


def test_removing_wrong_labels_is_harmless(production: None) -> None:
    pods = wk.counter("t_wrongly_removed_total", labels=["pod"])
    pods.labels("a").inc()
    pods.remove("a", "b")
    pods.remove(zone="a")
    pods.labels("a").remove("a")
    wk.counter("t_without_labels_total").remove("a")
    assert value("t_wrongly_removed_total", pod="a") == 1


def test_what_is_in_progress_is_counted_in_a_block_or_a_function() -> None:
    running = wk.gauge("t_running")
    with running.track_inprogress():
        assert value("t_running") == 1

        @running.track_inprogress()
        def work() -> float | None:
            return value("t_running")

        @running.track_inprogress()
        async def work_async() -> float | None:
            await asyncio.sleep(0)
            return value("t_running")

        assert work() == 2
        assert asyncio.run(work_async()) == 2
        assert asyncio.iscoroutinefunction(work_async)
    with pytest.raises(OSError, match="no"), running.track_inprogress():
        raise OSError("no")
    assert value("t_running") == 0


def test_exceptions_are_counted_by_type() -> None:
    failures = wk.counter("t_failures_total")

    @failures.count_exceptions((KeyError, OSError))
    def work(error: Exception) -> None:
        raise error

    for error in (KeyError("x"), OSError("x"), ValueError("x")):
        with pytest.raises(type(error)):
            work(error)
    with failures.count_exceptions():
        pass
    assert value("t_failures_total") == 2


def test_a_gauge_can_be_the_time_of_now_or_a_duration() -> None:
    last = wk.gauge("t_last_success_seconds")
    last.set_to_current_time()
    assert abs((value("t_last_success_seconds") or 0) - time.time()) < 5
    with wk.gauge("t_took_seconds").time():
        time.sleep(0.01)
    assert 0.01 <= (value("t_took_seconds") or 0) < 1


@pytest.mark.parametrize("kind", [wk.histogram, wk.summary])
def test_time_measures_a_block_each_call_and_a_coroutine_until_it_has_returned(kind: type) -> None:
    name = f"t_timed_{kind.__name__}_seconds"
    seconds = kind(name, labels=["kind"])

    @seconds.labels("call").time()
    def work(depth: int) -> None:
        if depth:
            work(depth - 1)

    @seconds.labels("coroutine").time()
    async def work_async() -> None:
        await asyncio.sleep(0.01)

    async def both() -> None:
        await asyncio.gather(work_async(), work_async())

    work(2)
    asyncio.run(both())
    with seconds.time() as timing:
        timing.labels("late")
    assert [value(f"{name}_count", kind=each) for each in ("call", "coroutine", "late")] == [3, 2, 1]
    assert (value(f"{name}_sum", kind="coroutine") or 0) >= 0.02


def test_a_timing_without_its_labels_is_harmless(production: None) -> None:
    with wk.histogram("t_untold_seconds", labels=["kind"]).time():
        pass


def test_an_exemplar_of_ones_own_is_shown_and_the_next_trace_after_it(seen: Captured) -> None:
    counter, histogram = wk.counter("t_own_exemplar_total"), wk.histogram("t_own_exemplar_seconds")
    with wk.span("counted") as span:
        for each in (None, {"order": "7"}):
            counter.inc(1, exemplar=each)
            histogram.observe(0.3, exemplar=each)
        assert exemplars("t_own_exemplar_total") == exemplars("t_own_exemplar_seconds_bucket") == [{"order": "7"}]
        counter.inc()
        histogram.observe(0.3)
    trace_id = f"{span.get_span_context().trace_id:032x}"
    assert exemplars("t_own_exemplar_total")[0]["trace_id"] == trace_id
    assert exemplars("t_own_exemplar_seconds_bucket")[0]["trace_id"] == trace_id
    assert value("t_own_exemplar_total") == 3


def test_a_bad_exemplar_is_harmless(production: None) -> None:
    wk.counter("t_bad_exemplar_total").inc(1, exemplar={"x": "y" * 200})
    wk.histogram("t_bad_exemplar_seconds").observe(1, exemplar={"x": "y" * 200})


@pytest.fixture
def native() -> Iterator[tuple[prometheus_client.Counter, prometheus_client.Gauge]]:
    """Metrics that the application made by prometheus_client."""
    found = prometheus_client.Counter("t_native", "Theirs", ["a"]), prometheus_client.Gauge("t_native_gauge", "Theirs")
    yield found
    for metric in found:
        REGISTRY.unregister(metric)


def test_both_count_in_what_prometheus_client_has_made_already(
    native: tuple[prometheus_client.Counter, prometheus_client.Gauge], seen: Captured
) -> None:
    native[0].labels("x").inc()
    native[1].set(4)
    with wk.span("counted"):
        wk.counter("t_native_total", "Ours", ["a"]).labels("x").inc(2)
    wk.gauge("t_native_gauge").inc()
    assert (value("t_native_total", a="x"), value("t_native_gauge")) == (3, 5)


def test_a_metric_of_another_shape_that_is_there_already_is_left_alone(
    native: tuple[prometheus_client.Counter, prometheus_client.Gauge], production: None
) -> None:
    wk.counter("t_native_total", "Ours", ["b"]).labels("x").inc()
    wk.gauge("t_native_total").set(1)
    assert REGISTRY.get_sample_value("t_native_total", {"b": "x"}) is None


def test_a_registry_of_ones_own_can_be_shown_at_metrics() -> None:
    own = CollectorRegistry()
    prometheus_client.Counter("t_in_own_registry", "Theirs", registry=own).inc()
    REGISTRY.register(own)
    try:
        assert b"t_in_own_registry_total 1.0" in answer("", "").body
    finally:
        REGISTRY.unregister(own)


def test_a_second_declaration_is_told_what_differs_and_where_the_first_was() -> None:
    wk.counter("t_declared_total", labels=["a"])
    line = test_a_second_declaration_is_told_what_differs_and_where_the_first_was.__code__.co_firstlineno + 1
    with pytest.raises(ValueError, match="declared before") as told:
        wk.counter("t_declared_total", labels=["a", "b"])
    assert f"{__file__}:{line}, with labels ('a',), now ('a', 'b')" in str(told.value)
    with pytest.raises(ValueError, match="as a counter, now gauge; with labels"):
        wk.gauge("t_declared_total")
    wk.histogram("t_declared_seconds", buckets=(1, 2))
    with pytest.raises(ValueError, match=r"with buckets \(1, 2\), now \(1, 3\): this one counts nowhere"):
        wk.histogram("t_declared_seconds", buckets=(1, 3))
