"""Bodies that cannot be read over HTTP: the right status, a message that says what to do, and no harm."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import random
import socket
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from support.otlp import log_record, logs_request, span, spans_request
from support.server import JSON, PROTOBUF, Answer, ServerProcess

pytestmark = pytest.mark.usefixtures("unharmed")
PATHS = ("/v1/traces", "/v1/logs", "/v1/metrics")
LIMIT = 100_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that takes small bodies only, so that tests need not send large ones."""
    data = tmp_path_factory.mktemp("bodies") / "data"
    with ServerProcess(data, receive={"body_bytes": LIMIT}, journal={"linger_seconds": 0.05}) as running:
        yield running


def good(trace_id: str = "ab" * 16, **fields: Any) -> bytes:
    return spans_request([span(trace=trace_id, id="cd" * 8, start=time.time_ns(), **fields)])


def send_for(seconds: float, connection: socket.socket) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        connection.sendall(b"2710\r\n" + bytes(10_000) + b"\r\n")


def zstd(body: bytes) -> bytes:
    compressed: bytes = pa.compress(body, "zstd", asbytes=True)
    return compressed


def assert_refused(answer: Answer, status: int, *words: str) -> None:
    assert answer.status == status
    message = answer.message()
    assert [word for word in words if word not in message] == []
    assert len(message) <= 1001


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("content_type", [PROTOBUF, JSON, f"{PROTOBUF}; charset=utf-8"])
def test_an_empty_batch_is_taken(server: ServerProcess, path: str, content_type: str) -> None:
    answer = server.post(path, b"{}" if content_type == JSON else b"", content_type)
    assert (answer.status, answer.body) == (200, b"{}" if content_type == JSON else b"")


def test_resources_and_scopes_without_items_are_taken(server: ServerProcess) -> None:
    assert server.post("/v1/traces", spans_request([])).status == 200
    assert server.post("/v1/logs", logs_request([])).status == 200


@pytest.mark.parametrize("path", PATHS)
def test_an_empty_body_is_not_json(server: ServerProcess, path: str) -> None:
    assert_refused(server.post(path, b"", JSON), 400, "not JSON")


def test_every_truncation_of_a_request_is_refused_or_whole(server: ServerProcess) -> None:
    body = good()
    for size in range(1, len(body), 7):
        assert_refused(server.post("/v1/traces", body[:size]), 400, "protobuf", "complete", "Content-Encoding")


def test_random_bytes_are_refused(server: ServerProcess) -> None:
    chance = random.Random(1)
    for path in PATHS:
        for _ in range(30):
            assert_refused(server.post(path, b"\x0a" + chance.randbytes(200)), 400, "protobuf", path[4:7].capitalize())


def test_invalid_utf8_is_refused(server: ServerProcess) -> None:
    assert_refused(server.post("/v1/traces", good(name="xxxx").replace(b"xxxx", b"\xff\xfe\xfd\xfc")), 400, "UTF-8")
    body = logs_request([log_record(time=time.time_ns(), body="xxxx")]).replace(b"xxxx", b"ab\xc3\x28")
    assert_refused(server.post("/v1/logs", body), 400, "UTF-8")
    document = json.dumps({"resourceSpans": [{"schemaUrl": "xxxx"}]}).encode().replace(b"xxxx", b"\xff\xfe")
    assert_refused(server.post("/v1/traces", document, JSON), 400, "not JSON")


@pytest.mark.parametrize("content_type", ["text/plain", "application/grpc", "application/x-www-form-urlencoded", ""])
def test_another_content_type_is_refused_in_readable_json(server: ServerProcess, content_type: str) -> None:
    answer = server.post("/v1/traces", good(), content_type)
    assert_refused(answer, 415, PROTOBUF, JSON)
    assert answer.headers["content-type"] == JSON


def test_protobuf_that_says_it_is_json_is_refused_and_the_other_way_round(server: ServerProcess) -> None:
    assert_refused(server.post("/v1/traces", good(), JSON), 400, "not JSON")
    assert_refused(server.post("/v1/traces", b'{"resourceSpans":[]}', PROTOBUF), 400, "protobuf")


@pytest.mark.parametrize("encoding", ["br", "lz4", "gzip, gzip", "compress"])
def test_an_unknown_encoding_is_refused(server: ServerProcess, encoding: str) -> None:
    assert_refused(server.post("/v1/traces", good(), content_encoding=encoding), 415, encoding, "gzip", "zstd")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "snappy"])
def test_a_body_that_is_not_compressed_as_it_says_is_refused(server: ServerProcess, encoding: str) -> None:
    for body in (good(), b"", b"\x1f\x8b\x08\x00"):
        assert_refused(server.post("/v1/traces", body, content_encoding=encoding), 400, encoding)


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", zstd)]
)
def test_a_truncated_or_continued_compressed_body_is_refused(
    server: ServerProcess, encoding: str, compress: Any
) -> None:
    for body in (compress(good())[:-5], compress(good()) + b"more"):
        assert_refused(server.post("/v1/traces", body, content_encoding=encoding), 400, encoding)


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", zstd)]
)
def test_a_compression_bomb_does_not_go_off(server: ServerProcess, encoding: str, compress: Any) -> None:
    bomb = compress(bytes(64 * 1024 * 1024))
    before = server.figure("watchkeeper_memory_bytes", "private")
    if encoding == "zstd":
        assert len(bomb) < LIMIT
    for _ in range(5):
        assert_refused(server.post("/v1/traces", bomb[:LIMIT], content_encoding=encoding), 413, "100,000", "smaller")
    assert server.figure("watchkeeper_memory_bytes", "private") < before + 32 * 1024 * 1024


def test_a_body_just_within_the_limit_is_taken(server: ServerProcess) -> None:
    size = LIMIT - len(good(name="")) - 20
    body = good(name="n" * size)
    assert LIMIT - 30 < len(body) <= LIMIT
    assert server.post("/v1/traces", body).status == 200


def test_a_body_declared_too_large_is_refused(server: ServerProcess) -> None:
    assert_refused(server.post("/v1/traces", good(name="n" * LIMIT)), 413, "100,000", "smaller")


def test_a_body_far_too_large_is_answered_although_the_sender_reads_last(server: ServerProcess) -> None:
    assert_refused(server.post("/v1/traces", bytes(20 * 1024 * 1024)), 413, "100,000", "smaller")


def test_a_body_too_large_in_chunks_is_refused(server: ServerProcess) -> None:
    chunks = (bytes(10_000) for _ in range(500))
    answer = server.request("POST", "/v1/traces", chunks, {"content-type": PROTOBUF}, place=server.otlp_http)
    assert_refused(answer, 413, "100,000", "smaller")


def test_an_endless_body_is_cut_off(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", receive={"body_bytes": LIMIT, "body_seconds": 1.0}) as hasty:
        began = time.monotonic()
        with hasty.connect() as connection:
            connection.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n")
            connection.sendall(b"transfer-encoding: chunked\r\n\r\n")
            with pytest.raises(ConnectionError):
                send_for(20, connection)
        assert time.monotonic() < began + 10


def test_a_sender_that_asks_first_is_spared_sending_too_much(server: ServerProcess) -> None:
    with server.connect() as connection:
        head = f"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: {PROTOBUF}\r\n"
        connection.sendall(f"{head}content-length: {LIMIT + 1}\r\nexpect: 100-continue\r\n\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


JSON_FAULTS = {
    "not JSON": (b"", b"{", b'{"resourceSpans": [}', b"\x00", b'{"a": NaN}', b'{"resourceSpans":[]} and more'),
    "instead of an object": (b"[]", b"null", b'"text"', b"1"),
    "ExportTraceServiceRequest in JSON": (
        b'{"resourceSpans": 1}',
        b'{"resourceSpans": {}}',
        b'{"resourceSpans": [1]}',
        b'{"resourceSpans": [null]}',
        b'{"resourceSpans": [{"scopeSpans": "x"}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": 1}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"startTimeUnixNano": -1}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"startTimeUnixNano": "soon"}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"startTimeUnixNano": 1e300}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"flags": 4294967296}]}]}]}',
        b'{"resourceSpans": [{"resource": {"attributes": [{"key": "k", "value": {"bytesValue": "!"}}]}}]}',
        b'{"resourceSpans": [{"resource": {"attributes": [{"value": {"stringValue": "a", "intValue": 1}}]}}]}',
    ),
    "is not hexadecimal": (
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xyz"}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "abc"}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"spanId": "01 02 03 04"}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"spanId": "' + b"z" * 50_000 + b'"}]}]}]}',
    ),
}  # fmt: skip


@pytest.mark.parametrize("words", JSON_FAULTS)
def test_json_that_is_no_request_is_refused(server: ServerProcess, words: str) -> None:
    for document in JSON_FAULTS[words]:
        assert_refused(server.post("/v1/traces", document, JSON), 400, words)


def test_json_that_is_nested_without_end_is_refused(server: ServerProcess) -> None:
    for opening in (b"[", b'{"a":', b'{"resourceSpans":[', b'{"resourceSpans":{'):
        assert_refused(server.post("/v1/traces", opening * (LIMIT // len(opening)), JSON), 400, "JSON")
    for depth in (50, 200, 400):
        value = b'{"arrayValue":{"values":[' * depth + b'{"boolValue":true}' + b"]}}" * depth
        body = b'{"resourceSpans":[{"resource":{"attributes":[{"key":"k","value":' + value + b"}]}}]}"
        assert server.post("/v1/traces", body, JSON).status in (200, 400)


def test_an_integer_beyond_64_bits_in_json_is_kept_as_a_double(server: ServerProcess) -> None:
    # what OpenTelemetry's JavaScript makes of a large number
    trace_id = os.urandom(16).hex()
    times = {"startTimeUnixNano": str(time.time_ns()), "endTimeUnixNano": str(time.time_ns())}
    attributes = [
        {"key": "huge", "value": {"intValue": 1e300}},
        {"key": "above", "value": {"intValue": 2**63}},
        {"key": "most", "value": {"intValue": 2**63 - 1}},
        {"key": "text", "value": {"intValue": str(-(2**63))}},
        {"key": "inner", "value": {"arrayValue": {"values": [{"intValue": -1e20}]}}},
    ]
    span = {"traceId": trace_id, "spanId": "ab" * 8, "attributes": attributes} | times
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    assert server.post("/v1/traces", json.dumps(document).encode(), JSON).status == 200
    expected = {"huge": 1e300, "above": 2.0**63, "most": 2**63 - 1, "text": -(2**63), "inner": [-1e20]}
    assert server.trace(trace_id)["spans"][0]["attributes"] == expected


def test_json_in_snake_case_with_named_enums_and_unknown_fields_is_taken(server: ServerProcess) -> None:
    trace_id, now = os.urandom(16).hex(), str(time.time_ns())
    span = {
        "trace_id": trace_id.upper(), "span_id": "AB" * 8, "kind": "SPAN_KIND_SERVER", "news": {"a": [1]},
        "start_time_unix_nano": now, "end_time_unix_nano": now,
    }  # fmt: skip
    document = {"resource_spans": [{"scope_spans": [{"spans": [span]}]}], "unknown": 1}
    answer = server.post("/v1/traces", json.dumps(document).encode(), "Application/JSON; charset=utf-8")
    assert (answer.status, answer.body) == (200, b"{}")
    assert server.trace(trace_id)["spans"][0]["kind"] == "server"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_another_method_is_refused(server: ServerProcess, method: str) -> None:
    for place in (server.url, server.otlp_http):
        answer = server.request(method, "/v1/traces", place=place)
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
        assert (b"POST" in answer.body) is (method != "HEAD")


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/traces/", "/v1/spans", "/v1/%74races/x", "/api/wk/services"])
def test_an_unknown_path_of_the_standard_port_names_the_right_ones(server: ServerProcess, path: str) -> None:
    answer = server.post(path, good())
    assert answer.status == 404
    assert b"/v1/traces" in answer.body


@pytest.mark.parametrize("path", ["/-/healthy", "/-/ready", "/metrics"])
def test_operations_are_asked_with_get_or_head(server: ServerProcess, path: str) -> None:
    for place in (server.url, server.otlp_http):
        assert server.request("GET", path, place=place).status == 200
        head = server.request("HEAD", path, place=place)
        assert (head.status, head.body) == (200, b"")
        answer = server.request("POST", path, b"x", place=place)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
        assert path.encode() in answer.body


def test_what_is_not_http_is_refused(server: ServerProcess) -> None:
    for garbage in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n\r\nx y z\r\n\r\n",
    ):
        with server.connect() as connection:
            connection.sendall(garbage)
            assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_a_refusal_leaves_the_connection_usable(server: ServerProcess) -> None:
    connection = http.client.HTTPConnection(urlsplit(server.otlp_http).netloc, timeout=60)
    connection.connect()
    own = connection.sock
    for body, status in ((b"\xff" * 10, 400), (good(), 200)) * 3:
        connection.request("POST", "/v1/traces", body, {"content-type": PROTOBUF})
        response = connection.getresponse()
        response.read()
        assert response.status == status
        assert connection.sock is own
    connection.close()


def test_a_partial_success_is_a_whole_answer_in_either_format(server: ServerProcess) -> None:
    spans = [span(trace="ab" * 16, id="cd" * 8, start=time.time_ns()) for _ in range(2)]
    spans[1].span_id = b""
    answer = server.post("/v1/traces", spans_request(spans))
    partial = ExportTraceServiceResponse.FromString(answer.body).partial_success
    assert (answer.status, partial.rejected_spans) == (200, 1)
    assert partial.error_message == "1 of 2 rejected: item 1: span_id has 0 bytes instead of 8"
