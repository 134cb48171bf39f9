"""`watchkeeper run`: programs whose code knows nothing of Watchkeeper, as their owners start them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from support.programs import RUN, Server, counted, ended, environment, serving
from support.sdk import Sink, attributes
from support.sdk import serving as sink_serving

BIN = str(Path(sys.executable).parent)

FASTAPI = """
import logging
from fastapi import FastAPI
app = FastAPI()

@app.get("/orders/{order_id}")
async def order(order_id: int):
    logging.getLogger("shop").info("shown")
    return {}
"""
FLASK = """
import logging
from flask import Flask
app = Flask(__name__)

@app.get("/orders/<int:order_id>")
def order(order_id):
    logging.getLogger("shop").info("shown")
    return {}
"""
DJANGO = """
import logging, os, sys
from django.conf import settings
settings.configured or settings.configure(
    ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="x", DEBUG=False, LOGGING_CONFIG=None,
    WSGI_APPLICATION="shop.app",
)
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

def order(request, order_id):
    logging.getLogger("shop").info("shown")
    return HttpResponse("{}")

urlpatterns = [path("orders/<int:order_id>", order)]
if __name__ == "__main__":
    from django.core.management import execute_from_command_line
    execute_from_command_line(sys.argv)
else:
    app = get_wsgi_application()
    app_asgi = get_asgi_application()
"""
BARE = """
import logging

async def app(scope, receive, send):
    if scope["type"] == "http":
        logging.getLogger("shop").info("shown")
        scope["route"] = type("Route", (), {"path_format": "/orders/{order_id}"})
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})

def app_wsgi(environ, start_response):
    logging.getLogger("shop").info("shown")
    environ["watchkeeper.route"] = "/orders/{order_id}"
    start_response("200 OK", [("Content-Length", "2")])
    return [b"{}"]

if __name__ == "__main__":
    import sys
    from wsgiref.simple_server import make_server
    make_server("127.0.0.1", int(sys.argv[1]), app_wsgi).serve_forever()
"""
INSTRUMENTED = FASTAPI + "import watchkeeper as wk\nwk.configure()\nwk.instrument(app)\n"
GUNICORN = ("--no-control-socket", "--graceful-timeout", "5")
# what the application is, and how its owner starts it at a port
SERVERS = {
    "uvicorn": (FASTAPI, lambda port: ["uvicorn", "shop:app", "--port", port]),
    "uvicorn, instrumented in code as well": (INSTRUMENTED, lambda port: ["uvicorn", "shop:app", "--port", port]),
    "uvicorn's workers": (FASTAPI, lambda port: ["uvicorn", "shop:app", "--port", port, "--workers", "2"]),
    "uvicorn, of a bare application": (BARE, lambda port: ["python", "-m", "uvicorn", "shop:app", "--port", port]),
    "uvicorn, of WSGI": (FLASK, lambda port: ["uvicorn", "shop:app", "--interface", "wsgi", "--port", port]),
    "uvicorn, of Django": (DJANGO, lambda port: ["uvicorn", "shop:app_asgi", "--port", port, "--lifespan", "off"]),
    "gunicorn": (FLASK, lambda port: ["gunicorn", "shop:app", "-b", f"127.0.0.1:{port}", "-w", "2", *GUNICORN]),
    "gunicorn, preloaded, of a bare application": (
        BARE,
        lambda port: ["gunicorn", "shop:app_wsgi", "-b", f"127.0.0.1:{port}", "-w", "2", "--preload", *GUNICORN],
    ),
    "gunicorn, of Django": (DJANGO, lambda port: ["gunicorn", "shop:app", "-b", f"127.0.0.1:{port}", *GUNICORN]),
    "gunicorn's own ASGI worker": (
        FASTAPI,
        lambda port: ["gunicorn", "shop:app", "-k", "asgi", "-b", f"127.0.0.1:{port}", *GUNICORN],
    ),
    "flask run": (FLASK, lambda port: ["flask", "--app", "shop", "run", "--port", port]),
    "manage.py runserver": (DJANGO, lambda port: ["python", "shop.py", "runserver", port, "--noreload"]),
    "wsgiref": (BARE, lambda port: ["python", "shop.py", port]),
}


@pytest.fixture
def sink() -> Iterator[Sink]:
    with sink_serving() as found:
        yield found


def orders_shown(server: Server) -> int:
    return sum(server.get(f"/orders/{number}") == 200 for number in range(6))


@pytest.mark.parametrize("name", SERVERS)
def test_requests_of_an_unmodified_program_are_seen_once(name: str, sink: Sink, tmp_path: Path) -> None:
    source, command = SERVERS[name]
    (tmp_path / "shop.py").write_text(source)
    with serving(lambda port: [*RUN, *command(str(port))], tmp_path, sink) as server:
        assert orders_shown(server) == 6
    assert [span.name for span in sink.spans()] == ["GET /orders/{order_id}"] * 6, server.errors
    said = [record for record in sink.records() if record.body.string_value == "shown"]
    assert sorted(record.trace_id for record in said) == sorted(span.trace_id for span in sink.spans())
    assert counted(sink, "http_requests_total", "route") == {"/orders/{order_id}": 6}


def test_the_program_keeps_its_own_exit_code_arguments_streams_and_path(sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(
        "import logging, sys\nlogging.getLogger('job').info('worked')\nprint(sys.argv, sys.path)\nsys.exit(7)\n"
    )
    command = ["python", "job.py", "--fast", "--", "x"]
    bare, run = ended(command, tmp_path), ended([*RUN, *command], tmp_path, sink.url)
    assert (run.returncode, run.stdout) == (bare.returncode, bare.stdout) == (7, bare.stdout)
    assert json.loads(run.stderr)["message"] == "worked"
    assert [record.body.string_value for record in sink.records()] == ["worked"]


def test_a_signal_reaches_the_program_itself(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(
        "import os, signal, time\n"
        "signal.signal(signal.SIGUSR1, lambda *_: os._exit(9))\n"
        "print(os.getpid(), flush=True)\ntime.sleep(30)\n"
    )
    with subprocess.Popen(
        [*RUN, "python", "job.py"], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True
    ) as job:
        assert job.stdout is not None
        assert int(job.stdout.readline()) == job.pid
        job.send_signal(signal.SIGUSR1)
        assert job.wait(10) == 9


def test_what_the_program_starts_ends_by_signals_as_it_would(tmp_path: Path) -> None:
    # what runs inside of other tests' processes may have blocked it, and programs inherit that
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPIPE})
    try:
        done = ended([*RUN, "bash", "-c", "yes | head -n 1; echo ${PIPESTATUS[0]}"], tmp_path)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    assert done.stdout == f"y\n{128 + signal.SIGPIPE}\n"
    assert "Broken pipe" not in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
@pytest.mark.parametrize("sampler", ["", "sometimes"])
def test_a_program_whose_streams_are_closed_runs(closed: str, sampler: str, tmp_path: Path) -> None:
    command = [*RUN, "python", "-c", "open('ran', 'x')"]
    ended(["sh", "-c", f'exec "$@" {closed}', "sh", *command], tmp_path, OTEL_TRACES_SAMPLER=sampler)
    assert (tmp_path / "ran").exists()


def test_a_python_beside_this_one_finds_its_libraries(tmp_path: Path) -> None:
    command = [*RUN, Path(sys.executable).name, "-c", "import sys, pytest; print(sys.executable)"]
    done = ended(command, tmp_path, PATH="/nonexistent", OTEL_SDK_DISABLED="true")
    assert (done.stdout, done.stderr) == (f"{sys.executable}\n", "")


def test_what_the_program_starts_in_python_is_watched_and_speaks_for_itself(sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text("import logging\nlogging.getLogger('child').info('of the child')\n")
    (tmp_path / "job.py").write_text(
        "import logging, subprocess, sys\n"
        "logging.getLogger('job').info('of the parent')\n"
        "print(subprocess.check_output([sys.executable, 'child.py']))\n"
    )
    done = ended([*RUN, "sh", "-c", "python job.py"], tmp_path, sink.url)
    assert done.stdout == "b''\n"  # what a parent reads of its child is the child's
    assert "sh is not a Python program" in done.stderr
    said = {record.body.string_value for record in sink.records()}
    assert said == {"of the parent", "of the child"}


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_multiprocessing_are_watched_and_its_helpers_are_not(
    method: str, sink: Sink, tmp_path: Path
) -> None:
    (tmp_path / "job.py").write_text(
        "import logging, multiprocessing, sys\n"
        "def work(number):\n"
        "    logging.getLogger('job').info('worked on %d', number)\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context(sys.argv[1])\n"
        "    workers = [context.Process(target=work, args=(number,)) for number in range(2)]\n"
        "    [worker.start() for worker in workers]\n"
        "    [worker.join() for worker in workers]\n"
    )
    done = ended([*RUN, "python", "job.py", method], tmp_path, sink.url)
    assert done.returncode == 0, done.stderr
    assert sorted(record.body.string_value for record in sink.records()) == ["worked on 0", "worked on 1"]
    assert len(_exporting(sink)) == 3  # the program and its two workers


def _exporting(sink: Sink) -> set[int]:
    requests = [ExportMetricsServiceRequest.FromString(body) for body in sink.bodies("/v1/metrics")]
    return {attributes(r.resource_metrics[0].resource)["process.pid"] for r in requests}


def test_a_sitecustomize_of_the_environment_still_runs_and_may_fail(sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    other = tmp_path / "site" / "sitecustomize.py"
    (tmp_path / "job.py").write_text(
        "import logging, sys\nlogging.getLogger('job').info('worked')\n"
        "print(getattr(sys.modules.get('sitecustomize'), 'name', None))\n"
    )
    path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    other.write_text("name = 'the other'\n")
    assert ended([*RUN, "python", "job.py"], tmp_path, sink.url, PYTHONPATH=path).stdout == "the other\n"
    other.write_text("raise ValueError('of the other')\n")
    failed = ended([*RUN, "python", "-c", "import job"], tmp_path, sink.url, PYTHONPATH=path)
    assert "ValueError: of the other" in failed.stderr  # as Python itself says it
    assert [record.body.string_value for record in sink.records()] == ["worked", "worked"]


def test_an_option_that_cannot_be_used_is_said_and_the_program_runs(tmp_path: Path) -> None:
    done = ended([*RUN, "python", "-c", "print('ran')"], tmp_path, OTEL_TRACES_SAMPLER="sometimes")
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert "unwatched: OTEL_TRACES_SAMPLER is 'sometimes'" in done.stderr


def test_a_python_without_the_sdk_says_how_to_install_it_and_runs(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    without = {"PYTHONPATH": ""}
    done = ended([*RUN, python, "-c", "print('ran')"], tmp_path, **without)
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert f"{python} cannot import watchkeeper" in done.stderr
    assert f"{python} -m pip install watchkeeper" in done.stderr
    child = ended([*RUN, "sh", "-c", f"{python} -c 'print(1)'; true"], tmp_path, **without)
    assert (child.stdout, child.stderr.count("\n")) == ("1\n", 1)  # only that sh is no Python


def test_an_sdk_that_fails_is_not_told_to_be_installed(tmp_path: Path) -> None:
    (tmp_path / "watchkeeper").mkdir()
    (tmp_path / "watchkeeper" / "__init__.py").write_text("raise ValueError('odd environment')\n")
    done = ended([*RUN, "python", "-c", "print('ran')"], tmp_path, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert "cannot import watchkeeper (odd environment)\n" in done.stderr
    assert "pip install" not in done.stderr


MESSAGES = {
    "nothing": ([], 2, "the command is missing"),
    "only dashes": (["--"], 2, "the command is missing"),
    "an option of its own": (["--port", "8000"], 2, "it has no option --port"),
    "not found": (["--", "nosuch"], 127, "there is no command 'nosuch'"),
    "a file of Python": (["--", "job.py"], 126, "use `watchkeeper run -- python job.py`"),
    "a folder": (["--", "./folder"], 126, "./folder is a folder"),
    "no permission": (["--", "./plain"], 126, "./plain cannot be executed: it lacks the permission"),
    "no format": (["--", "./nothing"], 126, "nothing cannot be executed: Exec format error"),
    "isolated": (["--", "python", "-I", "-c", "0"], 0, "Python's option -I leaves out"),
    "without site": (["--", "python", "-uS", "job.py"], 0, "Python's option -S leaves out"),
    "a script without site": (["--", "./script"], 0, "Python's option -E leaves out"),
    "not Python": (["--", "true"], 0, "true is not a Python program"),
    "Python": (["--", "python", "-W", "error", "-c", "0", "-I"], 0, ""),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_what_cannot_be_run_or_watched_is_said(case: str, tmp_path: Path) -> None:
    arguments, code, message = MESSAGES[case]
    (tmp_path / "job.py").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "plain").write_text("")
    (tmp_path / "nothing").write_text("text")
    (tmp_path / "script").write_text(f"#!{sys.executable} -E\n")
    for name in ("nothing", "script"):
        (tmp_path / name).chmod(0o755)
    done = ended([*RUN[:-1], *arguments], tmp_path, OTEL_SDK_DISABLED="true")
    assert done.returncode == code
    assert message in done.stderr
    assert bool(done.stderr) == bool(message)


def test_help_of_the_command_and_of_run(tmp_path: Path) -> None:
    assert "watchkeeper run -- uvicorn shop:app" in ended([*RUN[:-1], "--help"], tmp_path).stdout
    shown = ended([*RUN[:-2], "--help"], tmp_path).stdout
    assert [word for word in ("serve", "demo", "run") if f"│ {word} " in shown] == ["serve", "demo", "run"]


def test_a_base_install_has_run_and_says_what_the_rest_needs(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError('No module named typer', name='typer')\n")
    without = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}
    assert (
        ended([*RUN, "python", "-c", "print('ran')"], tmp_path, OTEL_SDK_DISABLED="true", **without).stdout == "ran\n"
    )
    assert "  run    Run a Python program" in ended(RUN[:-2], tmp_path, **without).stdout
    refused = ended([*RUN[:-2], "serve"], tmp_path, **without)
    assert refused.returncode == 2
    assert "pip install 'watchkeeper[server]'" in refused.stderr


def test_run_loads_neither_the_sdk_nor_the_server(tmp_path: Path) -> None:
    program = (
        "import sys; from watchkeeper_command.main import main\n"
        "sys.argv[1:] = ['run', '--help']\n"
        "try: main()\n"
        "except SystemExit: print([m for m in sys.modules if m.startswith(('watchkeeper.', 'watchkeeper_server'))])"
    )
    assert ended([sys.executable, "-c", program], tmp_path).stdout.endswith("[]\n")
