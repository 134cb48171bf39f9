from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from support.otlp import key_values, load, log_record, logs_request, span, spans_request
from watchkeeper_server.api.app import create_api
from watchkeeper_server.api.tails import Tails
from watchkeeper_server.model.answers import ServerStatus
from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.query.queries import Queries
from watchkeeper_server.store.store import Store

SECOND = 10**9
NOW = 1_795_240_800 * SECOND
TRACE = "5b8aa5a2d2c872e8321cf37308d69d00"

STATUS = ServerStatus(
    version="1",
    started="2026-11-21T05:00:00Z",
    ready=True,
    signals={},
    quarantined=0,
    private_bytes=1,
    resident_bytes=2,
)


@pytest.fixture
def filled(store: Store, tmp_path: Path) -> Store:
    """A store with something of everything in the hour before `NOW`."""
    start = NOW - 60 * SECOND
    spans = [
        span(
            trace=TRACE,
            id="01" * 8,
            start=start,
            duration=SECOND,
            name="GET /",
            kind=2,
            attributes={"n": [1, {"a": b"x"}]},
        ),
        span(
            trace=TRACE,
            id="02" * 8,
            parent="01" * 8,
            start=start + 5,
            kind=3,
            status=2,
            events=[{"time_unix_nano": start + 6, "name": "retry", "attributes": key_values({"x": float("nan")})}],
            links=[{"trace_id": b"\1" * 16, "span_id": b"\1" * 8}],
        ),
        *(span(trace=f"{i:032x}", id=f"{i:016x}", start=start + i, kind=2) for i in range(1, 6)),
    ]
    records = [
        log_record(time=start + i, body=body, severity=severity, trace_id=bytes.fromhex(TRACE) if i < 2 else b"")
        for i, (body, severity) in enumerate(
            [("order placed", 9), ({"a": 1}, 17), (None, 0), (1.5, 5), (b"\0", 13), ("x", 1)]
        )
    ]
    load(store, Kind.SPANS, tmp_path, spans_request(spans, "shop", {"host": "a"}))
    load(store, Kind.LOGS, tmp_path, logs_request(records, "shop"))
    at = start // SECOND
    store._engine.execute(f"INSERT INTO series SELECT 'up_total', 1, map('job', 'shop'), {at}, {at}")
    store._engine.execute(f"INSERT INTO samples SELECT 'up_total', 1, toDateTime64({at}, 3), arrayJoin([1, nan]), 1")
    store._engine.execute("INSERT INTO metric_metadata VALUES ('up_total', 'counter', '', 'Up.')")
    return store


@pytest.fixture
def tails() -> Iterator[Tails]:
    tails = Tails(look_seconds=0.02, comment_seconds=0.2)
    yield tails
    tails.close()


@pytest.fixture
def api(store: Store, tails: Tails) -> FastAPI:
    return create_api(Queries(store.read), lambda: STATUS, lambda: NOW, tails)


@pytest.fixture
async def client(api: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://watchkeeper") as client:
        yield client
