"""What real servers say by themselves: once, in our format, of its request."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.ports import unused_port
from support.sdk import eventually

FASTAPI = """
import fastapi, watchkeeper as wk
wk.configure()
app = fastapi.FastAPI()
wk.instrument(app)

@app.get("/orders/{number}")
async def order(number: int): return {}

@app.get("/boom")
async def boom(): raise ValueError("no")
"""
FLASK = """
import flask, watchkeeper as wk
wk.configure()
app = flask.Flask(__name__)
wk.instrument(app)

@app.get("/orders/<int:number>")
def order(number): return {}

@app.get("/boom")
def boom(): raise ValueError("no")
"""
DJANGO = """
import os, sys
from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.http import HttpResponse
from django.urls import path

settings.configure(
    DEBUG=os.environ["DEBUG"] == "1", ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF="shop", SECRET_KEY="x" * 50,
    WSGI_APPLICATION="shop.application", MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
)

def order(request, number): return HttpResponse("ok")
def boom(request): raise ValueError("no")
def odd(request): raise SuspiciousOperation("odd")

urlpatterns = [path("orders/<int:number>", order), path("boom", boom), path("odd", odd)]

if __name__ == "__main__":
    sys.modules["shop"] = sys.modules["__main__"]
    import watchkeeper as wk
    wk.configure()
    from django.core.management import execute_from_command_line
    from django.core.wsgi import get_wsgi_application
    application = wk.instrument(get_wsgi_application())
    execute_from_command_line(sys.argv)
"""
Ask = Callable[[str, str], None]


class Output:
    """What a server wrote, once it has ended."""

    def __init__(self) -> None:
        self.out = self.err = ""

    def of(self, request_id: str) -> dict[str, dict[str, Any]]:
        """The lines of a request by their logger; each logger has said one at most."""
        found = [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]
        said = [line for line in found if line.get("request_id") == request_id]
        by_logger = {line["logger"]: line for line in said}
        assert len(by_logger) == len(said), said
        return by_logger


@contextmanager
def serving(folder: Path, program: str, command: Sequence[str], **environment: str) -> Iterator[tuple[Ask, Output]]:
    (folder / "shop.py").write_text(program)
    port = unused_port()
    off = {f"OTEL_{signal_name}_EXPORTER": "none" for signal_name in ("TRACES", "LOGS", "METRICS")}
    server = subprocess.Popen(
        [sys.executable, *(part.format(port=port) for part in command)],
        cwd=folder,
        env={**os.environ, **off, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def listening() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def ask(path: str, method: str = "GET") -> None:
        headers = f"host: 127.0.0.1\r\nx-request-id: {path[1:]}\r\nconnection: close"
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(f"{method} {path} HTTP/1.1\r\n{headers}\r\n\r\n".encode())
            while connection.recv(65_536):  # until the server closes it: it has said its line then
                pass

    output = Output()
    try:
        eventually(listening, 30)
        yield ask, output
    finally:
        server.terminate()
        output.out, output.err = server.communicate(timeout=20)


def is_correlated(line: dict[str, Any]) -> bool:
    return len(line["trace_id"]) == 32 and len(line["span_id"]) == 16


@pytest.mark.parametrize("debug", ["0", "1"])
def test_djangos_own_lines_are_ours_whatever_debug_says(debug: str, tmp_path: Path) -> None:
    command = ["shop.py", "runserver", "--noreload", "127.0.0.1:{port}"]
    with serving(tmp_path, DJANGO, command, DEBUG=debug) as (ask, output):
        for path in ("/orders/7", "/boom", "/odd", "/nowhere"):
            ask(path, "GET")
        ask("/orders/8", "POST")
    shown = output.of("orders/7")
    assert set(shown) == {"django.server"}
    access = shown["django.server"]
    assert (access["method"], access["path"], access["status"], access["level"]) == ("GET", "/orders/7", 200, "info")
    assert set(output.of("boom")) == {"django.request", "django.server"}
    assert output.of("boom")["django.request"]["error"]["type"] == "ValueError"
    assert "request" not in output.of("boom")["django.request"]
    assert set(output.of("odd")) == {"django.security.SuspiciousOperation", "django.server"}
    assert set(output.of("nowhere")) == {"django.request", "django.server"}
    assert set(output.of("orders/8")) == {"django.security.csrf", "django.server"}
    assert all(is_correlated(line) for path in ("boom", "odd", "nowhere") for line in output.of(path).values())
    assert "GET /" not in output.err
    assert "Traceback" not in output.err


def test_flasks_development_server_says_its_lines_in_plain_words_and_of_its_request(tmp_path: Path) -> None:
    command = ["-m", "flask", "--app", "shop", "run", "--port", "{port}"]
    with serving(tmp_path, FLASK, command) as (ask, output):
        ask("/orders/7", "GET")
        ask("/nowhere", "GET")
    access = output.of("orders/7")["werkzeug"]
    assert (access["method"], access["path"], access["status"]) == ("GET", "/orders/7", 200)
    lost = output.of("nowhere")["werkzeug"]
    assert lost["status"] == 404
    assert lost["message"].endswith('"GET /nowhere HTTP/1.1" 404 -')
    assert is_correlated(access)
    assert "GET /" not in output.err


def test_gunicorns_own_asgi_worker_says_each_line_once_and_of_its_request(tmp_path: Path) -> None:
    command = ["-m", "gunicorn", "shop:app", "-b", "127.0.0.1:{port}", "-k", "asgi", "--access-logfile", "-"]
    with serving(tmp_path, FASTAPI, [*command, "--no-control-socket"]) as (ask, output):
        ask("/orders/7", "GET")
        ask("/boom", "GET")
    access = output.of("orders/7")["gunicorn.access"]
    assert (access["method"], access["path"], access["status"]) == ("GET", "/orders/7", 200)
    assert output.of("boom")["gunicorn.access"]["status"] == 500  # of the exception it says nothing
    assert "GET /" not in output.err


def test_uvicorns_worker_under_gunicorn_says_each_line_once(tmp_path: Path) -> None:
    command = ["-m", "gunicorn", "shop:app", "-b", "127.0.0.1:{port}", "-k", "uvicorn.workers.UvicornWorker"]
    with serving(tmp_path, FASTAPI, [*command, "--access-logfile", "-", "--no-control-socket"]) as (ask, output):
        ask("/orders/7", "GET")
        ask("/boom", "GET")
    assert set(output.of("orders/7")) == {"uvicorn.access"}
    assert set(output.of("boom")) == {"uvicorn.access", "uvicorn.error"}
    failed = output.of("boom")["uvicorn.error"]
    assert (failed["message"], failed["error"]["type"]) == ("Exception in ASGI application", "ValueError")
    assert all(is_correlated(line) for line in output.of("boom").values())
    assert "GET /" not in output.err
    assert "ValueError" not in output.err
