from __future__ import annotations

from typing import Any

import httpx
import sqlalchemy
from fastapi import FastAPI
from opentelemetry.trace import SpanKind

import watchkeeper as wk
from support.sdk import request, serving
from watchkeeper.testing import Captured


async def test_httpx_calls_are_client_spans_that_carry_the_trace_on(seen: Captured) -> None:
    app = FastAPI()
    with serving() as other:

        @app.get("/buy")
        def buy() -> Any:
            return httpx.post(f"{other.url}/charge", content=b"1").status_code

        wk.instrument(app)
        await request(app, "/buy")
        headers = other.requests[0][1]
    (client,) = [span for span in seen.spans if span.kind is SpanKind.CLIENT]
    server = seen.span("GET /buy")
    assert (client.trace_id, client.parent_id) == (server.trace_id, server.span_id)
    assert headers["traceparent"] == f"00-{client.trace_id:032x}-{client.span_id:016x}-01"
    assert client.attributes["http.request.method"] == "POST"
    assert client.attributes["http.response.status_code"] == 200


def test_sqlalchemy_statements_are_spans_below_the_current_one(seen: Captured) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    with wk.span("work") as work, engine.connect() as connection:
        connection.execute(sqlalchemy.text("SELECT 1"))
    engine.dispose()
    statements = [span for span in seen.spans if span.kind is SpanKind.CLIENT and span.parent_id == work.span_id]
    assert any("SELECT" in str(span.attributes) for span in statements)


def test_shutdown_takes_the_instrumentations_off(seen: Captured) -> None:
    wk.shutdown()
    with serving() as other:
        httpx.get(other.url)
    assert seen.spans == []
