"""What the SDK's tests share: an OTLP server that can misbehave and a way to call an ASGI application."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from watchkeeper import Options, QueueOptions, SignalOptions
from watchkeeper.export.boundary import DROPPED

Answer = Callable[[BaseHTTPRequestHandler], None]


def ok(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("content-length", "0")
    handler.end_headers()


def status(code: int, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in {**headers, "content-length": "0"}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()

    return answer


@dataclass
class Sink:
    """An OTLP/HTTP server. `answers` are used up one a request, the last one for all that follow."""

    answers: list[Answer] = field(default_factory=lambda: [ok])
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    def bodies(self, path: str) -> list[bytes]:
        return [
            gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
            for asked, headers, body in list(self.requests)
            if asked == path
        ]

    def spans(self) -> list[Any]:
        requests = [ExportTraceServiceRequest.FromString(body) for body in self.bodies("/v1/traces")]
        return [
            span
            for r in requests
            for resource in r.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def records(self) -> list[Any]:
        requests = [ExportLogsServiceRequest.FromString(body) for body in self.bodies("/v1/logs")]
        return [
            record
            for r in requests
            for resource in r.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    def metrics(self) -> dict[str, Any]:
        body = self.bodies("/v1/metrics")[-1]
        request = ExportMetricsServiceRequest.FromString(body)
        return {
            m.name: m
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for m in scope.metrics
        }

    def options(self, **changes: Any) -> Options:
        export = {
            name: SignalOptions(f"{self.url}/v1/{name}", timeout_seconds=5) for name in ("traces", "logs", "metrics")
        }
        return Options(**{"export": export, "queue": QueueOptions(delay_seconds=0.05), **changes})


@contextmanager
def http_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The URL of a server of this process, which ends with the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def serving() -> Iterator[Sink]:
    """A running sink."""
    found = Sink()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            answer = found.answers.pop(0) if len(found.answers) > 1 else found.answers[0]
            answer(self)

        def log_message(self, *_args: Any) -> None:
            pass

    with http_server(Handler) as found.url:
        yield found


def dropped(signal: str, reason: str) -> float:
    return DROPPED.labels(signal, reason)._value.get()


def eventually(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Waits until the condition holds; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def attributes(message: Any) -> dict[str, Any]:
    """Attributes of a decoded OTLP message as Python values, types kept."""
    return {item.key: _python(item.value) for item in message.attributes}


def _python(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    inner = getattr(value, kind)
    if kind == "array_value":
        return [_python(item) for item in inner.values]
    if kind == "kvlist_value":
        return {item.key: _python(item.value) for item in inner.values}
    return inner


@dataclass
class Response:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    messages: list[dict[str, Any]] = field(default_factory=list)
    error: BaseException | None = None


async def request(
    app: Callable[..., Awaitable[Any]],
    path: str = "/",
    method: str = "GET",
    headers: list[tuple[str, str]] | None = None,
    chunks: tuple[bytes, ...] = (b"",),
    **scope: Any,
) -> Response:
    """One request, straight through ASGI; an exception the application lets out is kept in the response."""
    response = Response()
    pending = list(chunks)

    async def receive() -> dict[str, Any]:
        if not pending:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": pending.pop(0), "more_body": bool(pending)}

    async def send(message: dict[str, Any]) -> None:
        response.messages.append(message)
        if message["type"] == "http.response.start":
            response.status = message["status"]
            response.headers = {k.decode().lower(): v.decode() for k, v in message.get("headers", ())}
        elif message["type"] == "http.response.body":
            response.body += message.get("body", b"")

    bare_path, _, query = path.partition("?")
    full = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": bare_path,
        "raw_path": bare_path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(b"host", b"shop.example:8000")]
        + [(name.lower().encode(), value.encode("latin-1")) for name, value in headers or []],
        "client": ("192.0.2.7", 50_123),
        "server": ("127.0.0.1", 8000),
        "state": {},
        **scope,
    }
    try:
        await app(full, receive, send)
    except BaseException as error:  # noqa: BLE001
        response.error = error
    return response
