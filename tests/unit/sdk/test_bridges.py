"""WSGI through ASGI, or ASGI through WSGI, with both instrumented: one request, with the route that the inner knows."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from typing import Any

import a2wsgi
import flask
import httpx
import pytest
from asgiref.wsgi import WsgiToAsgi
from fastapi import FastAPI
from opentelemetry.trace import SpanKind
from starlette.applications import Starlette
from starlette.routing import Mount
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import watchkeeper as wk
from support.sdk import request
from support.wsgi import call
from watchkeeper.testing import Captured

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # both say to use a2wsgi; who mounts Flask has them
    from starlette.middleware.wsgi import WSGIMiddleware as StarletteAdapter
    from uvicorn.middleware.wsgi import _WSGIMiddleware as UvicornAdapter

log = wk.get_logger("shop")


def quietly(adapter: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def adapted(app: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return adapter(app)

    return adapted


ADAPTERS = {
    "a2wsgi": a2wsgi.WSGIMiddleware,
    "asgiref": WsgiToAsgi,
    "starlette": StarletteAdapter,
    "uvicorn": quietly(UvicornAdapter),
}


@pytest.fixture
def shop() -> Any:
    app = flask.Flask("shop")

    @app.get("/orders/<int:order_id>")
    def order(order_id: int) -> dict[str, int]:
        log.info("shown")
        return {"order_id": order_id}

    @app.get("/boom")
    def boom() -> str:
        raise ValueError("no")

    return wk.instrument(app)


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_a_flask_below_a_fastapi_is_one_request_with_flasks_route(
    adapter: str, shop: Any, seen: Captured
) -> None:
    app = FastAPI()
    app.mount("/shop", ADAPTERS[adapter](shop))
    wk.instrument(app)
    labels = {"method": "GET", "route": "/shop/orders/{order_id}", "status": "200"}
    before = seen.metric("http_requests_total", **labels) or 0
    response = await request(app, "/shop/orders/7", headers=[("x-request-id", "r-7")])
    assert (response.status, response.body.strip()) == (200, b'{"order_id":7}')
    assert [value for name, value in response.messages[0]["headers"] if name.lower() == b"x-request-id"] == [b"r-7"]
    assert seen.metric("http_requests_total", **labels) == before + 1
    assert seen.metric("http_requests_in_progress", method="GET") in {0, None}
    span = seen.span("GET /shop/orders/{order_id}")
    assert [each.kind for each in seen.spans] == [SpanKind.SERVER]
    shown = next(record for record in seen.records if record.message == "shown")
    assert (shown.trace_id, shown.request_id) == (span.trace_id, "r-7")


async def test_the_exception_that_flask_answers_is_the_requests(shop: Any, seen: Captured) -> None:
    app = wk.instrument(WsgiToAsgi(shop))
    assert (await request(app, "/boom")).status == 500
    span = seen.span("GET /boom")
    assert span.attributes is not None
    assert span.attributes["error.type"] == "ValueError"
    assert len(seen.spans) == 1


async def test_a_root_path_is_no_part_of_the_route(shop: Any, seen: Captured) -> None:
    app = wk.instrument(Starlette(routes=[Mount("/shop", WsgiToAsgi(shop))]))
    await request(app, "/api/shop/orders/7", root_path="/api")
    assert [span.name for span in seen.spans] == ["GET /shop/orders/{order_id}"]


async def test_a_call_in_the_same_process_is_a_request_of_its_own(shop: Any, seen: Captured) -> None:
    app = FastAPI()

    @app.get("/orders/{order_id}")
    async def order(order_id: int) -> Any:
        def ask() -> int:
            with httpx.Client(transport=httpx.WSGITransport(shop), base_url="http://shop.internal") as client:
                return client.get(f"/orders/{order_id}").status_code

        return await asyncio.to_thread(ask)

    wk.instrument(app)
    assert (await request(app, "/orders/7")).body == b"200"
    assert [span.name for span in seen.spans if span.kind is SpanKind.SERVER] == ["GET /orders/{order_id}"] * 2


def within_a2wsgi(app: Any) -> Any:
    return a2wsgi.ASGIMiddleware(app)


def within_one_step(app: Any) -> Any:
    def served(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        """As an adapter of one's own does it: the request as it came, in a copy of its context."""
        headers = [
            (key[5:].replace("_", "-").lower(), value) for key, value in environ.items() if key.startswith("HTTP_")
        ]
        mount = environ["SCRIPT_NAME"]
        asked = request(app, mount + environ["PATH_INFO"], headers=headers, root_path=mount)
        answer = asyncio.run(asked)
        start_response(f"{answer.status} OK", list(answer.headers.items()))
        return [answer.body]

    return served


@pytest.mark.parametrize("within", [within_a2wsgi, within_one_step])
def test_a_fastapi_below_a_flask_is_one_request_with_fastapis_route(
    within: Callable[[Any], Any], shop: Any, seen: Captured
) -> None:
    inner = FastAPI()

    @inner.get("/items/{item_id}")
    async def item(item_id: int) -> int:
        log.info("shown")
        return item_id

    wk.instrument(inner)
    outer = wk.instrument(DispatcherMiddleware(shop, {"/api": within(inner)}))
    response = call(outer, "/api/items/7", headers=[("x-request-id", "r-7")])
    assert (response.status, response.body) == (200, b"7")
    assert [span.name for span in seen.spans] == ["GET /api/items/{item_id}"]
    assert [(record.request_id, record.trace_id) for record in seen.records] == [("r-7", seen.spans[0].trace_id)]
