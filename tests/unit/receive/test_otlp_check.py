"""What would grow beyond measure on its way to the store is refused by name, and the rest is kept."""

from __future__ import annotations

import time
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from watchkeeper_server.receive.exposition.write_request import field
from watchkeeper_server.receive.otlp_check import Bounds, check_logs, check_metrics, check_spans
from watchkeeper_server.receive.refusal import RefusedError

NOW = 10**18
BOUNDS = Bounds(1, 2 * NOW, 10_000)
MIB = 1024 * 1024


def request(service: str = "shop") -> tuple[ExportMetricsServiceRequest, Any]:
    """A request with a good point, and its metrics."""
    made = ExportMetricsServiceRequest()
    resource = made.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = service
    metrics = resource.scope_metrics.add().metrics
    metrics.add(name="good").gauge.data_points.add(time_unix_nano=NOW, as_int=1)
    return made, metrics


def labelled(point: Any, key: str, value: str) -> None:
    point.attributes.add(key=key).value.string_value = value


def test_a_long_attribute_is_named() -> None:
    made, metrics = request()
    points = metrics.add(name="long").gauge.data_points
    for text in ("x" * 60_000, "x" * 70_000):
        labelled(points.add(time_unix_nano=NOW), "text", text)
    labelled(points.add(time_unix_nano=NOW), "filler" + "x" * MIB, "")
    verdict = check_metrics(made.SerializeToString(), BOUNDS)
    assert (verdict.accepted, verdict.rejected) == (2, 2)
    assert "attribute 'text' is 70," in verdict.message
    assert "the most allowed is 65,536" in verdict.message


@pytest.mark.parametrize("kind", ["histogram", "summary"])
def test_attributes_of_very_many_buckets_are_refused(kind: str) -> None:
    made, metrics = request()
    metric = metrics.add(name="wide")
    point = getattr(metric, kind).data_points.add(time_unix_nano=NOW)
    labelled(point, "text", "x" * 50_000)
    if kind == "histogram":
        point.explicit_bounds.extend(range(20_000))
        point.bucket_counts.extend([0] * 20_001)
    else:
        for i in range(20_000):
            point.quantile_values.add(quantile=i / 20_000)
    verdict = check_metrics(made.SerializeToString(), BOUNDS)
    assert (verdict.accepted, verdict.rejected) == (1, 1)
    assert "are too large to be kept with each of 20,001 series" in verdict.message


def test_a_service_whose_name_would_be_kept_with_very_many_points_is_refused() -> None:
    made, metrics = request("x" * 60_000)
    many = metrics.add(name="many").gauge.data_points
    for i in range(1000):
        labelled(many.add(time_unix_nano=NOW), "i", str(i))
    verdict = check_metrics(made.SerializeToString(), BOUNDS)
    assert (verdict.accepted, verdict.rejected) == (1, 1000)


def test_usual_histograms_are_taken() -> None:
    made, metrics = request()
    points = metrics.add(name="took").histogram.data_points
    for i in range(500):
        point = points.add(time_unix_nano=NOW, explicit_bounds=range(15), bucket_counts=[1] * 16)
        for name in range(10):
            labelled(point, f"attribute.{name}", f"value-{i}")
    assert check_metrics(made.SerializeToString(), BOUNDS).rejected == 0


def test_how_many_items_a_request_held_of_which_none_is_taken_is_known() -> None:
    made = ExportMetricsServiceRequest()
    points = made.resource_metrics.add().scope_metrics.add().metrics.add(name="m").gauge.data_points
    for _ in range(7):
        points.add()
    with pytest.raises(RefusedError) as refused:
        check_metrics(made.SerializeToString(), BOUNDS)
    assert refused.value.items == 7


EMPTY_SPANS = field(1, field(2, b"\x12\x00" * 1_000_001))


@pytest.mark.parametrize(
    ("check", "body"),
    [
        (check_spans, EMPTY_SPANS),
        (check_logs, EMPTY_SPANS),  # the same numbers
        (check_spans, b"\x0a\x00" * 1_000_001),
        (check_spans, field(1, b"\x12\x00" * 1_000_001)),
        (check_metrics, field(1, field(2, field(2, field(5, b"\x0a\x00" * 1_000_001))))),
        (check_metrics, field(1, field(2, b"\x12\x00" * 500_000 + field(2, field(9, b"\x0a\x00" * 500_001))))),
    ],
)
def test_very_many_items_are_refused_before_they_are_decoded(check: Any, body: bytes) -> None:
    began = time.thread_time()  # whatever other tests have left running counts for itself
    with pytest.raises(RefusedError, match="more than 1,000,000 items, the most allowed; send smaller batches"):
        check(body, BOUNDS)
    assert time.thread_time() - began < 2


def test_a_large_request_of_fewer_items_is_taken_whole() -> None:
    made, metrics = request()
    for name in range(50):
        points = metrics.add(name=f"m{name}").gauge.data_points
        for i in range(1000):
            labelled(points.add(time_unix_nano=NOW), "i", f"value-{i}")
    body = made.SerializeToString()
    assert len(body) > MIB
    assert check_metrics(body, BOUNDS).accepted == 50_001
