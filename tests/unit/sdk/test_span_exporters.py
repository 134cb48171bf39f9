"""Ways for spans to leave besides OTLP over HTTP: gRPC, Zipkin, a terminal."""

from __future__ import annotations

import importlib.util
import ipaddress
import json
import re
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.trace import SpanKind, StatusCode

import watchkeeper as wk
from support.sdk import Sink, dropped, status
from watchkeeper import ConfigurationError, LogOptions, Options, QueueOptions, ServiceOptions, SignalOptions
from watchkeeper.export.console import LARGEST_TEXT, MOST_ROWS, MOST_WAITING, Console, bar_of, duration_text
from watchkeeper.export.otlp.grpc import GrpcEndpoint, retry_delay_seconds
from watchkeeper.export.zipkin import ZipkinEncoder
from watchkeeper.testing import FakeClock, SequentialIds
from watchkeeper.tracing.sampling import always_on
from watchkeeper.tracing.span import Span
from watchkeeper.tracing.tracer import Tracer, TracerProvider

QUIET = LogOptions(stream="off")
PROMPT = QueueOptions(delay_seconds=0.05)
RESOURCE = {"service.name": "shop", "host.name": "a", "process.pid": 7}


@pytest.fixture
def time() -> FakeClock:
    return FakeClock()


@pytest.fixture
def spans() -> list[Span]:
    return []


@pytest.fixture
def tracer(spans: list[Span], time: FakeClock) -> Tracer:
    return TracerProvider(spans.append, always_on, SequentialIds(), time.clock()).get_tracer("library", "1.2")


# gRPC


class Collector(
    trace_service_pb2_grpc.TraceServiceServicer,
    logs_service_pb2_grpc.LogsServiceServicer,
    metrics_service_pb2_grpc.MetricsServiceServicer,
):
    """All three services; `answers` are used up one a call, the last one for all that follow."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.metadata: list[dict[str, str]] = []
        self.answers: list[Any] = [None]
        self.address = ""

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802  # the service's name
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, tuple):
            code, detail = answer
            context.set_trailing_metadata((("grpc-status-details-bin", detail),) if detail else ())
            context.abort(code, "no")
        if answer is not None:
            return answer
        kind = type(request).__name__
        responses = (ExportTraceServiceResponse, ExportLogsServiceResponse, ExportMetricsServiceResponse)
        return next(response() for response in responses if response.__name__[:9] == kind[:9])

    def names(self) -> list[str]:
        return [
            span.name
            for request in self.requests
            if hasattr(request, "resource_spans")
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(found, server)
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(found, server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(found, server)
    found.address = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield found
    wk.shutdown(0.5)
    server.stop(None).wait()


def test_all_signals_go_over_grpc(collector: Collector) -> None:
    export = {
        name: SignalOptions(collector.address, {"API-Key": "secret"}, protocol="grpc")
        for name in ("traces", "logs", "metrics")
    }
    wk.configure(Options(logs=QUIET, export=export, queue=PROMPT))
    with wk.span("work"):
        wk.get_logger("x").info("hello")
    assert wk.flush()
    assert collector.names() == ["work"]
    assert {type(request).__name__ for request in collector.requests} == {
        "ExportTraceServiceRequest",
        "ExportLogsServiceRequest",
        "ExportMetricsServiceRequest",
    }
    assert collector.metadata[0]["api-key"] == "secret"
    assert collector.metadata[0]["user-agent"].startswith("watchkeeper-python/")


def endpoint(collector: Collector, **options: Any) -> GrpcEndpoint:
    return GrpcEndpoint("traces", SignalOptions(collector.address, protocol="grpc", **options), "test")


def test_a_compressed_body_arrives_too(collector: Collector, spans: list[Span], tracer: Tracer) -> None:
    wk.configure(
        Options(logs=QUIET, export={"traces": SignalOptions(collector.address, protocol="grpc", compression="gzip")})
    )
    with wk.span("x" * 10_000):
        pass
    assert wk.flush()
    assert collector.names() == ["x" * 10_000]


def test_a_partial_success_is_counted(collector: Collector) -> None:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 3
    answer.partial_success.error_message = "too old"
    collector.answers = [answer]
    outlet = endpoint(collector)
    found = outlet.post(b"", 5)
    outlet.close()
    assert (found.delivered, found.rejected, found.detail) == (True, 3, "too old")


def retry_info(seconds: int, nanos: int = 0) -> bytes:
    info = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=seconds, nanos=nanos))
    detail = any_pb2.Any()
    detail.Pack(info)
    return bytes(status_pb2.Status(code=8, message="busy", details=[detail]).SerializeToString())


@pytest.mark.parametrize(
    ("code", "detail", "retry", "delay"),
    [
        (grpc.StatusCode.UNAVAILABLE, b"", True, None),
        (grpc.StatusCode.UNAVAILABLE, retry_info(2, 500_000_000), True, 2.5),
        (grpc.StatusCode.DEADLINE_EXCEEDED, b"", True, None),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, b"", False, None),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, retry_info(1), True, 1.0),
        (grpc.StatusCode.INVALID_ARGUMENT, b"", False, None),
        (grpc.StatusCode.UNAUTHENTICATED, b"", False, None),
        (grpc.StatusCode.UNIMPLEMENTED, b"", False, None),
    ],
)
def test_a_refusal_is_tried_again_where_otlp_says_so(
    collector: Collector, code: grpc.StatusCode, detail: bytes, retry: bool, delay: float | None
) -> None:
    collector.answers = [(code, detail)]
    outlet = endpoint(collector)
    answer = outlet.post(b"", 5)
    outlet.close()
    assert (answer.delivered, answer.retry, answer.retry_after_seconds) == (False, retry, delay)
    assert code.name in answer.detail


def test_nobody_there_is_an_answer_to_try_again() -> None:
    outlet = GrpcEndpoint("traces", SignalOptions("http://127.0.0.1:1", protocol="grpc"), "test")
    answer = outlet.post(b"", 2)
    outlet.close()
    assert (answer.delivered, answer.retry, answer.reason) == (False, True, "unreachable")


@pytest.mark.parametrize("status_bytes", [b"", b"\xff\xff", b"\x1a\x05abc", b"\x1a\x00", retry_info(0)[:-4]])
def test_a_broken_status_tells_no_delay(status_bytes: bytes) -> None:
    assert retry_delay_seconds(status_bytes) in {None, 0.0}


def test_a_retry_delay_is_bounded() -> None:
    assert retry_delay_seconds(retry_info(86_400)) == 300.0


def test_a_missing_grpcio_is_named_by_configure(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("watchkeeper.export.options.find_spec", lambda name: None if name == "grpc" else find(name))
    with pytest.raises(ConfigurationError, match=r"needs the package grpcio: pip install 'watchkeeper\[grpc\]'"):
        wk.configure(Options(export={"traces": SignalOptions("http://a:4317", protocol="grpc")}))


def test_the_environment_chooses_grpc_for_all_signals_or_one() -> None:
    exporters = {f"OTEL_{signal}_EXPORTER": "otlp" for signal in ("TRACES", "LOGS", "METRICS")}
    export = Options.from_environment({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", **exporters}).export
    assert {(target.endpoint, target.protocol) for target in export.values()} == {("http://localhost:4317", "grpc")}
    export = Options.from_environment(
        {
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://a:1",
            "OTEL_LOGS_EXPORTER": "otlp",
        }
    ).export
    assert export["traces"] == SignalOptions("https://a:1", protocol="grpc")
    assert export["logs"] == SignalOptions("http://localhost:4318/v1/logs")


@pytest.mark.parametrize(("insecure", "url"), [("", "https://collector:4317"), ("true", "http://collector:4317")])
def test_a_grpc_endpoint_without_a_scheme_is_secure_unless_said_otherwise(insecure: str, url: str) -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317",
        "OTEL_EXPORTER_OTLP_INSECURE": insecure,
    }
    assert Options.from_environment(environ).export["traces"].endpoint == url


def test_a_protocol_that_is_not_spoken_is_named() -> None:
    with pytest.raises(ConfigurationError, match="OTEL_EXPORTER_OTLP_PROTOCOL is 'http/thrift': use one of"):
        Options.from_environment({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/thrift"})


# Zipkin: the shapes are those of https://github.com/openzipkin/zipkin-api/blob/master/zipkin2-api.yaml


def check_span(span: dict[str, Any]) -> None:
    """Fails for anything that zipkin2-api.yaml does not allow."""
    assert re.fullmatch("[a-f0-9]{16,32}", span["traceId"])
    assert re.fullmatch("[a-f0-9]{16}", span["id"])
    assert re.fullmatch("[a-f0-9]{16}", span.get("parentId", span["id"]))
    assert span.get("kind", "CLIENT") in {"CLIENT", "SERVER", "PRODUCER", "CONSUMER"}
    assert type(span["timestamp"]) is type(span["duration"]) is int
    assert span["duration"] >= 1
    assert all(type(key) is type(value) is str for key, value in span["tags"].items())
    for annotation in span.get("annotations", ()):
        assert (set(annotation), type(annotation["timestamp"]), type(annotation["value"])) == (
            {"timestamp", "value"},
            int,
            str,
        )
    for name in ("localEndpoint", "remoteEndpoint"):
        endpoint = span.get(name, {})
        assert set(endpoint) <= {"serviceName", "ipv4", "ipv6", "port"}
        ipaddress.IPv4Address(endpoint.get("ipv4", "127.0.0.1"))
        ipaddress.IPv6Address(endpoint.get("ipv6", "::1"))
        assert type(endpoint.get("port", 1)) is int
    assert set(span) <= {
        "traceId", "id", "parentId", "kind", "name", "timestamp", "duration", "localEndpoint", "remoteEndpoint",
        "annotations", "tags", "debug", "shared",
    }  # fmt: skip


def zipkin(spans: list[Span]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(ZipkinEncoder(RESOURCE).encode(spans))
    for span in found:
        check_span(span)
    return found


def test_a_span_becomes_zipkins_by_opentelemetrys_mapping(time: FakeClock, spans: list[Span], tracer: Tracer) -> None:
    with tracer.start_as_current_span("outer"):
        attributes = {"server.address": "192.0.2.7", "server.port": 5432, "ok": True, "list": ["a", 1], "n": 1.5}
        inner = tracer.start_span("SELECT", kind=SpanKind.CLIENT, attributes=attributes)
        inner.add_event("noted")
        inner.add_event("retried", {"attempt": 2})
        inner.set_status(StatusCode.ERROR, "broken")
        time.advance(0.0025)
        inner.end()
    select, outer = zipkin(spans)
    at = spans[0].start_time // 1_000
    assert select == {
        "traceId": f"{1:032x}",
        "id": f"{2:016x}",
        "parentId": f"{1:016x}",
        "name": "SELECT",
        "kind": "CLIENT",
        "timestamp": at,
        "duration": 2_500,
        "localEndpoint": {"serviceName": "shop"},
        "remoteEndpoint": {"serviceName": "192.0.2.7", "ipv4": "192.0.2.7", "port": 5432},
        "annotations": [{"timestamp": at, "value": "noted"}, {"timestamp": at, "value": '"retried": {"attempt":2}'}],
        "tags": {
            "host.name": "a",
            "process.pid": "7",
            "server.address": "192.0.2.7",
            "server.port": "5432",
            "ok": "true",
            "list": '["a",1]',
            "n": "1.5",
            "otel.scope.name": "library",
            "otel.scope.version": "1.2",
            "otel.status_code": "ERROR",
            "error": "broken",
        },
    }
    assert "parentId" not in outer
    assert "kind" not in outer
    assert not {"error", "otel.status_code"} & set(outer["tags"])


def test_any_value_and_any_name_become_valid_json(spans: list[Span], tracer: Tracer) -> None:
    values = {"bytes": b"\x00\xff", "none": None, "deep": {"a": [b"x", {"b": "\ud800"}]}, "lone": "a\ud800", "nan": 0.0}
    span = tracer.start_span("na\ud800me", kind=SpanKind.PRODUCER, attributes={**values, "nan": float("nan")})
    span.add_event("e\ud800", {"k\ud800": "\ud800"})
    span.set_status(StatusCode.OK)
    span.end()
    (found,) = zipkin(spans)
    assert (found["name"], found["tags"]["lone"], found["tags"]["otel.status_code"]) == ("na?me", "a?", "OK")
    assert found["duration"] == 1, "zero would say that it is not known"


@pytest.mark.parametrize(
    ("attributes", "remote"),
    [
        ({"peer.service": "billing", "server.address": "pay.example"}, {"serviceName": "billing"}),
        ({"server.address": "pay.example", "server.port": 443}, {"serviceName": "pay.example", "port": 443}),
        ({"network.peer.address": "2001:db8::1"}, {"serviceName": "2001:db8::1", "ipv6": "2001:db8::1"}),
        ({"server.port": 443}, None),
        ({}, None),
    ],
)
def test_the_remote_endpoint_is_what_the_attributes_know(
    spans: list[Span], tracer: Tracer, attributes: dict[str, Any], remote: dict[str, Any] | None
) -> None:
    tracer.start_span("call", kind=SpanKind.CLIENT, attributes=attributes).end()
    (found,) = zipkin(spans)
    assert found.get("remoteEndpoint") == remote


def test_what_found_no_room_in_a_span_is_told(spans: list[Span], tracer: Tracer) -> None:
    span = tracer.start_span("wide", attributes={f"k{number}": number for number in range(130)})
    span.end()
    assert zipkin(spans)[0]["tags"]["otel.dropped_attributes_count"] == "2"


def test_zipkin_is_posted_as_json_and_a_refusal_is_tried_again(sink: Sink) -> None:
    sink.answers = [status(503, retry_after="0"), status(202)]
    export = {"traces": SignalOptions(f"{sink.url}/api/v2/spans", protocol="zipkin")}
    wk.configure(Options(service=ServiceOptions("shop"), logs=QUIET, export=export, queue=PROMPT))
    with wk.span("work"):
        pass
    wk.shutdown(5)
    path, headers, body = sink.requests[-1]
    assert (path, headers["content-type"]) == ("/api/v2/spans", "application/json")
    (span,) = json.loads(body)
    check_span(span)
    assert (span["name"], span["localEndpoint"]) == ("work", {"serviceName": "shop"})


def test_the_environment_chooses_zipkin() -> None:
    environ = {"OTEL_TRACES_EXPORTER": "zipkin"}
    export = Options.from_environment(environ).export
    assert export["traces"] == SignalOptions("http://localhost:9411/api/v2/spans", protocol="zipkin")
    assert export["logs"].protocol == "http/protobuf"
    more = {"OTEL_EXPORTER_ZIPKIN_ENDPOINT": "http://z:1/x", "OTEL_EXPORTER_ZIPKIN_TIMEOUT": "2000"}
    target = Options.from_environment({**environ, **more}).export["traces"]
    assert target == SignalOptions("http://z:1/x", timeout_seconds=2.0, protocol="zipkin")
    with pytest.raises(ConfigurationError, match="OTEL_EXPORTER_ZIPKIN_ENDPOINT"):
        Options.from_environment({**environ, "OTEL_EXPORTER_ZIPKIN_ENDPOINT": "zipkin:9411"})


@pytest.mark.parametrize("protocol", ["zipkin", "console"])
def test_only_traces_speak_zipkin_and_console(protocol: Any) -> None:
    with pytest.raises(ConfigurationError, match="only traces"):
        Options(export={"logs": SignalOptions("http://a:1", protocol=protocol)}).validate()


def test_only_traces_are_exported_to_zipkin() -> None:
    with pytest.raises(ConfigurationError, match="OTEL_LOGS_EXPORTER"):
        Options.from_environment({"OTEL_LOGS_EXPORTER": "zipkin"})


# The terminal


def test_a_trace_is_a_tree(time: FakeClock, spans: list[Span], tracer: Tracer) -> None:
    declined = ValueError("card declined")
    with tracer.start_as_current_span("POST /orders", kind=SpanKind.SERVER) as root:
        with tracer.start_as_current_span("validate", attributes={"items": 3}):
            time.advance(0.25)
        with tracer.start_as_current_span("charge") as charge:
            time.advance(0.25)
            with tracer.start_as_current_span("POST", kind=SpanKind.CLIENT):
                time.advance(0.5)
            charge.fail(declined)
        root.fail(declined)
    assert (
        Console(RESOURCE, "stdout", colours=False).encode(spans).decode()
        == """\
✗ POST /orders  shop · 1.00 s · 4 spans · 2 errors  00000000000000000000000000000001
  POST /orders                                 ████████████████████████████   1.00 s  server
  │ ✗ ValueError: card declined
  ├─ validate                                  ███████                        250 ms  items=3
  └─ charge                                           █████████████████████   750 ms
     │ ✗ ValueError: card declined
     └─ POST                                                 ██████████████   500 ms  client

"""
    )


def test_a_tree_is_printed_once_its_root_has_ended(spans: list[Span], tracer: Tracer) -> None:
    console = Console(RESOURCE, "stdout", colours=False)
    with tracer.start_as_current_span("root"):
        tracer.start_span("child").end()
        assert console.encode(spans) == b""
    text = console.encode(spans[1:]).decode()
    assert text.index("root") < text.index("└─ child")


def test_what_never_had_a_root_is_printed_at_the_end(
    spans: list[Span], tracer: Tracer, capsys: pytest.CaptureFixture[str]
) -> None:
    console = Console(RESOURCE, "stdout", colours=False)
    with tracer.start_as_current_span("root"):
        tracer.start_span("orphan").end()
    console.encode(spans[:1])
    console.close()
    assert "orphan" in capsys.readouterr().out


def test_what_waits_for_a_root_is_bounded(spans: list[Span], tracer: Tracer) -> None:
    console = Console(RESOURCE, "stdout", colours=False)
    for _ in range(3):
        with tracer.start_as_current_span("root"):
            for _ in range(MOST_WAITING // 2):
                tracer.start_span("child").end()
        spans.pop()
    text = console.encode(spans).decode()
    assert text.count("… 800 more spans") == 1
    assert sum(len(held) for held in console._waiting.values()) <= MOST_WAITING


def test_deep_and_wide_trees_are_cut_and_say_so(spans: list[Span], tracer: Tracer) -> None:
    outer = [tracer.start_as_current_span("level") for _ in range(1_500)]
    for current in outer:
        current.__enter__()
    for current in reversed(outer):
        current.__exit__(None, None, None)
    text = Console(RESOURCE, "stdout", colours=False).encode(spans).decode()
    assert f"… {1_500 - MOST_ROWS} more spans" in text
    assert len(text) < LARGEST_TEXT


def test_a_name_cannot_steer_the_terminal(spans: list[Span], tracer: Tracer) -> None:
    tracer.start_span("evil\x1b[2J\n\x9b", attributes={"a\x1b": "b\x07"}).end()
    text = Console(RESOURCE, "stdout", colours=False).encode(spans).decode()
    assert "evil\\x1b[2J\\x0a\\x9b" in text
    assert "\x1b" not in text
    assert "\x07" not in text


def test_colours_are_for_terminals_that_want_them(
    spans: list[Span], tracer: Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracer.start_span("s").end()
    assert b"\x1b[32m" in Console(RESOURCE, "stdout", colours=True).encode(spans)
    assert b"\x1b" not in Console(RESOURCE, "stdout").encode(spans), "captured output is no terminal"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert b"\x1b" in Console(RESOURCE, "stdout").encode(spans)
    monkeypatch.setenv("NO_COLOR", "1")
    assert b"\x1b" not in Console(RESOURCE, "stdout").encode(spans)


@pytest.mark.parametrize(
    ("start", "end", "bar"),
    [(0.0, 1.0, "█" * 28), (0.0, 0.0, "▏"), (1.0, 1.0, " " * 27 + "█"), (0.5, 0.75, " " * 14 + "█" * 7)],
)
def test_a_bar_is_never_invisible_and_never_too_long(start: float, end: float, bar: str) -> None:
    assert bar_of(start, end) == bar.ljust(28)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 ns"),
        (-5, "0 ns"),
        (999, "999 ns"),
        (21_300, "21.3 µs"),
        (1_250_000, "1.25 ms"),
        (250_000_000, "250 ms"),
        (59_900_000_000, "59.9 s"),
        (125_000_000_000, "2 m 05 s"),
    ],
)
def test_durations_are_told_to_three_digits(nanoseconds: int, text: str) -> None:
    assert duration_text(nanoseconds) == text


def test_configure_prints_trees(capsys: pytest.CaptureFixture[str]) -> None:
    export = Options.from_environment({"OTEL_TRACES_EXPORTER": "console"}).export
    wk.configure(Options(logs=QUIET, export={"traces": export["traces"]}, queue=PROMPT))
    with wk.span("outer"), wk.span("inner"):
        pass
    wk.shutdown()
    assert "└─ inner" in capsys.readouterr().out


def test_a_closed_stream_harms_nobody(
    spans: list[Span], tracer: Tracer, monkeypatch: pytest.MonkeyPatch, production: None
) -> None:
    class Closed:
        def write(self, _text: str) -> None:
            raise ValueError("I/O operation on closed file")

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr("sys.stderr", Closed())
    before = dropped("traces", "stream_closed")
    wk.configure(Options(logs=QUIET, export={"traces": SignalOptions("stderr", protocol="console")}, queue=PROMPT))
    with wk.span("lost"):
        pass
    wk.shutdown()
    assert dropped("traces", "stream_closed") - before == 1
