from __future__ import annotations

import json

import pytest
from prometheus_client import CollectorRegistry, Gauge

import watchkeeper as wk
from support.sdk import Sink, attributes
from watchkeeper import ConfigurationError, MetricOptions, Options, testing
from watchkeeper.metrics.declare import declarations
from watchkeeper.metrics.default_labels import WithLabels
from watchkeeper.metrics.exposition import answer


@pytest.fixture(autouse=True)
def none_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declarations, "default_labels", {})


def test_default_labels_are_on_every_series_exposed() -> None:
    options = Options(metrics=MetricOptions(default_labels={"team": "sales"}), logs=wk.LogOptions(stream="off"))
    wk.counter("t_labelled_total", "", ["kind"]).labels("a").inc()
    with testing.capture(options):
        text = answer("", "").body
        body = answer("", "format=json").body
    assert b't_labelled_total{kind="a",team="sales"} 1.0\n' in text
    assert all(sample["labels"]["team"] == "sales" for family in json.loads(body) for sample in family["samples"])


def test_default_labels_are_on_every_series_pushed(sink: Sink) -> None:
    wk.gauge("t_pushed_labelled").set(3)
    wk.configure(sink.options(metrics=MetricOptions(default_labels={"team": "sales"})))
    assert wk.flush()
    for metric in sink.metrics().values():
        for point in getattr(metric, metric.WhichOneof("data")).data_points:
            assert attributes(point)["team"] == "sales"


def test_a_samples_own_label_wins_and_the_registry_is_left_alone() -> None:
    registry = CollectorRegistry()
    Gauge("g", "G", ["team"], registry=registry).labels("own").set(1)
    (family,) = WithLabels(registry, {"team": "default", "region": "eu"}).collect()
    assert family.samples[0].labels == {"team": "own", "region": "eu"}
    assert registry.get_sample_value("g", {"team": "own"}) == 1


def test_default_labels_come_from_the_environment() -> None:
    options = Options.from_environment({"WATCHKEEPER_METRIC_LABELS": "team=sales,region=eu%2Fwest"})
    assert options.metrics.default_labels == {"team": "sales", "region": "eu/west"}


@pytest.mark.parametrize("name", ["", "1st", "a-b", "__name__", "le", "quantile"])
def test_a_label_that_no_series_can_have_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"default_labels has a label '{name}'"):
        Options(metrics=MetricOptions(default_labels={name: "x"})).validate()
