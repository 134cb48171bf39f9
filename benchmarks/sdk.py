"""CPU that instrumentation adds to a FastAPI request: ours beside the usual stacks.

What is measured: process CPU (`time.process_time`, so exporter threads count) per request, for an ASGI application
called in its own process by a loop, without a socket; that is the quietest way to see tens of microseconds. Exporters
send over HTTP to a sink in another process, whose CPU does not count. Every variant runs in a process of its own;
rounds are interleaved, and the table shows medians over rounds. A variant counts only if all it promised arrived:
spans and log records are counted at the sink, log lines in the file.

    python benchmarks/sdk.py            # about two minutes
    python benchmarks/sdk.py --quick    # about twenty seconds, noisier
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

App = Callable[..., Awaitable[None]]

HEADERS = [
    (b"host", b"shop.example:8000"),
    (
        b"user-agent",
        b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36",
    ),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"connection", b"keep-alive"),
    (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
]


@dataclass(frozen=True)
class Variant:
    """One way to instrument: `say` is what the endpoint logs with, None for no line."""

    title: str
    spans: int  # per request, at the sink
    lines: int  # per request, in the log file
    records: int  # log records per request, at the sink


VARIANTS = {
    "bare": Variant("bare FastAPI", 0, 0, 0),
    "watchkeeper": Variant("Watchkeeper: metrics, span, log line and OTLP record", 1, 1, 1),
    "watchkeeper-no-otlp-logs": Variant("Watchkeeper without OTLP log records", 1, 1, 0),
    "contrib": Variant("OpenTelemetry contrib, defaults", 3, 0, 0),
    "contrib-one": Variant("OpenTelemetry contrib, one span", 1, 0, 0),
    "native": Variant("FastAPI's own spans, official SDK", 1, 0, 0),
    "instrumentator": Variant("prometheus-fastapi-instrumentator", 0, 0, 0),
    "structlog": Variant("structlog, one JSON line", 0, 1, 0),
    "sentry": Variant("sentry-sdk, errors only", 0, 0, 0),
    "assembled": Variant("assembled: contrib one span, instrumentator, structlog, sentry", 1, 1, 0),
}


# The application under test


def make_app(say: Callable[[int], None]) -> Any:
    from fastapi import FastAPI  # noqa: PLC0415  # each variant's process imports only what it measures

    app = FastAPI()

    @app.get("/orders/{order_id}")
    async def order(order_id: int) -> dict[str, int]:
        say(order_id)
        return {"order_id": order_id, "total_cents": 1999}

    return app


def silent(_order_id: int) -> None:
    """No log line."""


def build(name: str, log_path: Path) -> tuple[App, Callable[[], None]]:
    """The variant's application and what flushes it."""
    if name.startswith("watchkeeper"):
        return build_watchkeeper()
    if name in {"contrib", "contrib-one", "native"}:
        app = make_app(silent)
        return app, trace_officially(app, name)
    if name == "instrumentator":
        app = make_app(silent)
        count_requests(app)
        return app, lambda: None
    if name == "structlog":
        say, close = structlog_line(log_path)
        return make_app(say), close
    if name in {"bare", "sentry"}:
        if name == "sentry":
            catch_errors()
        return make_app(silent), lambda: None
    catch_errors()
    say, close = structlog_line(log_path)
    app = make_app(say)
    count_requests(app)
    flush = trace_officially(app, "contrib-one")
    return app, lambda: (flush(), close())[0]


def build_watchkeeper() -> tuple[App, Callable[[], None]]:
    import watchkeeper as wk  # noqa: PLC0415

    wk.configure()
    log = wk.get_logger("shop.orders")

    def say(order_id: int) -> None:
        log.info("order shown", order_id=order_id, customer="ada")

    app = make_app(say)
    wk.instrument(app)

    def finish() -> None:
        if not wk.flush(20):
            raise SystemExit("watchkeeper could not flush")

    return app, finish


def trace_officially(app: Any, name: str) -> Callable[[], None]:
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), max_queue_size=65_536))
    trace.set_tracer_provider(provider)
    if name == "native":
        app._telemetry["operation_spans"] = False  # noqa: SLF001  # one span, as the others
    else:
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor  # noqa: PLC0415

        FastAPIInstrumentor.instrument_app(app, exclude_spans=["receive", "send"] if name == "contrib-one" else None)
    return lambda: (provider.force_flush(), None)[1]


def count_requests(app: Any) -> None:
    from prometheus_fastapi_instrumentator import Instrumentator  # noqa: PLC0415

    Instrumentator().instrument(app).expose(app)


def catch_errors() -> None:
    import sentry_sdk  # noqa: PLC0415

    sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", traces_sample_rate=None, default_integrations=True)


def structlog_line(log_path: Path) -> tuple[Callable[[int], None], Callable[[], None]]:
    """structlog as its documentation sets it up for JSON, with the trace's ids, written line by line as loggers do."""
    import structlog  # noqa: PLC0415
    from opentelemetry import trace  # noqa: PLC0415

    def add_ids(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            event["trace_id"], event["span_id"] = f"{context.trace_id:032x}", f"{context.span_id:016x}"
        return event

    file = log_path.open("w")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            add_ids,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file),
        cache_logger_on_first_use=True,
    )
    log = structlog.get_logger("shop.orders")

    def say(order_id: int) -> None:
        log.info("order shown", order_id=order_id, customer="ada")

    return say, file.close


# One measurement, in a process of its own


async def call(app: App, requests: int) -> None:
    received = {"type": "http.request", "body": b"", "more_body": False}
    statuses = set()

    async def receive() -> dict[str, Any]:
        return received

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.add(message["status"])

    for number in range(requests):
        path = f"/orders/{number % 1000}"
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"", "headers": list(HEADERS),
            "client": ("192.0.2.7", 50_000 + number % 100), "server": ("127.0.0.1", 8000), "state": {},
        }  # fmt: skip
        await app(scope, receive, send)
        if number % 50 == 0:
            await asyncio.sleep(0)  # a server's loop comes round too
    if statuses != {200}:
        raise SystemExit(f"requests ended with {statuses}")


def measure(name: str, requests: int, log_path: Path) -> dict[str, float]:
    app, finish = build(name, log_path)
    warm = 500
    asyncio.run(call(app, warm))
    before, began = time.process_time(), time.perf_counter()
    asyncio.run(call(app, requests))
    finish()  # what is still queued is part of the price
    cpu, wall = time.process_time() - before, time.perf_counter() - began
    return {"cpu_us": cpu / requests * 1e6, "wall_us": wall / requests * 1e6, "requests": requests + warm}


# The sink


class Sink:
    """An OTLP/HTTP receiver that counts, in a process of its own (`--sink`)."""

    def __init__(self) -> None:
        program = [sys.executable, __file__, "--sink"]
        self._process = subprocess.Popen(program, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def counts(self) -> dict[str, int]:
        """What arrived since the last call."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        counts: dict[str, int] = json.loads(self._process.stdout.readline())
        return counts

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()


def run_sink() -> None:
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest  # noqa: PLC0415
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: PLC0415

    bodies: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            bodies.append((self.path, body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    for _line in sys.stdin:
        spans = records = 0
        for path, body in bodies:
            if path == "/v1/traces":
                traces = ExportTraceServiceRequest.FromString(body)
                spans += sum(len(scope.spans) for r in traces.resource_spans for scope in r.scope_spans)
            elif path == "/v1/logs":
                logs = ExportLogsServiceRequest.FromString(body)
                records += sum(len(scope.log_records) for r in logs.resource_logs for scope in r.scope_logs)
        bodies.clear()
        print(json.dumps({"spans": spans, "records": records}), flush=True)


# The table


def run_one(name: str, requests: int, sink: Sink, folder: Path) -> float:
    """CPU microseconds per request, after checking that everything arrived."""
    variant, log_path = VARIANTS[name], folder / f"{name}.log"
    environment = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink.port}",
        "OTEL_SERVICE_NAME": "shop",
        "WATCHKEEPER_LOG_FORMAT": "json",
        "PYTHONPATH": f"{Path(__file__).parent.parent / 'src'}:{os.environ.get('PYTHONPATH', '')}",
    }
    if not variant.records:
        environment["OTEL_LOGS_EXPORTER"] = "none"
    # Watchkeeper's lines go where applications' lines go: to stdout, here the log file. The result comes on stderr.
    with log_path.open("w") as out:
        program = [sys.executable, __file__, "--measure", name, "--requests", str(requests), "--log", str(log_path)]
        stdout = out if name.startswith("watchkeeper") else subprocess.DEVNULL
        done = subprocess.run(program, env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    result = json.loads(done.stderr.splitlines()[-1])
    served = int(result["requests"])
    got = sink.counts()
    lines = sum('"order shown"' in line for line in log_path.open())
    wanted = (variant.spans * served, variant.records * served, variant.lines * served)
    if (got["spans"], got["records"], lines) != wanted:
        raise SystemExit(
            f"{name} did not deliver: {got['spans']}, {got['records']}, {lines} spans, records, lines; not {wanted}"
        )
    return float(result["cpu_us"])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer requests and rounds")
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), choices=list(VARIANTS), help="variants to run")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--requests", type=int)
    parser.add_argument("--measure", choices=list(VARIANTS), help=argparse.SUPPRESS)
    parser.add_argument("--log", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--sink", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.sink:
        run_sink()
        return
    requests = options.requests or (3_000 if options.quick else 10_000)
    if options.measure:
        print(json.dumps(measure(options.measure, requests, options.log)), file=sys.stderr)
        return
    rounds = options.rounds or (2 if options.quick else 5)
    figures: dict[str, list[float]] = {name: [] for name in dict.fromkeys(["bare", *options.only])}
    sink = Sink()
    try:
        with tempfile.TemporaryDirectory() as folder:
            for _round in range(rounds):
                for name, found in figures.items():
                    found.append(run_one(name, requests, sink, Path(folder)))
    finally:
        sink.close()
    print_table(figures, rounds, requests)


def print_table(figures: dict[str, list[float]], rounds: int, requests: int) -> None:
    bare = statistics.median(figures["bare"])
    over = {name: statistics.median(found) - bare for name, found in figures.items()}
    assembled = over.get("assembled")
    print(f"Process CPU per FastAPI request, in-process ASGI calls; median of {rounds} rounds of {requests} requests")
    print(f"bare: {bare:.1f} µs\n")
    print(f"{'variant':<64} {'µs over bare':>12} {'spread':>14} {'ratio to assembled':>19}")
    for name, extra in over.items():
        if name == "bare":
            continue
        low, high = min(figures[name]) - bare, max(figures[name]) - bare
        ratio = f"{extra / assembled:.2f}" if assembled else ""
        print(f"{VARIANTS[name].title:<64} {extra:>12.1f} {f'{low:.0f} to {high:.0f}':>14} {ratio:>19}")


if __name__ == "__main__":
    main()
