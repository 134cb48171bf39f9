"""Items that cannot be stored: refused by name, over HTTP and gRPC alike, while the rest of the request is kept."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import NumberDataPoint
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from support.otlp import key_values, log_record, logs_request, span, spans_request
from support.server import ServerProcess

pytestmark = pytest.mark.usefixtures("unharmed")
M = TypeVar("M", bound=Message)
DAY = 86_400 * 10**9
REJECTED = {"traces": "rejected_spans", "logs": "rejected_log_records", "metrics": "rejected_data_points"}
RESPONSES: dict[str, type[Message]] = {
    "traces": ExportTraceServiceResponse,
    "logs": ExportLogsServiceResponse,
    "metrics": ExportMetricsServiceResponse,
}


def method(channel: grpc.Channel, signal: str) -> Any:
    """The signal's gRPC method, fed bytes, so that what no library would send can be sent."""
    names = {"traces": "trace.v1.Trace", "logs": "logs.v1.Logs", "metrics": "metrics.v1.Metrics"}
    return channel.unary_unary(f"/opentelemetry.proto.collector.{names[signal]}Service/Export")


def over_http(server: ServerProcess, signal: str, body: bytes) -> tuple[int, str]:
    """How many items were rejected and why; -1 stands for all of them."""
    answer = server.post(f"/v1/{signal}", body)
    if answer.status == 400:
        return -1, answer.message()
    assert answer.status == 200
    return partial_success(signal, answer.body)


def over_grpc(server: ServerProcess, signal: str, body: bytes) -> tuple[int, str]:
    """The same."""
    with grpc.insecure_channel(server.otlp_grpc) as channel:
        try:
            response = method(channel, signal)(body, timeout=60)
        except grpc.RpcError as error:
            refusal = error
        else:
            return partial_success(signal, response)
    assert refusal.code() is grpc.StatusCode.INVALID_ARGUMENT
    details = dict(refusal.trailing_metadata())["grpc-status-details-bin"]
    assert Status.FromString(details) == Status(code=3, message=refusal.details())
    return -1, refusal.details()


def partial_success(signal: str, body: bytes) -> tuple[int, str]:
    partial = RESPONSES[signal].FromString(body).partial_success  # type: ignore[attr-defined]
    return getattr(partial, REJECTED[signal]), partial.error_message


@pytest.fixture(params=[over_http, over_grpc])
def send(request: pytest.FixtureRequest) -> Callable[[ServerProcess, str, bytes], tuple[int, str]]:
    found: Callable[[ServerProcess, str, bytes], tuple[int, str]] = request.param
    return found


SPAN_FAULTS: dict[str, tuple[Mapping[str, Any], str]] = {
    "no trace id": ({"trace_id": b""}, "trace_id has 0 bytes instead of 16"),
    "short trace id": ({"trace_id": b"x" * 15}, "trace_id has 15 bytes instead of 16"),
    "long trace id": ({"trace_id": b"x" * 17}, "trace_id has 17 bytes instead of 16"),
    "zero trace id": ({"trace_id": bytes(16)}, "trace_id is all zero"),
    "no span id": ({"span_id": b""}, "span_id has 0 bytes instead of 8"),
    "hex span id": ({"span_id": b"0123456789abcdef"}, "span_id has 16 bytes instead of 8"),
    "zero span id": ({"span_id": bytes(8)}, "span_id is all zero"),
    "short parent id": ({"parent_span_id": b"x" * 7}, "parent_span_id has 7 bytes instead of 8"),
    "start is zero": ({"start_time_unix_nano": 0}, "start_time_unix_nano is 0"),
    "end is zero": ({"end_time_unix_nano": 0}, "end_time_unix_nano is 0"),
    "start in the far future": ({"start_time_unix_nano": 2**64 - 1}, "is in the future: check the sender's clock"),
    "end in two days": ({"end_time_unix_nano": time.time_ns() + 2 * DAY}, "is in the future: check the sender's clock"),
    "seconds for nanoseconds": ({"start_time_unix_nano": int(time.time())}, "than what is retained (see --retention)"),
    "older than retained": ({"start_time_unix_nano": time.time_ns() - 31 * DAY}, "older than what is retained"),
}  # fmt: skip


@pytest.mark.parametrize("fault", SPAN_FAULTS)
def test_a_bad_span_is_named_and_the_others_are_kept(server: ServerProcess, send: Any, fault: str) -> None:
    fields, words = SPAN_FAULTS[fault]
    trace_id = os.urandom(16).hex()
    spans = [span(trace=trace_id, id=f"{i:016x}", start=time.time_ns()) for i in range(1, 6)]
    for name, value in fields.items():
        setattr(spans[2], name, value)
    rejected, message = send(server, "traces", spans_request(spans))
    assert rejected == 1
    assert message.startswith("1 of 5 rejected: item 2: ")
    assert words in message
    assert {found["span_id"] for found in server.trace(trace_id)["spans"]} == {f"{i:016x}" for i in (1, 2, 4, 5)}

    rejected, message = send(server, "traces", spans_request([spans[2]]))
    assert rejected == -1
    assert message.startswith("1 of 1 rejected: item 0: ")
    assert words in message


RECORD_FAULTS: dict[str, tuple[Mapping[str, Any], str]] = {
    "short trace id": ({"trace_id": b"x"}, "trace_id has 1 bytes instead of 16"),
    "long span id": ({"span_id": b"x" * 9}, "span_id has 9 bytes instead of 8"),
    "no time at all": ({"time_unix_nano": 0}, "observed_time_unix_nano is 0"),
    "far future": ({"time_unix_nano": 2**63}, "time_unix_nano 9223372036854775808 is in the future"),
    "observed in the future": ({"observed_time_unix_nano": 2**64 - 1}, "observed_time_unix_nano"),
    "milliseconds": ({"time_unix_nano": int(time.time() * 1000)}, "older than what is retained"),
    "only observed, too long ago": (
        {"time_unix_nano": 0, "observed_time_unix_nano": time.time_ns() - 31 * DAY},
        "older than what is retained",
    ),
}


@pytest.mark.parametrize("fault", RECORD_FAULTS)
def test_a_bad_record_is_named_and_the_others_are_kept(server: ServerProcess, send: Any, fault: str) -> None:
    fields, words = RECORD_FAULTS[fault]
    trace_id = os.urandom(16)
    records = [log_record(time=time.time_ns() + i, body=i, trace_id=trace_id) for i in range(3)]
    for name, value in fields.items():
        setattr(records[1], name, value)
    rejected, message = send(server, "logs", logs_request(records))
    assert rejected == 1
    assert message.startswith("1 of 3 rejected: item 1: ")
    assert words in message
    assert [found["body"] for found in server.logs(2, trace_id=trace_id.hex())] == [2, 0]


@pytest.mark.parametrize(
    ("name", "moment", "words"),
    [
        ("", None, "its metric has no name"),
        ("m", 0, "time_unix_nano is 0"),
        ("m", 2**64 - 1, "is in the future"),
        ("m", 1, "older than what is retained"),
    ],
)
def test_a_bad_data_point_is_named(server: ServerProcess, send: Any, name: str, moment: int | None, words: str) -> None:
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    now = time.time_ns()
    metrics.add(name="good").gauge.data_points.add(time_unix_nano=now, as_int=1)
    metrics.add(name=name).sum.data_points.add(time_unix_nano=now if moment is None else moment, as_int=1)
    rejected, message = send(server, "metrics", request.SerializeToString())
    assert (rejected, message[: len("1 of 2 rejected: item 0: ")]) == (1, "1 of 2 rejected: item 0: ")
    assert words in message


def test_points_of_a_nameless_metric_do_not_take_equal_ones_with_them(server: ServerProcess, send: Any) -> None:
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    now = time.time_ns()
    for name in ("", "named"):
        metrics.add(name=name).gauge.data_points.add(time_unix_nano=now, as_int=1)
    assert send(server, "metrics", request.SerializeToString())[0] == 1


def test_many_faults_are_counted_and_the_first_named(server: ServerProcess, send: Any) -> None:
    trace_id = os.urandom(16).hex()
    spans = [span(trace=trace_id, id=f"{i:016x}", start=time.time_ns()) for i in range(100)]
    for bad in spans[:99]:
        bad.span_id = b""
    rejected, message = send(server, "traces", spans_request(spans))
    assert rejected == 99
    assert message.startswith("99 of 100 rejected: item 0: ")
    assert message.endswith("; and 94 more")
    assert len(server.trace(trace_id)["spans"]) == 1


def test_the_items_of_a_request_that_is_all_bad_are_counted(server: ServerProcess, send: Any) -> None:
    def figures() -> list[float]:
        names = ("watchkeeper_rejected_items_total", "watchkeeper_refused_requests_total")
        return [server.figure(name, "logs", "malformed") for name in names]

    items, requests = figures()
    assert send(server, "logs", logs_request([log_record(time=1)] * 7))[0] == -1
    assert figures() == [items + 7, requests + 1]


def test_what_is_odd_but_storable_is_taken(server: ServerProcess, send: Any) -> None:
    trace_id, now = os.urandom(16).hex(), time.time_ns()
    spans = [
        span(trace=trace_id, id="01" * 8, start=now, duration=-5),  # ends before it starts
        span(trace=trace_id, id="02" * 8, start=now + DAY // 2),  # a clock that is ahead
        span(trace=trace_id, id="03" * 8, start=now - 29 * DAY, duration=29 * DAY),
        span(trace=trace_id, id="04" * 8, start=now, kind=77, status=9),  # of a later version
        span(trace=trace_id, id="04" * 8, start=now, parent="04" * 8),  # its own parent, and a double
    ]
    spans[0].links.add(trace_id=b"short", span_id=b"")
    spans[0].events.add(time_unix_nano=2**64 - 1)
    spans[0].events.add(time_unix_nano=1)
    assert send(server, "traces", spans_request(spans)) == (0, "")
    found = {found["span_id"]: found for found in server.trace(trace_id)["spans"]}
    assert len(found) == 4
    assert found["01" * 8]["duration_ns"] == -5
    assert found["01" * 8]["links"][0]["trace_id"] == b"short".hex()
    assert found["03" * 8]["duration_ns"] == 29 * DAY


def test_fields_of_another_wire_type_and_unknown_groups_are_skipped_and_the_rest_kept(
    server: ServerProcess, send: Any
) -> None:
    trace_id, now = os.urandom(16).hex(), time.time_ns()
    odd = span(trace=trace_id, id="01" * 8, start=now, name="odd")
    odd_name = b"\x28\x07"  # field 5, the name, as a number
    group = b"\xa3\x06\x08\x01\xa4\x06"  # an unknown group, number 100
    odd = type(odd).FromString(odd.SerializeToString() + odd_name + group)
    assert len(odd.SerializeToString()) > len(odd_name + group)
    others = [span(trace=trace_id, id=f"{i:016x}", start=now) for i in range(2, 12)]
    assert send(server, "traces", spans_request([*others[:5], odd, *others[5:]])) == (0, "")
    found = {found["span_id"]: found["name"] for found in server.trace(trace_id)["spans"]}
    assert len(found) == 11
    assert found["01" * 8] == "odd"


def with_a_million_attributes(item: M, field: int) -> M:
    """The item with so many in the field of that number; protobuf lets messages be made by joining bytes."""
    attribute = key_values({"key": 1})[0].SerializeToString()
    return type(item).FromString(item.SerializeToString() + bytes([field << 3 | 2, len(attribute), *attribute]) * 10**6)


def test_a_million_attributes_are_refused_and_the_rest_kept(server: ServerProcess, send: Any) -> None:
    trace_id, now = os.urandom(16).hex(), time.time_ns()
    spans = [span(trace=trace_id, id=f"{i:016x}", start=now) for i in (1, 2)]
    spans[0] = with_a_million_attributes(spans[0], 9)
    rejected, message = send(server, "traces", spans_request(spans))
    assert (rejected, message) == (1, "1 of 2 rejected: item 0: 1,000,000 attributes, the most allowed is 10,000")
    assert len(server.trace(trace_id)["spans"]) == 1

    assert send(server, "logs", logs_request([with_a_million_attributes(log_record(time=now), 6)]))[0] == -1
    request = ExportMetricsServiceRequest()
    point = with_a_million_attributes(NumberDataPoint(time_unix_nano=now), 7)
    request.resource_metrics.add().scope_metrics.add().metrics.add(name="m").gauge.data_points.append(point)
    assert send(server, "metrics", request.SerializeToString())[0] == -1


def test_a_million_attributes_of_a_resource_or_an_event_are_kept(server: ServerProcess, send: Any) -> None:
    # there is one of these for all items or for one item: they take no more than they are
    trace_id = os.urandom(16).hex()
    eventful = span(trace=trace_id, id="01" * 8, start=time.time_ns())
    eventful.events.append(with_a_million_attributes(Span.Event(name="big"), 3))
    request = ExportTraceServiceRequest.FromString(spans_request([eventful]))
    resource = request.resource_spans[0].resource
    resource.CopyFrom(with_a_million_attributes(resource, 1))
    assert send(server, "traces", request.SerializeToString()) == (0, "")
    assert server.trace(trace_id)["spans"][0]["events"][0]["name"] == "big"


def test_of_attributes_with_the_same_key_the_last_counts(server: ServerProcess, send: Any) -> None:
    trace_id = os.urandom(16).hex()
    double = span(trace=trace_id, id="01" * 8, start=time.time_ns())
    for value in ("first", 2, True):
        double.attributes.extend(key_values({"key": value}))
    assert send(server, "traces", spans_request([double])) == (0, "")
    assert server.trace(trace_id)["spans"][0]["attributes"] == {"key": True}


def test_ten_thousand_attributes_are_kept(server: ServerProcess, send: Any) -> None:
    trace_id = os.urandom(16).hex()
    many = {f"key.{i}": i for i in range(10_000)}
    big = span(trace=trace_id, id="01" * 8, start=time.time_ns(), attributes=many)
    big.status.message = "m" * 1024 * 1024  # enough for the attributes to be counted
    assert send(server, "traces", spans_request([big])) == (0, "")
    assert server.trace(trace_id)["spans"][0]["attributes"] == many


def test_a_large_scope_is_not_multiplied_by_its_items(server: ServerProcess, send: Any) -> None:
    # 30,000 attributes with each of 1,000 spans: half a megabyte would take 1.2 GB on its way to the store
    trace_id, now = os.urandom(16).hex(), time.time_ns()
    attributes = {f"k{i}": i for i in range(30_000)}
    request = ExportTraceServiceRequest()
    scopes = request.resource_spans.add().scope_spans
    large = scopes.add()
    large.scope.attributes.extend(key_values(attributes))
    large.spans.extend(span(trace=trace_id, id=f"{i:016x}", start=now) for i in range(1, 1001))
    scopes.add().spans.append(span(trace=trace_id, id="ff" * 8, start=now))
    rejected, message = send(server, "traces", request.SerializeToString())
    assert rejected == 1000
    assert "its scope, 452,378 bytes, is too large to be kept with each of 1,000 items" in message
    assert len(server.trace(trace_id)["spans"]) == 1

    logs = ExportLogsServiceRequest()
    records = logs.resource_logs.add().scope_logs.add()
    records.scope.attributes.extend(key_values(attributes))
    records.log_records.extend(log_record(time=now) for _ in range(1000))
    assert send(server, "logs", logs.SerializeToString())[0] == -1


def test_a_large_scope_with_few_items_is_kept(server: ServerProcess, send: Any) -> None:
    trace_id = os.urandom(16).hex()
    attributes = {f"k{i}": i for i in range(1000)}
    spans = [span(trace=trace_id, id=f"{i:016x}", start=time.time_ns()) for i in range(1, 31)]
    assert send(server, "traces", spans_request(spans, scope=attributes)) == (0, "")
    assert server.trace(trace_id)["spans"][7]["scope"]["attributes"] == attributes


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_grpc_refuses_what_is_not_protobuf(server: ServerProcess, signal: str) -> None:
    rejected, message = over_grpc(server, signal, b"\x0a\xff\xff")
    assert rejected == -1
    assert "protobuf" in message
    assert over_grpc(server, signal, b"") == (0, "")


def test_grpc_refuses_unknown_methods_and_too_much(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.otlp_grpc) as channel:
        unknown = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Import")
        with pytest.raises(grpc.RpcError) as raised:
            unknown(b"", timeout=30)
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
        with pytest.raises(grpc.RpcError) as raised:
            method(channel, "traces")(bytes(33 * 1024 * 1024), timeout=60)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "larger than max" in raised.value.details()


def test_a_grpc_compression_bomb_does_not_go_off(server: ServerProcess) -> None:
    before = server.figure("watchkeeper_memory_bytes", "private")
    with grpc.insecure_channel(server.otlp_grpc, compression=grpc.Compression.Gzip) as channel:
        for _ in range(3):
            with pytest.raises(grpc.RpcError) as raised:
                method(channel, "traces")(bytes(256 * 1024 * 1024), timeout=60)
            assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert server.figure("watchkeeper_memory_bytes", "private") < before + 128 * 1024 * 1024


def test_without_retention_a_span_of_any_age_is_kept(tmp_path_factory: pytest.TempPathFactory) -> None:
    with ServerProcess(tmp_path_factory.mktemp("kept") / "data", retention="off") as keeper:
        trace_id = os.urandom(16).hex()
        body = spans_request([span(trace=trace_id, id="01" * 8, start=10**9, duration=5)])
        assert over_http(keeper, "traces", body) == (0, "")
        assert keeper.trace(trace_id)["spans"][0]["start"] == "1970-01-01T00:00:01.000000000Z"
