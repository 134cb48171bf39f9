"""User, tenant and correlation id on spans."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

import watchkeeper as wk
from support.sdk import request
from watchkeeper.testing import Captured


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()

    @app.get("/bound")
    async def bound() -> None:
        wk.bind_context(user_id="u-7", tenant_id="acme", basket=3)
        with wk.span("inner"):
            pass

    @app.get("/bare")
    async def bare() -> None:
        with wk.span("inner"):
            pass

    return wk.instrument(app)


IDENTITY = ("user.id", "tenant.id", "correlation.id", "basket")


def told(seen: Captured, name: str) -> dict[str, object]:
    return {key: value for key, value in seen.span(name).attributes.items() if key in IDENTITY}


async def test_what_a_request_binds_is_on_its_span_and_on_those_that_follow(app: FastAPI, seen: Captured) -> None:
    await request(app, "/bound")
    assert told(seen, "GET /bound") == told(seen, "inner") == {"user.id": "u-7", "tenant.id": "acme"}


async def test_a_callers_correlation_id_is_on_every_span(app: FastAPI, seen: Captured) -> None:
    await request(app, "/bare", headers=[("X-Correlation-ID", "import-1")])
    assert told(seen, "GET /bare") == told(seen, "inner") == {"correlation.id": "import-1"}


async def test_where_nothing_is_bound_spans_say_nothing(app: FastAPI, seen: Captured) -> None:
    await request(app, "/bare")
    assert told(seen, "GET /bare") == told(seen, "inner") == {}


def test_outside_of_requests_the_block_decides_and_a_spans_own_word_wins(seen: Captured) -> None:
    with wk.bound_context(tenant_id="acme", correlation_id="c-1"):
        with wk.span("first"):
            pass
        with wk.span("second", **{"tenant.id": "own"}):
            pass
    with wk.span("third"):
        pass
    assert told(seen, "first") == {"tenant.id": "acme", "correlation.id": "c-1"}
    assert told(seen, "second") == {"tenant.id": "own", "correlation.id": "c-1"}
    assert told(seen, "third") == {}
