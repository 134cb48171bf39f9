from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from fastapi import FastAPI

from support.otlp import load, log_record, logs_request
from watchkeeper_server.api import tails as tails_module
from watchkeeper_server.api.tails import MAX_RECORDS_A_LOOK, Tails
from watchkeeper_server.model.errors import StoreBusyError
from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.store.store import Store

START = 1_795_240_800 * 10**9

Arrive = Callable[..., None]


@pytest.fixture
def arrive(store: Store, tmp_path: Path) -> Arrive:
    def arrive(*bodies: Any, service: str = "shop") -> None:
        records = [log_record(time=START + i, body=body) for i, body in enumerate(bodies)]
        load(store, Kind.LOGS, tmp_path, logs_request(records, service))

    return arrive


class Reader:
    """A browser that reads a stream of events, one chunk at a time."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        await self.messages.put(message)

    async def chunk(self) -> bytes:
        message = await asyncio.wait_for(self.messages.get(), 5)
        body: bytes = message["body"]
        return body

    async def told(self) -> bytes:
        """The next chunk that is no comment; on a slow machine some come before it."""
        while (chunk := await self.chunk()).startswith(b":"):
            pass
        return chunk

    async def bodies(self) -> list[Any]:
        """The bodies in the next chunk that has any."""
        events = (await self.told()).split(b"\n\n")
        data = [event.removeprefix(b"data: ") for event in events if event.startswith(b'data: {"time')]
        return [orjson.loads(record)["body"] for record in data]


@asynccontextmanager
async def reading(api: FastAPI, query: str = "") -> AsyncIterator[tuple[Reader, asyncio.Task[None]]]:
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET",
        "path": "/api/wk/logs/tail", "raw_path": b"/api/wk/logs/tail", "root_path": "", "scheme": "http",
        "query_string": query.encode(), "headers": [], "client": None, "server": None,
    }  # fmt: skip
    reader = Reader()
    task = asyncio.create_task(api(scope, reader.receive, reader.send))  # type: ignore[arg-type]
    start = await asyncio.wait_for(reader.messages.get(), 5)
    assert start["status"] == 200
    assert (b"content-type", b"text/event-stream; charset=utf-8") in start["headers"]
    assert await reader.chunk() == b": following\n\n"
    try:
        yield reader, task
    finally:
        reader.gone.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)


async def test_records_are_sent_as_they_arrive(api: FastAPI, arrive: Arrive) -> None:
    arrive("before")
    async with reading(api) as (reader, _):
        arrive("a", "b")
        assert await reader.bodies() == ["a", "b"]
        arrive("c")
        assert await reader.bodies() == ["c"]


async def test_only_matching_records_are_sent(api: FastAPI, arrive: Arrive, store: Store) -> None:
    async with reading(api, "service=b&words=order&level=info") as (reader, _):
        arrive("order 1", service="a")
        arrive("nothing", "order 2", service="b")
        assert await reader.bodies() == ["order 2"]


async def test_silence_is_broken_by_comments(api: FastAPI, store: Store) -> None:
    async with reading(api) as (reader, _):
        assert await reader.chunk() == b":\n\n"


async def test_a_flood_is_cut_to_its_newest_and_says_so(api: FastAPI, arrive: Arrive) -> None:
    async with reading(api) as (reader, _):
        arrive(*range(MAX_RECORDS_A_LOOK + 5))
        chunk = await reader.told()
        assert chunk.startswith(b"event: skipped\n")
        assert chunk.count(b'\ndata: {"time') == MAX_RECORDS_A_LOOK
        assert b'"body":5,' in chunk
        assert b'"body":4,' not in chunk


async def test_a_client_that_goes_ends_its_tail(api: FastAPI, store: Store) -> None:
    async with reading(api) as (reader, task):
        reader.gone.set()
        await asyncio.wait_for(task, 5)


async def test_tails_end_when_the_server_stops(api: FastAPI, store: Store, tails: Tails) -> None:
    async with reading(api) as (_, task):
        tails.close()
        await asyncio.wait_for(task, 5)


async def test_there_are_only_so_many_tails_at_once(
    api: FastAPI, client: httpx.AsyncClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails_module, "MAX_TAILS", 2)
    async with reading(api), reading(api):
        response = await client.get("/api/wk/logs/tail")
        assert response.status_code == 503
        assert response.json()["error"] == "too_many_tails"
        assert response.headers["retry-after"]
    async with reading(api):
        pass  # places are given back


async def test_a_failure_of_the_store_ends_the_stream_for_the_browser_to_come_back(
    api: FastAPI, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with reading(api) as (_, task):

        def fail(*_: Any, **__: Any) -> None:
            raise StoreBusyError("Code: 159")

        monkeypatch.setattr(store._engine, "query", fail)
        await asyncio.wait_for(task, 5)
