"""What a request may do besides answering: stream, listen, work on after the answer, fail anywhere, and be left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse, StreamingResponse
from opentelemetry.trace import SpanKind, StatusCode
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, Router

import watchkeeper as wk
from support.sdk import Response, request
from watchkeeper.testing import Captured, FakeClock, SequentialIds, capture
from watchkeeper.tracing.api import provider
from watchkeeper.tracing.span import type_name

log = wk.get_logger("shop")


class DeclinedError(Exception):
    pass


class OverloadedError(Exception):
    pass


@pytest.fixture
def app() -> FastAPI:  # noqa: C901, PLR0915  # one endpoint a behaviour
    app = FastAPI()

    async def session() -> AsyncIterator[str]:
        try:
            yield "session"
        finally:
            log.info("session closed")

    def leaking() -> Iterator[str]:
        yield "session"
        raise ValueError("on the way out")

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def chunks() -> AsyncIterator[str]:
            try:
                for number in range(3):
                    with wk.span("chunk"):
                        log.info("chunk")
                    yield str(number)
                    await asyncio.sleep(0)
            finally:
                log.info("stream closed")

        return StreamingResponse(chunks())

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        async def chunks() -> AsyncIterator[str]:
            while True:
                yield "more"
                await asyncio.sleep(0.001)

        return StreamingResponse(chunks())

    @app.get("/events")
    async def events() -> EventSourceResponse:
        async def said() -> AsyncIterator[dict[str, str]]:
            while True:
                log.info("event")
                yield {"data": "tick"}
                await asyncio.sleep(0.001)

        return EventSourceResponse(said())

    @app.get("/half")
    async def half() -> StreamingResponse:
        async def chunks() -> AsyncIterator[str]:
            yield "1"
            raise ValueError("half-way")

        return StreamingResponse(chunks())

    @app.get("/tasks")
    async def tasks(tasks: BackgroundTasks) -> dict[str, str]:
        @wk.traced(name="task")
        def task() -> None:
            log.info("worked on")

        tasks.add_task(task)
        return {}

    @app.get("/task-fails")
    async def task_fails() -> PlainTextResponse:
        def fails() -> None:
            raise ValueError("after the answer")

        return PlainTextResponse("ok", background=BackgroundTask(fails))

    @app.get("/session")
    async def with_session(fails: bool = False, held: str = Depends(session)) -> str:  # noqa: FAST002  # a local name
        if fails:
            raise ValueError("no")
        return held

    @app.get("/leaking")
    async def with_leaking(held: str = Depends(leaking)) -> str:  # noqa: FAST002  # likewise
        return held

    @app.get("/declined")
    async def declined() -> None:
        raise DeclinedError

    @app.get("/overloaded")
    async def overloaded() -> None:
        raise OverloadedError("too much")

    @app.get("/unavailable")
    async def unavailable() -> None:
        raise HTTPException(503)

    @app.get("/worse")
    async def worse() -> None:
        raise RuntimeError

    @app.post("/upload")
    async def upload(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.exception_handler(DeclinedError)
    async def _declined(_request: Request, _error: Exception) -> JSONResponse:
        return JSONResponse({}, 402)

    @app.exception_handler(OverloadedError)
    async def _overloaded(_request: Request, _error: Exception) -> JSONResponse:
        return JSONResponse({}, 503)

    @app.exception_handler(RuntimeError)
    async def _worse(_request: Request, _error: Exception) -> JSONResponse:
        raise KeyError("in the handler itself")

    @app.websocket("/ws/{way}")
    async def ws(socket: WebSocket, way: str) -> None:
        if way == "refused":
            await socket.close(4403)
            return
        await socket.accept()
        with wk.span("inside"):
            log.info("heard")
        if way == "fails":
            raise ValueError("no")
        if way == "broken":
            await socket.close(1011)
        elif way == "left":
            await socket.receive_text()
        elif way == "left, caught":
            try:
                await socket.receive_text()
            except WebSocketDisconnect:
                return
        else:
            await socket.close()

    wk.instrument(app)
    return app


def failures(seen: Captured) -> float:
    return sum(
        sample.value
        for family in __import__("prometheus_client").REGISTRY.collect()
        if family.name == "http_errors"
        for sample in family.samples
        if sample.name == "http_errors_total"
    )


async def ask_and_leave(app: Any, path: str, parts: int) -> Response:
    """A client that reads so many parts of the body and goes, as uvicorn tells of it."""
    response, gone = Response(), asyncio.Event()

    pending = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if pending:
            return pending.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        response.messages.append(message)
        if sum(bool(each.get("body")) for each in response.messages) >= parts:
            gone.set()

    scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET",
             "scheme": "http", "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"",
             "headers": [], "client": ("192.0.2.7", 1), "server": ("h", 80), "state": {}}  # fmt: skip
    try:
        await asyncio.wait_for(app(scope, receive, send), 5)
    except Exception as error:  # noqa: BLE001
        response.error = error
    return response


def error_of(seen: Captured, name: str) -> tuple[StatusCode, Any]:
    span = seen.span(name)
    assert span.attributes is not None
    return span.status_code, span.attributes.get("error.type")


# Answers in parts


async def test_every_part_of_a_stream_and_its_end_belong_to_the_request(app: FastAPI, seen: Captured) -> None:
    assert (await request(app, "/stream", asgi={"version": "3.0", "spec_version": "2.4"})).body == b"012"
    served = seen.span("GET /stream")
    chunks = [span for span in seen.spans if span.name == "chunk"]
    assert [span.parent_id for span in chunks] == [served.span_id] * 3
    assert [record.request_id for record in seen.records] == [seen.records[0].request_id] * 4
    assert seen.records[-1].message == "stream closed"


@pytest.mark.parametrize("path", ["/endless", "/events"])
async def test_a_client_that_leaves_a_stream_is_no_failure(path: str, app: FastAPI, seen: Captured) -> None:
    before = failures(seen)
    await ask_and_leave(app, path, 3)
    assert error_of(seen, f"GET {path}") == (StatusCode.UNSET, "client_disconnect")
    assert failures(seen) == before
    assert all(record.trace_id == seen.spans[-1].trace_id for record in seen.records)


async def test_a_stream_that_fails_half_way_fails_the_request(app: FastAPI, seen: Captured) -> None:
    assert isinstance((await request(app, "/half")).error, ValueError)
    assert error_of(seen, "GET /half") == (StatusCode.ERROR, "ValueError")


# After the answer


async def test_a_background_task_is_below_its_request_and_no_part_of_its_duration(seen: Captured) -> None:
    time = FakeClock()

    @wk.traced(name="task")
    def task() -> None:
        log.info("worked on")
        time.advance(60)

    async def page(tasks: BackgroundTasks) -> dict[str, str]:
        tasks.add_task(task)
        return {}

    app = FastAPI()
    app.get("/tasks")(page)
    with capture(clock=time.clock(), ids=SequentialIds()) as seen:  # noqa: PLR1704  # with a clock of its own
        await request(wk.instrument(app), "/tasks")
    served, worked = seen.span("GET /tasks"), seen.span("task")
    assert (worked.parent_id, worked.trace_id) == (served.span_id, served.trace_id)
    assert (served.end_time - served.start_time, worked.end_time - worked.start_time) == (0, 60_000_000_000)
    assert seen.records[0].span_id == worked.span_id


async def test_a_background_task_that_fails_is_not_the_answers_failure(app: FastAPI, seen: Captured) -> None:
    before = failures(seen)
    assert isinstance((await request(app, "/task-fails")).error, ValueError)
    assert error_of(seen, "GET /task-fails") == (StatusCode.UNSET, None)
    assert failures(seen) == before


# Failures


@pytest.mark.parametrize(
    ("path", "status", "status_code", "error_type"),
    [
        ("/session", 200, StatusCode.UNSET, None),
        ("/session?fails=true", 500, StatusCode.ERROR, "ValueError"),
        ("/declined", 402, StatusCode.UNSET, None),
        ("/overloaded", 503, StatusCode.ERROR, type_name(OverloadedError())),
        ("/unavailable", 503, StatusCode.ERROR, "503"),
        ("/worse", 500, StatusCode.ERROR, "KeyError"),
    ],
)
async def test_failures_are_told_of_by_what_was_answered(
    path: str, status: int, status_code: StatusCode, error_type: str | None, app: FastAPI, seen: Captured
) -> None:
    response = await request(app, path)
    assert (response.status, "x-request-id" in response.headers) == (status, True)
    assert error_of(seen, f"GET {path.partition('?')[0]}") == (status_code, error_type)
    assert len([span for span in seen.spans if span.kind is SpanKind.SERVER]) == 1
    if path.startswith("/session"):
        assert [record.message for record in seen.records] == ["session closed"]


async def test_a_dependency_that_fails_on_the_way_out_is_seen(app: FastAPI, seen: Captured) -> None:
    response = await request(app, "/leaking")
    assert error_of(seen, "GET /leaking") == (
        (StatusCode.ERROR, "ValueError") if response.status == 500 else (StatusCode.UNSET, None)
    )


async def test_a_failure_of_a_middleware_is_the_requests(seen: Captured) -> None:
    class Failing(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Any) -> Any:
            if request.url.path == "/before":
                raise ValueError("before")
            await call_next(request)
            raise ValueError("after")

    app = FastAPI()
    app.add_middleware(Failing)

    @app.get("/after")
    async def after() -> None: ...

    wk.instrument(app)
    for path in ("/before", "/after"):
        assert (await request(app, path)).status == 500
    assert [(span.name, span.status_code) for span in seen.spans] == [
        ("GET", StatusCode.ERROR),
        ("GET /after", StatusCode.ERROR),
    ]


# Clients


@pytest.mark.parametrize("server_says", ["nothing", "that it came"])
async def test_a_client_that_leaves_while_it_sends_is_no_failure(server_says: str, seen: Captured) -> None:
    async def upload(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    app = wk.instrument(Starlette(routes=[Route("/upload", upload, methods=["POST"])]))
    before = failures(seen)
    chunks = () if server_says == "nothing" else (b"half",)
    headers = [("content-length", "8")]
    pending = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]

    async def receive() -> Any:
        return pending.pop(0) if pending else {"type": "http.disconnect"}

    async def leaving(scope: Any, _receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    assert isinstance((await request(leaving, "/upload", "POST", headers)).error, ClientDisconnect)
    assert error_of(seen, "POST /upload") == (StatusCode.UNSET, "client_disconnect")
    assert failures(seen) == before
    assert seen.metric("http_requests_total", method="POST", route="/upload", status="499")


async def test_http_1_0_head_and_early_hints_are_ordinary_requests(seen: Captured) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]})
        await PlainTextResponse("" if scope["method"] == "HEAD" else "ok")(scope, receive, send)

    served = wk.instrument(app)
    response = await request(served, "/", "HEAD", http_version="1.0")
    assert [message["type"] for message in response.messages][:2] == ["http.response.early_hint", "http.response.start"]
    (span,) = seen.spans
    assert (span.name, span.status_code, span.attributes["network.protocol.version"]) == (
        "HEAD",
        StatusCode.UNSET,
        "1.0",
    )


# Answers that the application has for an exception


class Apologizing:
    """A middleware that answers when the exception is over."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        failed = False
        try:
            await self.app(scope, receive, send)
        except Exception:  # noqa: BLE001
            failed = True
        if failed:
            await PlainTextResponse("sorry", 500)(scope, receive, send)


async def apologize(asked: Request, call_next: Any) -> Any:
    try:
        return await call_next(asked)
    except Exception:  # noqa: BLE001
        return JSONResponse({"error": "sorry"}, 503)


async def apology(_asked: Request, _error: Exception) -> Any:
    return JSONResponse({"error": "sorry"}, 500)


APOLOGIES: dict[str, Callable[[Any], Any]] = {
    "a function": lambda app: app.add_middleware(BaseHTTPMiddleware, dispatch=apologize),
    "a class": lambda app: app.add_middleware(Apologizing),
    "two of them": lambda app: (app.add_middleware(Apologizing), app.add_middleware(Apologizing)),
    "a handler": lambda app: app.add_exception_handler(LookupError, apology),
    "a handler of all": lambda app: app.add_exception_handler(Exception, apology),
}


@pytest.mark.parametrize("kind", [FastAPI, Starlette])
@pytest.mark.parametrize("way", APOLOGIES)
async def test_what_the_application_answers_an_exception_with_is_a_failure_with_its_stack(
    way: str, kind: Any, seen: Captured
) -> None:
    async def lost(_asked: Request) -> None:
        raise KeyError("nowhere")

    app = kind()
    app.router.add_api_route("/lost", lost) if kind is FastAPI else app.add_route("/lost", lost)
    app.mount("/below", Starlette(routes=[Route("/lost", lost)]))
    APOLOGIES[way](app)
    wk.instrument(app)
    for path in ("/lost",) if "handler" in way else ("/lost", "/below/lost"):  # which answers by itself
        response = await request(app, path)
        assert response.status >= 500
        span = seen.span(f"GET {path}")
        assert (span.status_code, span.attributes["error.type"]) == (StatusCode.ERROR, "KeyError")
        assert "in lost" in str(span.events[0].attributes["exception.stacktrace"])
        assert seen.errors[0].exceptions[0].frames[-1].function.endswith("lost")
    assert {(error.type, error.handled) for error in seen.errors} == {("KeyError", False)}
    assert {middleware.cls for middleware in app.user_middleware} <= {Apologizing, BaseHTTPMiddleware}


async def test_an_exception_that_a_middleware_got_over_is_no_failure(seen: Captured) -> None:
    tries: list[int] = []

    class Again:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, *asked: Any) -> None:
            try:
                await self.app(*asked)
            except KeyError:
                await self.app(*asked)

    async def second(_asked: Request) -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise KeyError("not yet")
        return PlainTextResponse("ok")

    app = Starlette(routes=[Route("/", second)])
    app.add_middleware(Again)
    wk.instrument(app)
    assert (await request(app)).body == b"ok"
    assert (seen.errors, seen.spans[0].status_code) == ([], StatusCode.UNSET)


# Applications in applications


async def test_routers_mounts_and_applications_below_one_have_one_template(seen: Captured) -> None:
    async def page(_request: Any) -> Any:
        log.info("here")
        return PlainTextResponse("ok")

    deep = Starlette(routes=[Route("/orders/{order_id}", page)])
    below = FastAPI()
    below.mount("/deep", deep)
    router = Router(routes=[Route("/items/{item_id}", page), Mount("/sub/{tenant}", below)])
    app = wk.instrument(Starlette(routes=[Mount("/v1", router)]))
    wk.instrument(below)
    wk.instrument(deep)
    await request(app, "/v1/items/3")
    await request(app, "/v1/sub/acme/deep/orders/7")
    assert [span.name for span in seen.spans] == [
        "GET /v1/items/{item_id}",
        "GET /v1/sub/{tenant}/deep/orders/{order_id}",
    ]


OUTER: dict[str, Callable[[Any], Any]] = {
    "fastapi": lambda _app: FastAPI(),
    "starlette": lambda _app: Starlette(),
    "any other": lambda app: Mount("/sub", app),
    "a router": lambda app: Router(routes=[Mount("/sub", app)]),
}


@pytest.mark.parametrize("mounted", ["before", "after"])
@pytest.mark.parametrize("kind", OUTER)
async def test_a_fastapi_below_an_instrumented_application_makes_no_spans_of_its_own(
    kind: str, mounted: str, seen: Captured
) -> None:
    deep, below = FastAPI(), FastAPI()

    @deep.get("/{item_id}")
    async def item(item_id: int) -> Any:
        log.info("here")
        return {"item_id": item_id}

    @below.websocket("/talk")
    async def talks(socket: WebSocket) -> None:
        await socket.accept()
        await socket.close()

    below.mount("/items", deep)
    outer = OUTER[kind](below)
    if mounted == "before" and hasattr(outer, "middleware_stack"):
        outer.mount("/sub", below)
    served = wk.instrument(outer)
    if mounted == "after" and hasattr(outer, "middleware_stack"):
        outer.mount("/sub", below)
    labels = {"method": "GET", "route": "/sub/items/{item_id}", "status": "200"}
    before = seen.metric("http_requests_total", **labels) or 0
    response = await request(served, "/sub/items/7")
    assert (response.status, response.body) == (200, b'{"item_id":7}')
    (span,) = seen.spans
    assert (span.name, span.kind) == ("GET /sub/items/{item_id}", SpanKind.SERVER)
    assert [record.trace_id for record in seen.records] == [span.trace_id]
    assert seen.metric("http_requests_total", **labels) == before + 1
    await talk(served, "talk", "/sub/talk")
    assert [each.name for each in seen.spans[1:]] == ["WS /sub/talk"]


async def test_a_fastapi_that_tells_of_requests_by_itself_tells_of_those_below_it(seen: Captured) -> None:
    told: list[Any] = []
    below = FastAPI()

    @below.get("/")
    async def page(asked: Request) -> None:
        told.append(asked.scope["fastapi.telemetry"])

    app = FastAPI(telemetry={"tracer_provider": provider})
    app.mount("/sub", below)
    wk.instrument(app)
    await request(app, "/sub/")
    assert told[0].route == "/sub/"
    assert [span.name for span in seen.spans if span.kind is SpanKind.SERVER] == ["GET /sub/"]


async def test_a_template_that_litestar_leaves_loses_its_types(seen: Captured) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["path_template"] = "/shops/{shop:uuid}/orders/{order_id:int}/{rest:path}"
        await PlainTextResponse("ok")(scope, receive, send)

    await request(wk.instrument(app), "/shops/1/orders/2/x")
    assert seen.spans[0].name == "GET /shops/{shop}/orders/{order_id}/{rest}"


# WebSockets


async def talk(app: Any, way: str, path: str = "") -> Response:
    """A client that connects and leaves without a word."""
    response = Response()
    incoming = [{"type": "websocket.connect"}]

    async def receive() -> Any:
        return incoming.pop(0) if incoming else {"type": "websocket.disconnect", "code": 1001}

    async def send(message: Any) -> None:
        response.messages.append(message)

    scope = {"type": "websocket", "asgi": {"version": "3.0"}, "path": path or f"/ws/{way}", "raw_path": b"",
             "root_path": "", "scheme": "ws", "query_string": b"", "headers": [(b"x-request-id", b"r-7")],
             "server": ("h", 80), "client": ("192.0.2.7", 1), "subprotocols": [], "state": {}}  # fmt: skip
    try:
        await app(scope, receive, send)
    except Exception as error:  # noqa: BLE001
        response.error = error
    return response


@pytest.mark.parametrize(
    ("way", "code", "status_code", "error_type"),
    [
        ("closed", 1000, StatusCode.UNSET, None),
        ("refused", 4403, StatusCode.UNSET, None),
        ("broken", 1011, StatusCode.ERROR, "1011"),
        ("fails", None, StatusCode.ERROR, "ValueError"),
        ("left", 1001, StatusCode.UNSET, None),
        ("left, caught", 1001, StatusCode.UNSET, None),
    ],
)
async def test_a_websockets_span_says_how_it_ended(
    way: str, code: int | None, status_code: StatusCode, error_type: str | None, app: FastAPI, seen: Captured
) -> None:
    await talk(app, way)
    span = seen.span("WS /ws/{way}")
    assert span.attributes is not None
    assert (span.attributes.get("websocket.close_code"), error_of(seen, "WS /ws/{way}")) == (
        code,
        (status_code, error_type),
    )
    for inside in (each for each in seen.spans if each.name == "inside"):
        assert inside.parent_id == span.span_id
