"""Health under real servers: workers check for themselves, masters leave it to them, and ends are quick."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.ports import unused_port
from support.sdk import eventually

FLASK = """
import os, threading, time
import flask
import watchkeeper as wk

wk.configure()
app = flask.Flask(__name__)
wk.instrument(app)

@wk.health_check("who", critical=True, interval=0.1)
def who():
    return {"pid": os.getpid(), "log": open("checked", "a").write(f"{os.getpid()}\\n")}

@wk.health_check("hanging", timeout=0.2)
def hanging():
    time.sleep(3600)

time.sleep(0.3)  # long enough for a check in the master
"""
FASTAPI = """
import asyncio, contextlib
import fastapi
import watchkeeper as wk

loops = set()

@contextlib.asynccontextmanager
async def lifespan(app):
    loops.add(id(asyncio.get_running_loop()))
    yield

wk.configure()
app = fastapi.FastAPI(lifespan=lifespan)
wk.instrument(app)

@wk.health_check("loop", critical=True)
async def loop():
    loops.add(id(asyncio.get_running_loop()))
    return len(loops) == 1
"""


def get(port: int, path: str) -> tuple[int, dict[str, object]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except OSError:
        return 0, {}


@contextmanager
def running(source: str, folder: Path, *command: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    (folder / "shop_app.py").write_text(source)
    port = unused_port()
    environment = {
        **os.environ,
        "WATCHKEEPER_HEALTH_DETAILS": "always",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}/nothing",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_TRACES_EXPORTER": "none",
    }
    output = folder / "output"
    with output.open("w") as written:
        server = subprocess.Popen(
            [sys.executable, "-m", *(part.format(port=port) for part in command)],
            cwd=folder,
            env=environment,
            stdout=written,
            stderr=subprocess.STDOUT,
        )
    try:
        yield server, port
    finally:
        server.kill()
        server.wait(10)
        print(output.read_text())


def test_gunicorns_workers_check_for_themselves_and_its_master_does_not(tmp_path: Path) -> None:
    command = ("gunicorn", "shop_app:app", "-b", "127.0.0.1:{port}", "-w", "2", "--preload", "--no-control-socket")
    with running(FLASK, tmp_path, *command) as (server, port):
        eventually(lambda: get(port, "/health/live")[0] == 200, 20)

        def workers() -> set[int]:
            get(port, "/health")
            return {int(line) for line in (tmp_path / "checked").read_text().split()}

        eventually(lambda: len(workers()) == 2, 20)
        assert server.pid not in workers()
        status, body = get(port, "/health/status")
        assert (status, body["status"]) == (200, "warn")  # for the check that hangs
        assert body["checks"]["hanging"][0]["output"].startswith("timed out after 0.2 s")  # type: ignore[index]
        assert body["checks"]["who"][0]["details"]["pid"] in workers()  # type: ignore[index]
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        assert server.wait(10) == 0
        assert time.monotonic() - began < 5  # though a check hangs


def test_uvicorn_is_started_once_its_checks_have_run_on_its_own_loop(tmp_path: Path) -> None:
    with running(FASTAPI, tmp_path, "uvicorn", "shop_app:app", "--port", "{port}") as (server, port):
        eventually(lambda: get(port, "/health/startup")[0] == 200, 20)
        status, body = get(port, "/health/checks/loop")
        assert (status, body["status"]) == (200, "pass")
        assert get(port, "/health/ready")[0] == 200
        server.send_signal(signal.SIGTERM)
        assert server.wait(10) in {0, -signal.SIGTERM}
