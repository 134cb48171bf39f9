"""The way out, against real servers that answer, refuse, hang and fail."""

from __future__ import annotations

import logging
import re
import socket
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

import watchkeeper as wk
from support.ports import unused_port
from support.programs import ended
from support.sdk import Sink, attributes, dropped, eventually, ok, request, status
from watchkeeper import (
    HealthOptions,
    LogOptions,
    MetricOptions,
    Options,
    QueueOptions,
    ServiceOptions,
    SignalOptions,
    TraceOptions,
)
from watchkeeper.client import running_client
from watchkeeper.export import exporter
from watchkeeper.export.boundary import DROPPED, Boundary
from watchkeeper.export.exporter import Lane
from watchkeeper.export.queue import Queue
from watchkeeper.export.transport import Answer, Endpoint, partial_success, retry_after_seconds

QUIET = LogOptions(stream="off")


@pytest.fixture(autouse=True)
def silent(production: None) -> None:
    """These tests make the exporter fail on purpose."""


@pytest.fixture
def hanging() -> Any:
    """A server that accepts connections and never says a word."""
    server = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []
    stopped = threading.Event()

    def accept() -> None:
        server.settimeout(0.05)
        while not stopped.is_set():
            try:
                connections.append(server.accept()[0])
            except TimeoutError:
                continue

    thread = threading.Thread(target=accept)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    wk.shutdown(0.1)
    stopped.set()
    thread.join()
    for connection in connections:
        connection.close()
    server.close()


def refused() -> str:
    """An address at which nobody listens."""
    return f"http://127.0.0.1:{unused_port()}"


def only(signal: str, url: str, **queue: Any) -> Options:
    target = SignalOptions(f"{url}/v1/{signal}", timeout_seconds=2)
    return Options(export={signal: target}, logs=QUIET, queue=QueueOptions(**{"delay_seconds": 0.05, **queue}))


async def test_a_request_arrives_as_span_log_record_and_metrics(sink: Sink) -> None:
    options = sink.options(
        logs=QUIET,
        service=ServiceOptions(name="shop", version="1.2", environment="prod", attributes={"team": "a"}),
        health=HealthOptions(checks=()),  # a busy machine would have its say
    )
    wk.configure(options)
    app, log = FastAPI(), wk.get_logger("shop.orders")

    @app.get("/arrives/{order_id}")
    async def order(order_id: int) -> Any:
        log.info("shown", order_id=order_id)
        return {}

    await request(wk.instrument(app), "/arrives/7")
    assert wk.flush()
    (span,) = sink.spans()
    (record,) = sink.records()
    assert (span.name, record.body.string_value) == ("GET /arrives/{order_id}", "shown")
    assert (record.trace_id, record.span_id) == (span.trace_id, span.span_id)
    assert attributes(span)["http.route"] == "/arrives/{order_id}"
    points = {tuple(sorted(attributes(p).items())): p for p in sink.metrics()["http_requests"].sum.data_points}
    point = points[(("method", "GET"), ("route", "/arrives/{order_id}"), ("status", "200"))]
    assert point.as_double == 1
    durations = sink.metrics()["http_request_duration_seconds"]
    assert (durations.unit, durations.histogram.data_points[0].explicit_bounds[0]) == ("s", 0.005)


def test_every_signal_names_the_service_and_the_process(sink: Sink) -> None:
    wk.configure(sink.options(logs=QUIET, service=ServiceOptions("shop", "1.2", "prod", {"team": "a"})))
    with wk.span("s"):
        pass
    wk.flush()
    resource = ExportTraceServiceRequest.FromString(sink.bodies("/v1/traces")[0]).resource_spans[0].resource
    found = attributes(resource)
    assert found["service.name"] == "shop"
    assert (found["service.version"], found["deployment.environment.name"], found["team"]) == ("1.2", "prod", "a")
    assert len(found["service.instance.id"]) == 36
    assert isinstance(found["process.pid"], int)


def test_the_reasons_for_which_anything_may_be_dropped_are_told_from_the_start_at_zero(sink: Sink) -> None:
    DROPPED.clear()
    wk.configure(replace(only("traces", sink.url), metrics=MetricOptions()))
    samples = [sample for family in DROPPED.collect() for sample in family.samples if sample.name.endswith("_total")]
    told = {tuple(sample.labels.values()): sample.value for sample in samples}
    lane = {("traces", reason): 0.0 for reason in ("queue_full", "unreachable", "shutdown")}
    assert told | lane | {("metrics", "label_limit"): 0.0} == told
    assert not [signal for signal, _ in told if signal == "logs"]


def test_headers_are_sent_and_large_bodies_gzipped_when_asked(sink: Sink) -> None:
    target = SignalOptions(f"{sink.url}/v1/traces", headers={"API-Key": "k"}, compression="gzip")
    wk.configure(replace(only("traces", sink.url), export={"traces": target}))
    with wk.span("small"):
        pass
    wk.flush()
    for number in range(200):
        with wk.span("large", number=number, text="x" * 100):
            pass
    wk.flush()
    small, large = (headers for _, headers, _ in sink.requests)
    assert small["api-key"] == "k"
    assert small["content-type"] == "application/x-protobuf"
    assert "content-encoding" not in small
    assert large["content-encoding"] == "gzip"
    assert len(sink.spans()) == 201


def test_bytes_that_stay_on_this_machine_are_not_compressed() -> None:
    assert not Endpoint(SignalOptions("http://localhost:4318/v1/traces"), "t")._compress
    assert not Endpoint(SignalOptions("http://[::1]:4318/v1/traces"), "t")._compress
    assert Endpoint(SignalOptions("https://otlp.example/v1/traces"), "t")._compress


@pytest.mark.parametrize("code", [429, 502, 503, 504])
def test_what_may_be_tried_again_is_and_nothing_is_lost(sink: Sink, code: int) -> None:
    sink.answers = [status(code, retry_after="0.01"), ok]
    wk.configure(only("traces", sink.url))
    before = dropped("traces", f"http_{code}")
    with wk.span("kept"):
        pass
    eventually(lambda: len(sink.requests) == 2)
    assert {span.name for span in sink.spans()} == {"kept"}
    assert dropped("traces", f"http_{code}") == before


@pytest.mark.parametrize("code", [400, 401, 413, 500])
def test_what_may_not_be_tried_again_is_dropped_and_counted(sink: Sink, code: int) -> None:
    sink.answers = [status(code)]
    wk.configure(only("traces", sink.url))
    before = dropped("traces", f"http_{code}")
    for _ in range(3):
        with wk.span("lost"):
            pass
    assert wk.flush()
    assert dropped("traces", f"http_{code}") == before + 3


def test_a_partial_success_counts_what_was_rejected(sink: Sink) -> None:
    body = ExportTraceServiceResponse()
    body.partial_success.rejected_spans = 2
    body.partial_success.error_message = "too old"
    answer = body.SerializeToString()

    def partly(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", str(len(answer)))
        handler.end_headers()
        handler.wfile.write(answer)

    sink.answers = [partly]
    assert partial_success(answer) == (2, "too old")
    wk.configure(only("traces", sink.url))
    before = dropped("traces", "rejected")
    with wk.span("s"):
        pass
    wk.flush()
    assert dropped("traces", "rejected") == before + 2


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff\xff", b"\x0a\x05ab", b"<html>"])
def test_an_answer_that_is_no_protobuf_is_a_success(body: Any) -> None:
    assert partial_success(body) == (0, "")


def test_retry_after_is_seconds_or_a_date_and_bounded() -> None:
    assert retry_after_seconds("3", 0) == 3
    assert retry_after_seconds("Thu, 01 Jan 1970 00:01:00 GMT", 50) == 10
    assert retry_after_seconds("86400", 0) == 300
    assert retry_after_seconds("-1", 0) == 0
    assert [retry_after_seconds(text, 0) for text in (None, "soon", "nan")] == [None, None, None]


class Scripted:
    """An endpoint that gives the answers it was made with."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)

    def post(self, _body: bytes, _timeout_seconds: float) -> Answer:
        return self.answers.pop(0)


def test_backoff_doubles_with_jitter_and_gives_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(exporter.time, "monotonic", lambda: clock[0])
    failure = Answer(delivered=False, retry=True, reason="unreachable")
    queue = Queue("traces", 10, 10, lambda: None)
    lane = Lane("traces", Scripted(*[failure] * 20), lambda _items: b"x", queue, jitter=lambda: 0.5)  # type: ignore[arg-type]
    queue.offer("item")
    lane.prepare()
    before = dropped("traces", "unreachable")
    waits = []
    while not lane.send(1.0):
        waits.append(lane.not_before - clock[0])
        clock[0] = lane.not_before
    assert waits == [1, 2, 4, 8, 16, 30]
    assert dropped("traces", "unreachable") == before + 1
    assert not lane.prepare()


def test_an_item_that_cannot_be_encoded_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _args: None)

    def encode(items: Any) -> bytes:
        if "bad" in items:
            raise ValueError("bad")
        return b"x" * len(items)

    queue = Queue("traces", 10, 10, lambda: None)
    lane = Lane("traces", Scripted(), encode, queue)  # type: ignore[arg-type]
    for item in ("a", "bad", "b", "c"):
        queue.offer(item)
    before = dropped("traces", "unencodable")
    lane.prepare()
    assert sum(payload.items for payload in lane.payloads) == 3
    assert dropped("traces", "unencodable") == before + 1


def test_a_batch_that_is_too_large_goes_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "LARGEST_BODY", 3)
    queue = Queue("traces", 10, 10, lambda: None)
    lane = Lane("traces", Scripted(), lambda items: b"x" * len(items), queue)  # type: ignore[arg-type]
    for item in range(8):
        queue.offer(item)
    lane.prepare()
    assert [payload.items for payload in lane.payloads] == [2, 2, 2, 2]


def test_what_does_not_fit_the_queue_is_dropped_and_counted() -> None:
    wk.configure(only("traces", refused(), capacity=10, batch=10, delay_seconds=60))
    before = dropped("traces", "queue_full")
    for _ in range(100):
        with wk.span("many"):
            pass
    assert dropped("traces", "queue_full") >= before + 80  # one batch may have been taken to be tried
    client = running_client()
    assert client is not None
    assert len(client.lanes["traces"].queue) <= 10
    wk.shutdown(0.2)


def test_a_whole_batch_is_sent_without_waiting_for_the_delay(sink: Sink) -> None:
    wk.configure(only("traces", sink.url, capacity=100, batch=10, delay_seconds=60))
    for _ in range(10):
        with wk.span("s"):
            pass
    eventually(lambda: len(sink.spans()) == 10, 3)


async def _slowest(app: Any, count: int) -> float:
    slowest = 0.0
    for _ in range(count):
        started = time.perf_counter()
        await request(app, "/")
        slowest = max(slowest, time.perf_counter() - started)
    return slowest


async def test_a_server_that_hangs_never_delays_a_request(hanging: str) -> None:
    targets = {name: SignalOptions(f"{hanging}/v1/{name}", timeout_seconds=3) for name in ("traces", "logs", "metrics")}
    wk.configure(
        Options(
            export=targets,
            logs=QUIET,
            queue=QueueOptions(capacity=50, batch=10, delay_seconds=0.01),
            metrics=MetricOptions(interval_seconds=0.1),
        )
    )
    log = wk.get_logger("x")
    app = FastAPI()

    @app.get("/")
    async def root() -> Any:
        log.info("hello")
        return {}

    wk.instrument(app)
    await request(app, "/")
    before = dropped("traces", "queue_full")
    assert await _slowest(app, 300) < 0.5  # one attempt hangs for three seconds
    assert dropped("traces", "queue_full") > before


@pytest.mark.parametrize("trouble", ["hangs", "refuses", "fails"])
def test_shutdown_is_bounded_and_what_is_lost_is_counted(trouble: str, hanging: str, sink: Sink) -> None:
    sink.answers = [status(500)]
    url = {"hangs": hanging, "refuses": refused(), "fails": sink.url}[trouble]
    reason = {"hangs": "unreachable", "refuses": "unreachable", "fails": "http_500"}[trouble]
    wk.configure(only("traces", url, delay_seconds=30))
    before = dropped("traces", reason)
    for _ in range(5):
        with wk.span("s"):
            pass
    started = time.monotonic()
    wk.shutdown()
    assert time.monotonic() - started < 2
    eventually(lambda: dropped("traces", reason) == before + 5, 4)


def test_a_server_that_cannot_be_reached_is_said_once_and_shortly_whatever_was_for_it(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import watchkeeper as wk\nwk.configure()\nwith wk.span('work'):\n    wk.get_logger('script').info('done')\n"
    )
    url = refused()
    done = ended([sys.executable, "script.py"], tmp_path, url)
    signal = re.fullmatch(
        rf"watchkeeper drops (\w+) \(unreachable\): {url}/v1/(\w+): Failed to establish a new connection: "
        r"\[Errno \d+\] Connection refused\n",
        done.stderr,
    )
    assert signal, done.stderr
    assert signal[1] == signal[2]
    assert done.stdout.count("\n") == 1


def test_a_script_that_names_no_server_says_nothing_of_one(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import watchkeeper as wk\nwk.configure()\nwith wk.span('work'):\n    pass\n")
    done = ended([sys.executable, "script.py"], tmp_path, "")
    assert (done.stdout, done.stderr) == ("", "")


def test_what_is_left_at_the_end_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    boundary = Boundary()
    for signal in ("t_logs", "t_traces"):
        boundary.dropped(signal, "shutdown", 3)
        boundary.dropped(signal, "unreachable", detail="http://[::1]:9/v1/any: no")
        boundary.dropped(signal, "unreachable", detail="grpc://other:4317: no")
        boundary.dropped(signal, "queue_full")
    assert [record.getMessage() for record in caplog.records] == [
        "watchkeeper drops t_logs (shutdown)",
        "watchkeeper drops t_logs (unreachable): http://[::1]:9/v1/any: no",
        "watchkeeper drops t_logs (unreachable): grpc://other:4317: no",
        "watchkeeper drops t_logs (queue_full)",
        "watchkeeper drops t_traces (queue_full)",
    ]
    assert dropped("t_traces", "shutdown") == 3


def test_shutdown_delivers_what_waits(sink: Sink) -> None:
    wk.configure(only("traces", sink.url, delay_seconds=60))
    with wk.span("last"):
        pass
    wk.shutdown()
    assert [span.name for span in sink.spans()] == ["last"]


def test_metrics_are_pushed_at_their_interval_and_the_newest_replaces_a_stuck_one(sink: Sink) -> None:
    sink.answers = [status(503, retry_after="0.3"), ok]
    counter = wk.counter("t_pushed_total")
    wk.configure(replace(only("metrics", sink.url), metrics=MetricOptions(interval_seconds=0.1)))
    eventually(lambda: len(sink.requests) == 1)
    counter.inc(5)
    eventually(lambda: len(sink.requests) == 2)
    assert sink.metrics()["t_pushed"].sum.data_points[0].as_double == 5


def test_configure_is_idempotent_and_other_options_replace_the_client(sink: Sink) -> None:
    wk.configure(only("traces", sink.url))
    first = running_client()
    wk.configure(only("traces", sink.url))
    assert running_client() is first
    with wk.span("before"):
        pass
    wk.configure(replace(only("traces", sink.url), traces=TraceOptions(sampler="always_off")))
    assert running_client() is not first
    with wk.span("after"):
        pass
    wk.shutdown()
    assert [span.name for span in sink.spans()] == ["before"]


def test_a_disabled_sdk_sends_nothing(sink: Sink) -> None:
    wk.configure(replace(sink.options(), enabled=False))
    with wk.span("s"):
        wk.get_logger("x").info("hi")
    wk.shutdown()
    assert sink.requests == []


def test_the_export_threads_own_lines_are_not_exported(sink: Sink) -> None:
    wk.configure(replace(sink.options(), logs=LogOptions(level=1, stream="off")))
    logging.getLogger("urllib3").setLevel(logging.DEBUG)
    try:
        for _ in range(3):
            with wk.span("s"):
                pass
            wk.flush()
    finally:
        logging.getLogger("urllib3").setLevel(logging.NOTSET)
    assert not [record for record in sink.records() if "POST" in record.body.string_value]


def test_a_send_that_hangs_when_shutdown_comes_is_left_behind_and_counted_once(hanging: str) -> None:
    wk.configure(only("traces", hanging, delay_seconds=0.01))
    with wk.span("s"):
        pass
    client = running_client()
    assert client is not None
    eventually(lambda: client.lanes["traces"].payloads)
    before = dropped("traces", "shutdown"), dropped("traces", "unreachable")
    started = time.monotonic()
    wk.shutdown(0.3)
    assert time.monotonic() - started < 1
    time.sleep(2.2 - (time.monotonic() - started))  # until the attempt itself has timed out
    assert (dropped("traces", "shutdown"), dropped("traces", "unreachable")) == (before[0] + 1, before[1])


def test_a_server_that_hangs_holds_up_no_other_destination(sink: Sink, hanging: str) -> None:
    hung = SignalOptions(f"{hanging}/v1/traces", timeout_seconds=30)
    both = {"traces": hung, "logs": SignalOptions(f"{sink.url}/v1/logs")}
    wk.configure(Options(export=both, logs=QUIET, queue=QueueOptions(delay_seconds=0.05)))
    with wk.span("hangs"):
        pass
    lane = running_client().lanes["traces"]  # type: ignore[union-attr]
    eventually(lambda: lane.payloads and not len(lane.queue))  # it is being sent, for half a minute
    wk.get_logger("shop").info("passes")
    eventually(lambda: len(sink.records()) == 1)
    wk.get_logger("shop").info("the last line")
    wk.shutdown(1.0)
    assert [record.body.string_value for record in sink.records()] == ["passes", "the last line"]


def test_one_destination_has_one_thread(sink: Sink) -> None:
    wk.configure(sink.options(logs=QUIET))
    assert [thread.name for thread in threading.enumerate() if "-export" in thread.name] == ["watchkeeper-export"]


def test_a_batch_that_cannot_be_sent_at_all_is_given_up_and_takes_no_other_with_it() -> None:
    class Broken(Scripted):
        def post(self, body: bytes, timeout_seconds: float) -> Answer:
            if body == b"1":
                raise UnicodeEncodeError("latin-1", "…", 0, 1, "no header")
            return super().post(body, timeout_seconds)

    queue = Queue("traces", 10, 1, lambda: None)
    lane = Lane("traces", Broken(Answer(delivered=True)), lambda items: b"%d" % items[0], queue)  # type: ignore[arg-type]
    before = dropped("traces", "failed")
    queue.offer(1)
    queue.offer(2)
    assert lane.prepare()
    assert lane.send(1)
    assert dropped("traces", "failed") == before + 1
    assert "UnicodeEncodeError" in lane.trouble
    assert lane.prepare()
    assert lane.send(1)
    assert not lane.payloads
