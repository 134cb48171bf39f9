from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Any

import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import REGISTRY
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.routing import Mount, Route

import watchkeeper as wk
from support.sdk import request
from watchkeeper import LogOptions, Options, TraceOptions
from watchkeeper.export.boundary import ERRORS
from watchkeeper.export.otlp.spans import SpanEncoder
from watchkeeper.testing import Captured, FakeClock, SequentialIds, capture
from watchkeeper.tracing.api import Origin

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
log = wk.get_logger("shop")


@pytest.fixture
def app() -> Any:  # noqa: C901  # one endpoint a behaviour
    app = FastAPI()
    router = APIRouter(prefix="/orders")

    @router.get("/{order_id}")
    async def order(order_id: int) -> Any:
        log.info("shown", order_id=order_id)
        return {"order_id": order_id}

    @router.post("")
    def create(body: dict) -> Any:
        return body

    @app.get("/boom")
    async def boom() -> None:
        raise ValueError("no")

    @app.get("/gone")
    async def gone() -> None:
        raise HTTPException(410)

    @app.get("/unavailable")
    async def unavailable() -> None:
        raise HTTPException(503)

    @app.get("/stream")
    async def stream() -> Any:
        async def chunks() -> AsyncIterator[Any]:
            for _ in range(3):
                log.info("chunk")
                yield b"12345"

        return StreamingResponse(chunks())

    @app.get("/later")
    async def later(tasks: BackgroundTasks) -> Any:
        tasks.add_task(asyncio.sleep, 0)
        return {}

    @app.get("/baggage")
    async def carried() -> dict[str, Any]:
        return baggage.get_all()

    @app.get("/health/ready")
    async def ready() -> Any:
        with wk.span("check"):
            return {}

    @app.websocket("/ws/{room}")
    async def ws(socket: WebSocket, room: str) -> None:
        await socket.accept()
        log.info("joined")
        await socket.send_text("hi")
        await socket.close()

    app.include_router(router, prefix="/v1")
    return wk.instrument(app)


def series(seen: Captured, name: str, **labels: str) -> float:
    return seen.metric(name, **labels) or 0


async def test_a_request_is_one_span_with_the_stable_conventions(app: FastAPI, seen: Captured) -> None:
    response = await request(app, "/v1/orders/7?full=1", headers=[("user-agent", "curl/8")])
    assert json.loads(response.body) == {"order_id": 7}
    (span,) = seen.spans
    assert (span.name, span.kind, span.status_code) == ("GET /v1/orders/{order_id}", SpanKind.SERVER, StatusCode.UNSET)
    assert span.attributes == {
        "http.request.method": "GET",
        "http.route": "/v1/orders/{order_id}",
        "http.response.status_code": 200,
        "url.path": "/v1/orders/7",
        "url.query": "full=1",
        "url.scheme": "http",
        "server.address": "shop.example",
        "server.port": 8000,
        "client.address": "192.0.2.7",
        "client.port": 50_123,
        "network.protocol.version": "1.1",
        "user_agent.original": "curl/8",
    }


async def test_log_lines_know_their_request(app: FastAPI, seen: Captured) -> None:
    response = await request(app, "/v1/orders/7")
    (record,), (span,) = seen.records, seen.spans
    assert (record.trace_id, record.span_id) == (span.trace_id, span.span_id)
    assert record.request_id == response.headers["x-request-id"]


async def test_metrics_count_requests_by_template(app: FastAPI, seen: Captured) -> None:
    labels = {"method": "GET", "route": "/v1/orders/{order_id}"}
    before = series(seen, "http_requests_total", status="200", **labels)
    timed = series(seen, "http_request_duration_seconds_count", status="200", **labels)
    sized = series(seen, "http_response_size_bytes_sum", **labels)
    for number in range(3):
        await request(app, f"/v1/orders/{number}")
    assert series(seen, "http_requests_total", status="200", **labels) == before + 3
    assert series(seen, "http_request_duration_seconds_count", status="200", **labels) == timed + 3
    assert series(seen, "http_response_size_bytes_sum", **labels) == sized + 3 * len(b'{"order_id":0}')
    assert series(seen, "http_requests_in_progress", method="GET") == 0


async def test_requests_in_progress_are_shown_while_they_last(seen: Captured) -> None:
    async def look(scope: Any, receive: Any, send: Any) -> None:
        shown.append(series(seen, "http_requests_in_progress", method="PUT"))
        await PlainTextResponse("ok")(scope, receive, send)

    shown: list[float] = []
    await request(wk.instrument(look), method="PUT")
    assert shown == [1]


async def test_unmatched_paths_collapse(app: FastAPI, seen: Captured) -> None:
    labels = {"method": "GET", "route": "unmatched", "status": "404"}
    before = series(seen, "http_requests_total", **labels)
    for path in ("/wp-login.php", "/.env"):
        await request(app, path)
    assert series(seen, "http_requests_total", **labels) == before + 2
    assert {span.name for span in seen.spans} == {"GET"}
    assert all("http.route" not in span.attributes for span in seen.spans)


async def test_unknown_methods_are_other(app: FastAPI, seen: Captured) -> None:
    before = series(seen, "http_requests_total", method="_OTHER", route="unmatched", status="404")
    await request(app, "/nowhere", method="BREW")
    assert series(seen, "http_requests_total", method="_OTHER", route="unmatched", status="404") == before + 1
    (span,) = seen.spans
    assert (span.name, span.attributes["http.request.method"]) == ("HTTP", "_OTHER")
    assert span.attributes["http.request.method_original"] == "BREW"


async def test_an_unhandled_error_fails_the_span_and_answers_with_the_request_id(app: FastAPI, seen: Captured) -> None:
    response = await request(app, "/boom", headers=[("x-request-id", "req-7")])
    assert isinstance(response.error, ValueError)
    assert (response.status, response.headers["x-request-id"]) == (500, "req-7")
    (span,) = seen.spans
    assert (span.status_code, span.attributes["error.type"]) == (StatusCode.ERROR, "ValueError")
    assert span.events[0].attributes["exception.message"] == "no"
    assert span.start_time <= span.events[0].timestamp <= span.end_time
    assert series(seen, "http_errors_total", method="GET", route="/boom", type="ValueError") >= 1


async def test_a_server_error_by_status_fails_the_span_and_a_client_error_does_not(
    app: FastAPI, seen: Captured
) -> None:
    await request(app, "/unavailable")
    await request(app, "/gone")
    down, gone = seen.spans
    assert (down.status_code, down.attributes["error.type"]) == (StatusCode.ERROR, "503")
    assert (gone.status_code, "error.type" in gone.attributes) == (StatusCode.UNSET, False)


@pytest.mark.parametrize(
    ("header", "joined"),
    [
        (f"00-{TRACE}-{PARENT}-01", True),
        (f"00-{TRACE}-{PARENT}-00", False),  # joined, but not sampled: no span
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-holds", True),
        (f"cc-{TRACE}-{PARENT}-01.no-dash", None),
        (f"00-{TRACE}-{PARENT}-01-more", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{PARENT}-01", None),
        (f"00-{TRACE[:-1]}-{PARENT}-01", None),
        ("garbage", None),
        ("", None),
    ],
)
async def test_traceparent_is_read_as_the_recommendation_says(
    app: FastAPI, seen: Captured, header: str, joined: bool | None
) -> None:
    await request(app, "/v1/orders/7", headers=[("traceparent", header)])
    spans = seen.spans
    if joined is False:
        assert spans == []
        assert f"{seen.records[0].trace_id:032x}" == TRACE
    elif joined:
        assert (f"{spans[0].trace_id:032x}", f"{spans[0].parent_id:016x}") == (TRACE, PARENT)
        assert spans[0].parent_is_remote
    else:
        assert (f"{spans[0].trace_id:032x}" != TRACE, spans[0].parent_id) == (True, 0)


async def test_two_traceparents_start_a_new_trace(app: FastAPI, seen: Captured) -> None:
    header = ("traceparent", f"00-{TRACE}-{PARENT}-01")
    await request(app, "/v1/orders/7", headers=[header, header])
    assert seen.spans[0].parent_id == 0


async def test_tracestate_is_carried_joined_and_dropped_when_malformed(app: FastAPI, seen: Captured) -> None:
    parent = ("traceparent", f"00-{TRACE}-{PARENT}-01")
    await request(app, "/v1/orders/7", headers=[parent, ("tracestate", "a=1"), ("tracestate", "b=2")])
    await request(app, "/v1/orders/7", headers=[parent, ("tracestate", "no equals")])
    good, bad = seen.spans
    assert (good.trace_state_text, bad.trace_state_text) == ("a=1,b=2", "")
    assert f"{bad.trace_id:032x}" == TRACE


async def test_baggage_reaches_the_application_and_ends_with_the_request(app: FastAPI, seen: Captured) -> None:
    response = await request(app, "/baggage", headers=[("baggage", "tenant=acme,user=ada")])
    assert json.loads(response.body) == {"tenant": "acme", "user": "ada"}
    assert baggage.get_all() == {}
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize(("given", "kept"), [("abc-1", True), ("x" * 200, False), ("a b", False), ("", False)])
async def test_a_usable_request_id_is_kept_and_any_other_replaced(
    app: FastAPI, seen: Captured, given: str, kept: bool
) -> None:
    response = await request(app, "/v1/orders/7", headers=[("x-request-id", given)])
    assert (response.headers["x-request-id"] == given) is kept
    assert len(response.headers["x-request-id"]) in ({len(given)} if kept else {32})


async def test_a_callers_correlation_id_is_kept_returned_and_on_every_line(app: FastAPI, seen: Captured) -> None:
    response = await request(app, "/v1/orders/7", headers=[("x-correlation-id", "work-7"), ("x-request-id", "r-7")])
    assert (response.headers["x-correlation-id"], response.headers["x-request-id"]) == ("work-7", "r-7")
    assert {(record.request_id, record.correlation_id) for record in seen.records} == {("r-7", "work-7")}


async def test_work_that_begins_here_is_named_like_its_request(app: FastAPI, seen: Captured) -> None:
    response = await request(app, "/v1/orders/7")
    assert response.headers["x-correlation-id"] == response.headers["x-request-id"]
    assert {record.correlation_id for record in seen.records} == {response.headers["x-request-id"]}


@pytest.mark.parametrize(("bound", "returned"), [("import-7", True), ("a\r\nset-cookie: b", False), ("работа", False)])
async def test_a_bound_correlation_id_is_returned_if_a_header_can_hold_it(
    bound: str, returned: bool, seen: Captured
) -> None:
    async def binding(scope: Any, receive: Any, send: Any) -> None:
        wk.bind_context(correlation_id=bound)
        await PlainTextResponse("ok")(scope, receive, send)

    response = await request(wk.instrument(binding))
    assert response.headers["x-correlation-id"] == (bound if returned else response.headers["x-request-id"])


async def test_an_applications_own_correlation_id_header_is_left_alone(seen: Captured) -> None:
    async def own(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("ok", headers={"x-correlation-id": "mine"})(scope, receive, send)

    response = await request(wk.instrument(own), headers=[("x-correlation-id", "theirs")])
    assert [value for name, value in response.messages[0]["headers"] if name == b"x-correlation-id"] == [b"mine"]


async def test_what_a_request_binds_ends_with_it(seen: Captured) -> None:
    app = FastAPI()

    def authenticate() -> None:
        wk.bind_context(user_id="u-7")

    @app.get("/", dependencies=[Depends(authenticate)])
    async def show() -> None:
        wk.get_logger("app").info("shown")

    wk.instrument(app)
    await request(app)
    wk.get_logger("app").info("after")
    assert [record.fields for record in seen.records] == [{"user_id": "u-7"}, {}]


@pytest.mark.parametrize("written", [str.lower, str.upper, str.title])  # Django leaves names as they are written
async def test_an_applications_own_ids_in_headers_are_left_alone(written: Callable[[str], str], seen: Captured) -> None:
    own = [(written(name).encode(), b"mine") for name in ("x-request-id", "x-correlation-id")]

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": own})
        await send({"type": "http.response.body", "body": b"ok"})

    response = await request(wk.instrument(app), headers=[("x-correlation-id", "theirs")])
    assert response.messages[0]["headers"] == own


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({"client": ["192.0.2.9", 4_000]}, {"client.address": "192.0.2.9", "client.port": 4_000}),
        ({"client": None}, {"client.address": None}),
        ({"client": ("/run/shop.sock", None)}, {"client.address": "/run/shop.sock"}),
        ({"headers": [[b"host", b"shop.example"], [b"user-agent", b"curl"]]}, {"user_agent.original": "curl"}),
        ({"headers": ((b"host", b"shop.example"),)}, {"server.address": "shop.example"}),
        ({"method": "get"}, {"http.request.method": "_OTHER", "http.request.method_original": "get"}),
    ],
)
async def test_servers_differ_in_what_they_call_a_request(
    scope: dict[str, Any], expected: dict[str, Any], seen: Captured
) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": HTTPStatus.OK})
        await send({"type": "http.response.body"})

    instrumented = wk.instrument(app)

    async def server(its_scope: Any, receive: Any, send: Any) -> None:
        await instrumented({**its_scope, **scope}, receive, send)

    assert (await request(server)).error is None
    (span,) = seen.spans
    attributes = dict(span.attributes or {})
    assert {name: attributes.get(name) for name in expected} == expected
    assert b"url.path" in SpanEncoder(b"").encode(seen.spans)


async def test_a_length_that_no_body_has_spoils_no_metric(seen: Captured) -> None:
    labels = {"method": "POST", "route": "/v1/orders", "status": "200"}
    app = wk.instrument(Starlette(routes=[Route("/v1/orders", PlainTextResponse("ok"), methods=["POST"])]))
    before = series(seen, "http_requests_total", **labels)
    for length in ("9" * 400, "9" * 5_000):
        await request(app, "/v1/orders", "POST", headers=[("content-length", length)])
    assert series(seen, "http_requests_total", **labels) == before + 2


async def test_one_response_object_sent_twice_gets_each_its_own_id(seen: Captured) -> None:
    shared = PlainTextResponse("ok")
    app = wk.instrument(Starlette(routes=[Route("/", lambda _request: shared)]))
    first, second = await request(app), await request(app)
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert len([name for name, _ in second.messages[0]["headers"] if name == b"x-request-id"]) == 1


async def test_a_streamed_response_is_one_span_until_its_end(app: FastAPI, seen: Captured) -> None:
    response = await request(app, "/stream")
    assert response.body == b"12345" * 3
    assert [record.trace_id for record in seen.records] == [seen.spans[0].trace_id] * 3


async def test_a_background_task_does_not_lengthen_the_request() -> None:
    time = FakeClock()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("ok")(scope, receive, send)
        time.advance(60)

    with capture(clock=time.clock(), ids=SequentialIds()) as seen:
        time.advance(1)
        await request(wk.instrument(app))
    (span,) = seen.spans
    assert span.end_time == span.start_time


async def test_a_client_that_leaves_is_no_error_of_ours(seen: Captured) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise asyncio.CancelledError

    before = series(seen, "http_requests_total", method="GET", route="/", status="200")
    response = await request(wk.instrument(app))
    assert isinstance(response.error, asyncio.CancelledError)
    (span,) = seen.spans
    assert (span.status_code, span.attributes["error.type"]) == (StatusCode.UNSET, "asyncio.exceptions.CancelledError")
    assert series(seen, "http_requests_total", method="GET", route="/", status="200") == before + 1


async def test_a_response_that_never_ended_is_an_error(seen: Captured) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    await request(wk.instrument(app))
    (span,) = seen.spans
    assert (span.status_code, span.attributes["error.type"]) == (StatusCode.ERROR, "incomplete_response")


async def test_trailers_belong_to_the_response(seen: Captured) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
        await send({"type": "http.response.body", "body": b"x"})
        await send({"type": "http.response.trailers", "headers": [], "more_trailers": False})

    await request(wk.instrument(app))
    assert seen.spans[0].status_code is StatusCode.UNSET


async def test_a_chunked_request_body_is_counted(seen: Captured) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await PlainTextResponse("ok")(scope, receive, send)

    labels = {"method": "POST", "route": "/"}
    before = series(seen, "http_request_size_bytes_sum", **labels)
    chunks = (b"123", b"4567")
    await request(wk.instrument(app), method="POST", headers=[("transfer-encoding", "chunked")], chunks=chunks)
    assert series(seen, "http_request_size_bytes_sum", **labels) == before + 7


async def test_probes_are_counted_and_not_traced_nor_is_what_they_do(app: FastAPI, seen: Captured) -> None:
    before = series(seen, "http_requests_total", method="GET", route="/health/ready", status="200")
    await request(app, "/health/ready")
    assert seen.spans == []
    assert series(seen, "http_requests_total", method="GET", route="/health/ready", status="200") == before + 1


async def test_excluded_urls_are_not_traced(app: FastAPI) -> None:
    options = Options(traces=TraceOptions(excluded_urls=("orders/[0-9]+$",)), logs=LogOptions(stream="off"))
    with capture(options) as seen:
        await request(app, "/v1/orders/7")
        await request(app, "/gone")
    assert [span.name for span in seen.spans] == ["GET /gone"]


async def test_metrics_are_served_as_text_or_openmetrics_and_leave_no_trace(app: FastAPI, seen: Captured) -> None:
    await request(app, "/v1/orders/7")
    plain = await request(app, "/metrics")
    opened = await request(app, "/metrics", headers=[("accept", "application/openmetrics-text; version=1.0.0")])
    assert plain.headers["content-type"].startswith("text/plain")
    assert b'http_requests_total{method="GET",route="/v1/orders/{order_id}",status="200"}' in plain.body
    assert opened.headers["content-type"].startswith("application/openmetrics-text")
    assert opened.body.endswith(b"# EOF\n")
    assert len(seen.spans) == 1


async def test_a_collector_that_fails_is_a_500_that_says_so(app: Any, seen: Captured) -> None:
    class Broken(Collector):
        def collect(self) -> Any:
            raise RuntimeError("no figures")

        def describe(self) -> Any:
            return []

    broken = Broken()
    REGISTRY.register(broken)
    try:
        response = await request(app, "/metrics")
    finally:
        REGISTRY.unregister(broken)
    assert (response.status, b"no figures" in response.body) == (500, True)


async def test_a_websocket_passes_through_with_a_span_of_its_own(app: FastAPI, seen: Captured) -> None:
    sent = []
    incoming = [{"type": "websocket.connect"}]

    async def receive() -> Any:
        return incoming.pop(0) if incoming else {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    scope = {"type": "websocket", "path": "/ws/lobby", "raw_path": b"/ws/lobby", "root_path": "", "scheme": "ws",
             "query_string": b"", "headers": [(b"traceparent", f"00-{TRACE}-{PARENT}-01".encode())],
             "client": ("192.0.2.7", 1), "server": ("h", 80), "subprotocols": [], "state": {}}  # fmt: skip
    await app(scope, receive, send)
    assert sent == ["websocket.accept", "websocket.send", "websocket.close"]
    (span,) = seen.spans
    assert (span.name, f"{span.trace_id:032x}") == ("WS /ws/{room}", TRACE)
    assert seen.records[0].span_id == span.span_id


async def of_websocket(app: Any, path: str, headers: dict[str, str]) -> None:
    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(_message: Any) -> None:
        pass

    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await app({"type": "websocket", "path": path, "headers": encoded}, receive, send)


@pytest.mark.parametrize(
    ("sent", "request_id", "correlation_id"),
    [
        ({"x-request-id": "r-7", "x-correlation-id": "work-1"}, "r-7", "work-1"),
        ({"x-request-id": "r-7"}, "r-7", "r-7"),
        ({"x-request-id": "no id"}, "", ""),
        ({}, "", ""),
    ],
)
async def test_what_is_said_inside_a_websocket_has_its_ids(
    sent: dict[str, str], request_id: str, correlation_id: str, seen: Captured
) -> None:
    async def talk(_scope: Any, _receive: Any, _send: Any) -> None:
        wk.bind_context(user_id="u-7")
        wk.get_logger("shop").info("said")
        await asyncio.create_task(later())

    async def later() -> None:
        wk.get_logger("shop").info("said later")

    await of_websocket(wk.instrument(talk), "/talk", sent)
    (span,) = seen.spans
    own = request_id or f"{span.trace_id:032x}"  # without one it is named like its trace
    for record in seen.records:
        assert (record.request_id, record.correlation_id) == (own, correlation_id or own)
        assert record.trace_id == span.trace_id
        assert record.fields["user_id"] == "u-7"
    assert [record.message for record in seen.records] == ["said", "said later"]
    assert span.attributes["user.id"] == "u-7"
    assert seen.metric("http_requests_in_progress", method="GET") in {0, None}


async def test_a_request_made_inside_a_websocket_in_the_same_process_is_one_of_its_own(
    app: FastAPI, seen: Captured
) -> None:
    async def talk(_scope: Any, _receive: Any, _send: Any) -> None:
        await request(app, "/v1/orders/7")

    await of_websocket(wk.instrument(talk), "/talk", {"x-request-id": "r-7"})
    assert [span.name for span in seen.spans] == ["GET /v1/orders/{order_id}", "WS"]


async def test_lifespan_messages_pass_untouched(seen: Captured) -> None:
    heard, said = [], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        heard.append(scope["type"])
        for stage in ("startup", "shutdown"):
            heard.append(await receive())
            await send({"type": f"lifespan.{stage}.complete"})

    async def receive() -> Any:
        return {"type": "lifespan.startup"} if len(heard) == 1 else {"type": "lifespan.shutdown"}

    async def send(message: Any) -> None:
        said.append(message)

    await wk.instrument(app)({"type": "lifespan"}, receive, send)
    assert heard == ["lifespan", {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    assert said == [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]


async def test_routes_below_mounts_keep_their_template(seen: Captured) -> None:
    async def page(_request: Any) -> Any:
        return PlainTextResponse("ok")

    inner = Starlette(routes=[Route("/pages/{page}", page)])
    app = wk.instrument(
        Starlette(routes=[Mount("/tenants/{tenant}", app=inner), Mount("/files", app=PlainTextResponse("f"))])
    )
    await request(app, "/tenants/42/pages/9")
    await request(app, "/files/a/b.txt")
    assert [span.name for span in seen.spans] == ["GET /tenants/{tenant}/pages/{page}", "GET /files/{path}"]


async def test_an_instrumented_application_below_another_makes_no_second_span(seen: Captured) -> None:
    inner = FastAPI()

    @inner.get("/x")
    async def x() -> Any:
        return {}

    outer = FastAPI()
    outer.mount("/inner", wk.instrument(inner))
    await request(wk.instrument(outer), "/inner/x")
    assert [span.name for span in seen.spans] == ["GET /inner/x"]


async def test_uninstrument_leaves_the_application_as_it_was(app: FastAPI, seen: Captured) -> None:
    await request(app, "/v1/orders/7")
    wk.uninstrument(app)
    response = await request(app, "/v1/orders/7")
    ours = [span for span in seen.spans if span.scope.name == "watchkeeper"]  # FastAPI's own may come back
    assert (response.status, len(ours), "x-request-id" in response.headers) == (200, 1, False)
    assert app._telemetry["tracing"] is True
    assert "build_middleware_stack" not in vars(app)
    wk.instrument(app)
    await request(app, "/v1/orders/7")
    assert len(seen.spans) >= 2


async def test_instrument_twice_is_instrument_once(app: FastAPI, seen: Captured) -> None:
    wk.instrument(wk.instrument(app))
    await request(app, "/v1/orders/7")
    assert len(seen.spans) == 1


async def test_without_configure_an_instrumented_application_just_runs(app: FastAPI) -> None:
    wk.shutdown()
    response = await request(app, "/v1/orders/7")
    assert (response.status, "x-request-id" in response.headers) == (200, False)


async def test_an_error_inside_the_sdk_is_counted_and_the_request_answered(seen: Captured, production: None) -> None:
    class Odd:
        @property
        def path_format(self) -> str:
            raise RuntimeError("whatever a router leaves behind")

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        scope["route"] = Odd()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    before = ERRORS.labels("request")._value.get()
    response = await request(wk.instrument(app))
    assert (response.status, response.body) == (200, b"ok")
    assert ERRORS.labels("request")._value.get() == before + 1


@pytest.mark.parametrize("fails", ["on_start", "on_end"])
async def test_a_websocket_of_a_provider_whose_processor_fails_passes_through(
    fails: str, seen: Captured, production: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(SpanProcessor):
        pass

    def fail(*_: Any) -> None:
        raise RuntimeError("of the application's own")

    setattr(Failing, fails, fail)
    provider = TracerProvider()
    provider.add_span_processor(Failing())
    monkeypatch.setattr(Origin, "tracer", provider.get_tracer("theirs"))
    sent = []

    async def talking(scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        if scope["path"] == "/boom":
            raise ValueError("no")

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    app = wk.instrument(talking)
    await app({"type": "websocket", "path": "/talk", "headers": []}, receive, send)
    with pytest.raises(ValueError, match="no"):
        await app({"type": "websocket", "path": "/boom", "headers": []}, receive, send)
    assert sent == ["websocket.accept"] * 2
