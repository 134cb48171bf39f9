"""Whole processes: start, fork, serve, exit, with the server there, gone or hanging."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.ports import unused_port
from support.sdk import Sink, attributes, eventually, serving, status

HEAVY = (
    "numpy",
    "fastapi",
    "starlette",
    "grpc",
    "google.protobuf",
    "structlog",
    "rich",
    "opentelemetry.sdk",
    "httpx",
    "sqlalchemy",
    "flask",
    "django",
)


def run(program: str, url: str = "http://127.0.0.1:9", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_SERVICE_NAME": "shop", **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture
def sink() -> Iterator[Sink]:
    with serving() as found:
        yield found


def test_importing_the_sdk_is_light() -> None:
    done = run(f"import sys, watchkeeper; print([m for m in {HEAVY!r} if m in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr


def test_lines_of_exit_handlers_that_run_after_ours_are_written_too() -> None:
    program = """
import atexit
atexit.register(lambda: log.info("the last word"))
import watchkeeper as wk
wk.configure(wk.Options(logs=wk.LogOptions(format="json")))
log = wk.get_logger("shop")
log.info("the first")
"""
    done = run(program)
    assert [json.loads(line)["message"] for line in done.stdout.splitlines()] == ["the first", "the last word"]


def test_exit_delivers_what_was_said_last(sink: Sink) -> None:
    done = run(
        "import watchkeeper as wk\nwk.configure()\nwith wk.span('last'):\n    wk.get_logger('x').info('goodbye', n=1)",
        sink.url,
    )
    assert json.loads(done.stdout)["message"] == "goodbye"
    assert [span.name for span in sink.spans()] == ["last"]
    assert [record.body.string_value for record in sink.records()] == ["goodbye"]
    assert "python_info" in sink.metrics()


@pytest.mark.parametrize("trouble", ["refuses", "hangs", "fails"])
def test_exit_takes_at_most_two_seconds_with_the_server(trouble: str, sink: Sink) -> None:
    sink.answers = [status(500)]
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        url = {
            "refuses": "http://127.0.0.1:9",
            "hangs": f"http://127.0.0.1:{hanging.getsockname()[1]}",
            "fails": sink.url,
        }[trouble]
        done = run(
            """
import time, watchkeeper as wk
wk.configure()
for number in range(3000):
    with wk.span("s"):
        wk.get_logger("x").info("line", number=number)
time.sleep(1.2)  # the exporter is in the middle of it
for number in range(10):
    with wk.span("s"):
        pass
print("leaving", time.time(), flush=True)
""",
            url,
            WATCHKEEPER_LOG_STREAM="off",
        )
        left = time.time() - float(done.stdout.split()[1])
    assert done.returncode == 0, done.stderr
    assert left < 2.0


def test_an_unhandled_exception_does_not_lose_the_lines_before_it(sink: Sink) -> None:
    done = run(
        "import watchkeeper as wk\nwk.configure()\nwk.get_logger('x').info('before')\nraise SystemExit(3)", sink.url
    )
    assert done.returncode == 3
    assert json.loads(done.stdout)["message"] == "before"


def test_a_forked_child_speaks_for_itself_and_repeats_nothing(sink: Sink) -> None:
    done = run(
        """
import os, watchkeeper as wk
wk.configure()
log = wk.get_logger("x")
log.info("parent, before")
with wk.span("parent, before"):
    pass
child = os.fork()
if child == 0:
    log.info("child")
    with wk.span("child"):
        pass
    wk.shutdown()
    os._exit(0)
os.waitpid(child, 0)
with wk.span("parent, after"):
    pass
""",
        sink.url,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(span.name for span in sink.spans()) == ["child", "parent, after", "parent, before"]
    assert len({span.trace_id for span in sink.spans()}) == 3
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(line["message"] for line in lines) == ["child", "parent, before"]
    assert len({line["pid"] for line in lines}) == 2
    assert len(instances(sink)) == 2


def instances(sink: Sink) -> set[str]:
    requests = [ExportTraceServiceRequest.FromString(body) for body in sink.bodies("/v1/traces")]
    return {attributes(r.resource_spans[0].resource)["service.instance.id"] for r in requests}


def test_forking_while_other_threads_speak_deadlocks_nobody(sink: Sink) -> None:
    done = run(
        """
import os, threading, watchkeeper as wk
wk.configure()
log = wk.get_logger("x")
stop = threading.Event()
def speak():
    while not stop.is_set():
        with wk.span("s"):
            log.info("line")
threads = [threading.Thread(target=speak) for _ in range(4)]
[t.start() for t in threads]
for _ in range(10):
    child = os.fork()
    if child == 0:
        with wk.span("child"):
            log.info("child")
        wk.flush(2)
        os._exit(0)
    os.waitpid(child, 0)
stop.set()
[t.join() for t in threads]
""",
        sink.url,
        WATCHKEEPER_LOG_STREAM="off",
    )
    assert done.returncode == 0, done.stderr
    assert sum(span.name == "child" for span in sink.spans()) == 10


def test_threads_that_fork_at_the_same_time_leave_no_lock_taken() -> None:
    done = run(
        """
import threading
import watchkeeper as wk
from watchkeeper import client
wk.configure()
taken, given_up = threading.Event(), threading.Event()
def first():  # a fork that takes longer than another one waits for it
    client._before_fork()
    taken.set()
    given_up.wait()
    client._after_fork_in_parent()
def second():
    taken.wait()
    client._before_fork()
    given_up.set()
    client._after_fork_in_parent()
threads = [threading.Thread(target=target, daemon=True) for target in (first, second)]
[thread.start() for thread in threads]
[thread.join(15) for thread in threads]
print(any(thread.is_alive() for thread in threads))
""",
        WATCHKEEPER_LOG_STREAM="off",
    )
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


def test_the_first_process_of_a_container_goes_on_after_sigterm_and_so_does_its_telemetry(sink: Sink) -> None:
    done = run(
        """
import os, signal
import watchkeeper as wk
wk.configure()
killed = []
os.getpid, os.kill = lambda: 1, lambda *arguments: killed.append(arguments)  # which process 1 would survive
signal.raise_signal(signal.SIGTERM)
with wk.span("afterwards"):
    print(killed)
""",
        sink.url,
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    assert [span.name for span in sink.spans()] == ["afterwards"]


def test_a_multiprocessing_child_sends_what_it_said_before_it_ends(sink: Sink) -> None:
    done = run(
        """
import multiprocessing, watchkeeper as wk
wk.configure()
def work():
    with wk.span("in the child"):
        wk.get_logger("x").info("said by the child")
child = multiprocessing.get_context("fork").Process(target=work)
child.start()
child.join()
""",
        sink.url,
    )
    assert done.returncode == 0, done.stderr
    assert [span.name for span in sink.spans()] == ["in the child"]
    assert "said by the child" in done.stdout


APP = """
from fastapi import FastAPI
import watchkeeper as wk
wk.configure()
log = wk.get_logger("shop.orders")
app = FastAPI()
wk.instrument(app)

@app.get("/orders/{order_id}")
async def order(order_id: int):
    log.info("shown", order_id=order_id)
    return {}

@app.get("/boom")
async def boom():
    raise ValueError("no")
"""


def test_under_uvicorn_every_line_is_json_and_knows_its_request(sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "shop_app.py").write_text(APP)
    port = unused_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "shop_app:app", "--port", str(port), "--app-dir", str(tmp_path)],
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, "OTEL_SERVICE_NAME": "shop"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        eventually(lambda: _get(port, "/orders/7", "req-7"), 20)
        assert _get(port, "/boom", "req-8")
        eventually(lambda: len(sink.spans()) >= 2)
    finally:
        server.terminate()
        out, errors = server.communicate(timeout=10)
    lines = [json.loads(line) for line in out.splitlines()]
    by_request = {name: [line for line in lines if line.get("request_id") == name] for name in ("req-7", "req-8")}
    shown, access = by_request["req-7"]
    assert (shown["logger"], access["logger"]) == ("shop.orders", "uvicorn.access")
    assert (access["method"], access["path"], access["status"]) == ("GET", "/orders/7", 200)
    assert access["trace_id"] == shown["trace_id"]
    failed = next(line for line in by_request["req-8"] if line["logger"] == "uvicorn.error")
    assert failed["error"]["type"] == "ValueError"
    assert re.fullmatch("[0-9a-f]{32}", failed["trace_id"])
    assert "Traceback" not in errors


def _get(port: int, path: str, request_id: str) -> bool:
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"x-request-id": request_id})
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:  # noqa: S310  # http, two lines above
            return bool(answer.headers["x-request-id"] == request_id)
    except urllib.error.HTTPError as error:
        with error:
            return bool(error.headers["x-request-id"] == request_id)
    except urllib.error.URLError:
        return False


def test_a_server_stopped_by_a_signal_delivers_what_it_said_last(sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "served.py").write_text(
        "from fastapi import FastAPI\n"
        "import watchkeeper as wk\n"
        "wk.configure()\n"
        "app = FastAPI()\n"
        "wk.instrument(app)\n"
        "@app.get('/last')\n"
        "def last():\n"
        "    wk.get_logger('x').info('goodbye')\n"
    )
    port = unused_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "served:app", "--port", str(port)],
        cwd=tmp_path,
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, "OTEL_SERVICE_NAME": "shop"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def answered() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/last", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    eventually(answered, 15)
    server.terminate()
    server.wait(10)
    assert [span.name for span in sink.spans()] == ["GET /last"]
    assert "goodbye" in [record.body.string_value for record in sink.records()]
