"""ASGI servers with several workers: nothing of a request is lost or told twice, whichever of them served it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.programs import counted, serving
from support.sdk import Sink
from support.sdk import serving as sink_serving

APP = """
import os
from fastapi import BackgroundTasks, FastAPI
import watchkeeper as wk

wk.configure()
log = wk.get_logger("shop.orders")
app = FastAPI()
wk.instrument(app)

@app.get("/orders/{order_id}")
async def order(order_id: int, tasks: BackgroundTasks):
    tasks.add_task(log.info, "shipped")
    return {"worker": os.getpid()}

@app.get("/threads/{order_id}")
def thread(order_id: int):
    log.info("shipped")
    return {"worker": os.getpid()}
"""
GUNICORN = ("--graceful-timeout", "2", "--no-control-socket", "-w", "2")
SERVERS = {
    "uvicorn's own workers": lambda port: ["-m", "uvicorn", "shop:app", "--port", port, "--workers", "2"],
    "gunicorn with uvicorn's": lambda port: [
        *("-W", "ignore::DeprecationWarning", "-m", "gunicorn", "shop:app", "-b", f"127.0.0.1:{port}", *GUNICORN),
        *("-k", "uvicorn.workers.UvicornWorker"),
    ],
    "gunicorn with uvicorn's, preloaded, replaced": lambda port: [
        *("-W", "ignore::DeprecationWarning", "-m", "gunicorn", "shop:app", "-b", f"127.0.0.1:{port}", *GUNICORN),
        *("-k", "uvicorn.workers.UvicornWorker", "--preload", "--max-requests", "9"),
    ],
    "gunicorn's own": lambda port: ["-m", "gunicorn", "shop:app", "-b", f"127.0.0.1:{port}", *GUNICORN, "-k", "asgi"],
    "hypercorn's": lambda port: ["-m", "hypercorn", "shop:app", "-b", f"127.0.0.1:{port}", "-w", "2"],
}
REQUESTS = 30


@pytest.fixture
def sink() -> Iterator[Sink]:
    with sink_serving() as found:
        yield found


@pytest.mark.parametrize("name", SERVERS)
def test_workers_lose_and_double_nothing(name: str, sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APP)
    paths = [f"/{'orders' if number % 2 else 'threads'}/{number}" for number in range(REQUESTS)]
    command = SERVERS[name]
    with (
        serving(lambda port: [sys.executable, *command(str(port))], tmp_path, sink) as server,
        ThreadPoolExecutor(4) as pool,
    ):
        assert set(pool.map(server.get, paths)) == {200}
    spans = sink.spans()
    halves = {"/orders/{order_id}": REQUESTS // 2, "/threads/{order_id}": REQUESTS // 2}
    assert sorted(span.name for span in spans) == sorted(
        f"GET {route}" for route, count in halves.items() for _ in range(count)
    ), server.errors
    shipped = [record for record in sink.records() if record.body.string_value == "shipped"]
    assert sorted(record.trace_id for record in shipped) == sorted(span.trace_id for span in spans)
    assert counted(sink, "http_requests_total", "route") == halves
    lines = [json.loads(line) for line in server.out.splitlines() if line.startswith("{")]
    assert len([line for line in lines if line["message"] == "shipped"]) == REQUESTS
