"""Every field of OTLP, by messages no SDK would make, arrives: in each format, encoding and transport."""

from __future__ import annotations

import base64
import gzip
import json
import os
import time
import zlib
from collections.abc import Callable
from typing import Any

import grpc
import pyarrow as pa
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from support.otlp import any_value, key_values
from support.server import JSON, PROTOBUF, ServerProcess
from support.values import SENT, SHOWN, assert_same
from watchkeeper_server.model.times import format_time

Send = Callable[[ServerProcess, str, Message], None]
STUBS = {"traces": TraceServiceStub, "logs": LogsServiceStub}
ID_FIELDS = ("traceId", "spanId", "parentSpanId")


def _http(content_type: str, encode: Callable[[bytes], bytes], **headers: str) -> Send:
    def send(server: ServerProcess, signal: str, request: Message) -> None:
        body = _otlp_json(request) if content_type == JSON else request.SerializeToString()
        answer = server.post(f"/v1/{signal}", encode(body), content_type, **headers)
        assert answer.status == 200, answer.message()
        assert answer.headers["content-type"] == content_type
        assert answer.body == (b"{}" if content_type == JSON else b"")

    return send


def _otlp_json(request: Message) -> bytes:
    """OTLP's JSON: protobuf's, but ids are hexadecimal and enums numbers."""

    def with_hex_ids(node: Any) -> Any:
        if isinstance(node, list):
            return [with_hex_ids(item) for item in node]
        if not isinstance(node, dict):
            return node
        return {
            key: base64.b64decode(value).hex() if key in ID_FIELDS else with_hex_ids(value)
            for key, value in node.items()
        }

    return json.dumps(with_hex_ids(MessageToDict(request, use_integers_for_enums=True))).encode()


def _grpc(compression: grpc.Compression) -> Send:
    def send(server: ServerProcess, signal: str, request: Message) -> None:
        with grpc.insecure_channel(server.otlp_grpc, compression=compression) as channel:
            response = STUBS[signal](channel).Export(request, timeout=30)  # type: ignore[no-untyped-call]
        assert not response.HasField("partial_success")

    return send


def _raw_deflate(body: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(body) + deflater.flush()


def _halves(compress: Callable[[bytes], bytes], body: bytes) -> bytes:
    """Two members, one after another, as a sender that compresses in pieces makes them."""
    return compress(body[: len(body) // 2]) + compress(body[len(body) // 2 :])


def _zstd(body: bytes) -> bytes:
    compressed: bytes = pa.compress(body, "zstd", asbytes=True)
    return compressed


SENDERS = {
    "protobuf": _http(PROTOBUF, bytes),
    "protobuf, gzip": _http(PROTOBUF, gzip.compress, content_encoding="gzip"),
    "protobuf, gzip in two members": _http(
        PROTOBUF, lambda body: _halves(gzip.compress, body), content_encoding="gzip"
    ),
    "protobuf, deflate": _http(PROTOBUF, zlib.compress, content_encoding="deflate"),
    "protobuf, raw deflate": _http(PROTOBUF, _raw_deflate, content_encoding="deflate"),
    "protobuf, zstd": _http(PROTOBUF, _zstd, content_encoding="zstd"),
    "protobuf, zstd in two frames": _http(PROTOBUF, lambda body: _halves(_zstd, body), content_encoding="zstd"),
    "protobuf, identity": _http(PROTOBUF, bytes, content_encoding="identity"),
    "json": _http(JSON, bytes),
    "json, gzip": _http(JSON, gzip.compress, content_encoding="gzip"),
    "grpc": _grpc(grpc.Compression.NoCompression),
    "grpc, gzip": _grpc(grpc.Compression.Gzip),
    "grpc, deflate": _grpc(grpc.Compression.Deflate),
}


@pytest.fixture(params=SENDERS, ids=str)
def send(request: pytest.FixtureRequest) -> Send:
    return SENDERS[request.param]


def whole_trace(trace_id: bytes, now: int) -> ExportTraceServiceRequest:
    """Two spans: one with every field set, one with none but those that must be."""
    request = ExportTraceServiceRequest()
    made = request.resource_spans.add(schema_url="https://example.com/resource/1.2.3")
    made.resource.attributes.extend(key_values({"service.name": "golden"} | SENT))
    made.resource.dropped_attributes_count = 2**32 - 1
    scoped = made.scope_spans.add(schema_url="https://example.com/scope/4.5.6")
    scoped.scope.name, scoped.scope.version = "golden.scope", "7.8.9"
    scoped.scope.attributes.extend(key_values(SENT))
    scoped.scope.dropped_attributes_count = 11
    span = scoped.spans.add(
        trace_id=trace_id,
        span_id=bytes(range(1, 9)),
        parent_span_id=bytes(range(0xF1, 0xF9)),
        trace_state="vendor=t61rcWkgMzE,other@tenant=00f067aa0ba902b7",
        flags=0x301,
        name="a span with everything",
        kind=Span.SPAN_KIND_PRODUCER,
        start_time_unix_nano=now,
        end_time_unix_nano=now + 1_234_567_891,
        attributes=key_values(SENT),
        dropped_attributes_count=12,
        dropped_events_count=13,
        dropped_links_count=2**32 - 1,
    )
    span.status.code, span.status.message = 2, "it broke: ünïcödé"
    span.events.add(time_unix_nano=now + 1, name="exception", attributes=key_values(SENT), dropped_attributes_count=14)
    span.events.add(time_unix_nano=now + 1_000_000_007)
    span.links.add(
        trace_id=bytes(range(16, 32)),
        span_id=bytes(range(32, 40)),
        trace_state="a=b",
        attributes=key_values(SENT),
        dropped_attributes_count=15,
        flags=0x101,
    )
    span.links.add(trace_id=trace_id, span_id=bytes(range(1, 9)))
    bare = request.resource_spans.add().scope_spans.add().spans.add(trace_id=trace_id, span_id=b"\0" * 7 + b"\1")
    bare.start_time_unix_nano, bare.end_time_unix_nano = now + 2, now + 2
    return request


def test_every_field_of_a_span_arrives(server: ServerProcess, send: Send) -> None:
    trace_id, now = os.urandom(16), time.time_ns()
    send(server, "traces", whole_trace(trace_id, now))

    trace = server.trace(trace_id.hex())
    full, bare = trace["spans"]
    resource = {
        "attributes": {"service.name": "golden"} | SHOWN,
        "schema_url": "https://example.com/resource/1.2.3",
        "dropped_attributes_count": 2**32 - 1,
    }
    assert_same(trace["resources"][full.pop("resource")], resource)
    expected = {
        "trace_id": trace_id.hex(),
        "span_id": "0102030405060708",
        "parent_span_id": "f1f2f3f4f5f6f7f8",
        "name": "a span with everything",
        "kind": "producer",
        "service": "golden",
        "start": format_time(now),
        "end": format_time(now + 1_234_567_891),
        "offset_ns": 0,
        "duration_ns": 1_234_567_891,
        "status": {"code": "error", "message": "it broke: ünïcödé"},
        "attributes": SHOWN,
        "events": [
            {
                "time": format_time(now + 1),
                "offset_ns": 1,
                "name": "exception",
                "attributes": SHOWN,
                "dropped_attributes_count": 14,
            },
            {
                "time": format_time(now + 1_000_000_007),
                "offset_ns": 1_000_000_007,
                "name": "",
                "attributes": {},
                "dropped_attributes_count": 0,
            },
        ],
        "links": [
            {
                "trace_id": bytes(range(16, 32)).hex(),
                "span_id": bytes(range(32, 40)).hex(),
                "trace_state": "a=b",
                "flags": 0x101,
                "attributes": SHOWN,
                "dropped_attributes_count": 15,
            },
            {
                "trace_id": trace_id.hex(),
                "span_id": "0102030405060708",
                "trace_state": "",
                "flags": 0,
                "attributes": {},
                "dropped_attributes_count": 0,
            },
        ],
        "scope": {
            "name": "golden.scope",
            "version": "7.8.9",
            "attributes": SHOWN,
            "schema_url": "https://example.com/scope/4.5.6",
            "dropped_attributes_count": 11,
        },
        "trace_state": "vendor=t61rcWkgMzE,other@tenant=00f067aa0ba902b7",
        "flags": 0x301,
        "dropped_attributes_count": 12,
        "dropped_events_count": 13,
        "dropped_links_count": 2**32 - 1,
    }
    assert_same(full, expected)
    assert trace["resources"][bare.pop("resource")] == {
        "attributes": {},
        "schema_url": "",
        "dropped_attributes_count": 0,
    }
    assert bare == {
        "trace_id": trace_id.hex(),
        "span_id": "0000000000000001",
        "parent_span_id": None,
        "name": "",
        "kind": "unspecified",
        "service": "",
        "start": format_time(now + 2),
        "end": format_time(now + 2),
        "offset_ns": 2,
        "duration_ns": 0,
        "status": {"code": "unset", "message": ""},
        "attributes": {},
        "events": [],
        "links": [],
        "scope": {"name": "", "version": "", "attributes": {}, "schema_url": "", "dropped_attributes_count": 0},
        "trace_state": "",
        "flags": 0,
        "dropped_attributes_count": 0,
        "dropped_events_count": 0,
        "dropped_links_count": 0,
    }


def test_every_field_of_a_log_record_arrives(server: ServerProcess, send: Send) -> None:
    trace_id, now = os.urandom(16), time.time_ns()
    request = ExportLogsServiceRequest()
    made = request.resource_logs.add(schema_url="https://example.com/resource/1.2.3")
    made.resource.attributes.extend(key_values({"service.name": "golden"} | SENT))
    made.resource.dropped_attributes_count = 3
    scoped = made.scope_logs.add(schema_url="https://example.com/scope/4.5.6")
    scoped.scope.name, scoped.scope.version = "golden.scope", "7.8.9"
    scoped.scope.attributes.extend(key_values(SENT))
    scoped.scope.dropped_attributes_count = 4
    scoped.log_records.add(
        time_unix_nano=now,
        observed_time_unix_nano=now + 5,
        severity_number=18,  # type: ignore[arg-type]  an enum's number
        severity_text="Error 2",
        body=any_value("the body"),
        attributes=key_values(SENT),
        dropped_attributes_count=2**32 - 1,
        flags=1,
        trace_id=trace_id,
        span_id=bytes(range(1, 9)),
        event_name="order.placed",
    )
    send(server, "logs", request)

    expected = [
        {
            "time": format_time(now),
            "observed_time": format_time(now + 5),
            "severity": "error",
            "severity_number": 18,
            "severity_text": "Error 2",
            "service": "golden",
            "body": "the body",
            "event_name": "order.placed",
            "trace_id": trace_id.hex(),
            "span_id": "0102030405060708",
            "flags": 1,
            "attributes": SHOWN,
            "dropped_attributes_count": 2**32 - 1,
            "scope": {
                "name": "golden.scope",
                "version": "7.8.9",
                "attributes": SHOWN,
                "schema_url": "https://example.com/scope/4.5.6",
                "dropped_attributes_count": 4,
            },
            "resource": {
                "attributes": {"service.name": "golden"} | SHOWN,
                "schema_url": "https://example.com/resource/1.2.3",
                "dropped_attributes_count": 3,
            },
        }
    ]
    assert_same(server.logs(trace_id=trace_id.hex()), expected)


def test_a_body_of_each_type_arrives(server: ServerProcess, send: Send) -> None:
    trace_id, now = os.urandom(16), time.time_ns()
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for i, value in enumerate(SENT.values()):
        records.add(time_unix_nano=now + i, trace_id=trace_id, body=any_value(value))
    send(server, "logs", request)

    found = server.logs(len(SENT), trace_id=trace_id.hex(), limit=len(SENT))
    assert_same([record["body"] for record in reversed(found)], list(SHOWN.values()))


def test_every_severity_arrives(server: ServerProcess) -> None:
    trace_id, now = os.urandom(16), time.time_ns()
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for number in range(25):
        record = records.add(time_unix_nano=now + number, trace_id=trace_id, severity_text=f"Level{number}")
        record.severity_number = number  # type: ignore[assignment]  an enum's number
    SENDERS["protobuf"](server, "logs", request)

    words = ["unset", *(word for word in ("trace", "debug", "info", "warn", "error", "fatal") for _ in range(4))]
    found = server.logs(25, trace_id=trace_id.hex())
    assert [(r["severity_number"], r["severity"], r["severity_text"]) for r in reversed(found)] == [
        (number, word, f"Level{number}") for number, word in enumerate(words)
    ]


def test_a_record_that_was_only_observed_is_dated_by_that(server: ServerProcess) -> None:
    trace_id, now = os.urandom(16), time.time_ns()
    request = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.add(observed_time_unix_nano=now, trace_id=trace_id)
    SENDERS["protobuf"](server, "logs", request)
    (record,) = server.logs(trace_id=trace_id.hex())
    assert (record["time"], record["observed_time"]) == (format_time(now), format_time(now))


def test_both_http_ports_take_otlp(server: ServerProcess) -> None:
    for place in (server.url, server.otlp_http):
        trace_id = os.urandom(16)
        body = whole_trace(trace_id, time.time_ns()).SerializeToString()
        assert server.request("POST", "/v1/traces", body, {"content-type": PROTOBUF}, place=place).status == 200
        assert len(server.trace(trace_id.hex())["spans"]) == 2
