"""`cli.demo` as a supervisor: the real one, in a process of its own, over small stand-ins for what it starts.

`tests/scenario/demo` runs it with the real server and the real shop.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.ports import unused_port
from watchkeeper_server.cli import demo
from watchkeeper_server.cli.addresses import listens
from watchkeeper_server.cli.demo import DemoError, DemoOptions, run_demo

if TYPE_CHECKING:
    from collections.abc import Iterator

# Each stand-in writes its name to $ENDED as it ends, and does what $MISBEHAVE says, if that names it.
COMMON = """
import os, signal, sys, threading
def ended(name):
    with open(os.environ["ENDED"], "a") as file:
        file.write(name + "\\n")
def end_on_sigterm(name, last_words=""):
    def end(*_):
        ended(name)
        print(last_words, flush=True)
        os._exit(0)
    signal.signal(signal.SIGTERM, end)
def misbehaves(what):
    return os.environ.get("MISBEHAVE") == what
"""
SERVER = """
import http.server, json
from stand_in import *
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/-/ready":
            status, body = 503 if misbehaves("server is never ready") else 200, b"ready"
        else:
            shop = {"name": "shop", "requests": 12, "errors": 3, "p95_ns": 40_000_000, "spans": 96, "log_records": 31}
            status, body = 200, json.dumps({"services": [shop]}).encode()
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)
print(sys.argv[1:], flush=True)
if misbehaves("server fails"):
    sys.exit("this folder belongs to another server [lock]")
end_on_sigterm("server")
host, port = sys.argv[sys.argv.index("--listen") + 1].split(":")
http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
"""
APP = """
from stand_in import *
async def app(scope, receive, send):
    while scope["type"] == "lifespan":
        event = (await receive())["type"]
        await send({"type": event + ".complete"})
        if event == "lifespan.shutdown":
            print({name: value for name, value in os.environ.items() if name.startswith(("OTEL", "SHOP", "NO_"))})
            ended(os.environ["OTEL_SERVICE_NAME"])
            return
"""
TRAFFIC = """
from stand_in import *
if misbehaves("traffic fails"):
    sys.exit("no customers today")
end_on_sigterm("traffic", '{"requests": 14, "unanswered": 2, "skipped": 0, "statuses": {"200": 9, "500": 3}}')
print("sending", flush=True)
threading.Event().wait()
"""
DRIVER = """
import pathlib, sys
sys.path[:0] = [{sources!r}]
from watchkeeper_server.cli import demo
demo.examples_folder = lambda: pathlib.Path({stand_ins!r})
demo.SHOP_PORT, demo.PAYMENTS_PORT = {ports}  # another demo may look for its own at the same time
options = demo.DemoOptions(data={data}, listen={listen!r}, otlp_http="off", otlp_grpc="off", duration_seconds={seconds})
sys.exit(demo.run_demo(options))
"""


class Demo:
    """A demo over stand-ins, run by a Python of its own."""

    def __init__(
        self,
        folder: Path,
        *,
        seconds: float | None = None,
        data: Path | None = None,
        misbehave: str = "",
        port: int | None = None,
    ) -> None:
        self.folder = folder
        self.ended = folder / "ended"
        self.temporary = folder / "temporary"
        self.port = unused_port() if port is None else port
        stand_ins = folder / "stand-ins"
        for path, source in {
            "stand_in.py": COMMON,
            "watchkeeper_server/__init__.py": "",
            "watchkeeper_server/__main__.py": SERVER,
            "shop/__init__.py": "",
            "shop/app.py": APP,
            "shop/payments.py": APP,
            "shop/traffic.py": TRAFFIC,
        }.items():
            (stand_ins / path).parent.mkdir(parents=True, exist_ok=True)
            (stand_ins / path).write_text(source)
        self.temporary.mkdir()
        driver = DRIVER.format(
            sources=str(Path(demo.__file__).parents[2]),
            stand_ins=str(stand_ins),
            ports=sorted((unused_port(), unused_port())),
            data=f"pathlib.Path({str(data)!r})" if data else None,
            listen=f"127.0.0.1:{self.port}",
            seconds=seconds,
        )
        environment = os.environ | {
            "PYTHONPATH": str(stand_ins),
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(self.temporary),
            "ENDED": str(self.ended),
            "MISBEHAVE": misbehave,
            "OTEL_SDK_DISABLED": "true",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", driver],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def read_until(self, words: str) -> str:
        """The demo's output up to the line with those words."""
        assert self.process.stdout is not None
        read = ""
        for line in self.process.stdout:
            read += line
            if words in line:
                return read
        raise AssertionError(f"no {words!r} in:\n{read}")

    def finish(self) -> tuple[int, str]:
        """Exit code and the rest of the output."""
        rest, _ = self.process.communicate(timeout=20)
        return self.process.returncode, rest

    def order_of_endings(self) -> list[str]:
        return self.ended.read_text().split()

    def left_running(self) -> list[int]:
        """Processes of this demo, told by their environment."""
        mark = f"ENDED={self.ended}".encode()
        left = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (process / "environ").read_bytes() and int(process.name) != self.process.pid:
                    left.append(int(process.name))
            except OSError:
                continue  # it ended, or is not ours
        return left


@pytest.fixture
def start(tmp_path: Path) -> Iterator[type[Demo]]:
    """`Demo`, made within the test's folder; nothing is left of it after the test."""
    made: list[Demo] = []

    def make(**how: object) -> Demo:
        made.append(Demo(tmp_path, **how))  # type: ignore[arg-type]
        return made[-1]

    yield make  # type: ignore[misc]
    for one in made:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        if one.process.stdout:
            one.process.stdout.close()


def test_ends_by_itself_with_a_summary_and_leaves_nothing(start: type[Demo]) -> None:
    run = start(seconds=1.0)
    code, output = run.finish()
    assert code == 0, output
    assert f"Look   http://127.0.0.1:{run.port}" in output
    assert re.search(r"Shop   http://127\.0\.0\.1:\d+/docs", output)
    assert "after 1 s" in output
    assert "Customers made 14 requests" in output
    assert re.search(r"shop\s+12\s+3\s+40 ms\s+96\s+31", output)
    assert run.left_running() == []
    assert list(run.temporary.iterdir()) == []


def test_port_0_is_a_free_port_and_the_page_is_where_the_demo_says(start: type[Demo]) -> None:
    run = start(port=0)
    port = re.findall(r"Look   http://127\.0\.0\.1:(\d+)", run.read_until("Stop   Ctrl-C"))
    assert port != ["0"]
    assert listens(int(port[0]))
    run.process.terminate()
    assert run.finish()[0] == 0


def test_ends_customers_first_then_the_apps_then_the_server(start: type[Demo]) -> None:
    run = start(seconds=1.0)
    assert run.finish()[0] == 0
    order = run.order_of_endings()
    assert [order[0], sorted(order[1:3]), order[3]] == ["traffic", ["payments", "shop"], "server"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_to_the_terminals_group_ends_everything_tidily(start: type[Demo], number: signal.Signals) -> None:
    run = start()
    run.read_until("Stop   Ctrl-C")
    began = time.monotonic()
    os.killpg(run.process.pid, number)  # as a terminal does
    code, output = run.finish()
    assert time.monotonic() - began < 5.0
    assert code == 0
    assert "Customers made 14 requests" in output
    assert "Traceback" not in output
    assert len(run.order_of_endings()) == 4
    assert run.left_running() == []
    assert list(run.temporary.iterdir()) == []


def test_a_signal_while_starting_ends_everything(start: type[Demo]) -> None:
    run = start(misbehave="server is never ready")
    run.read_until("Starting")
    while not run.left_running():
        time.sleep(0.05)
    os.killpg(run.process.pid, signal.SIGINT)
    code, output = run.finish()
    assert (code, "Traceback" in output) == (0, False)
    assert run.left_running() == []


def test_nothing_survives_a_demo_that_is_killed(start: type[Demo]) -> None:
    run = start()
    run.read_until("Stop   Ctrl-C")
    assert len(run.left_running()) == 4
    run.process.kill()
    run.process.wait()
    deadline = time.monotonic() + 5.0
    while left := run.left_running():
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_a_server_that_fails_is_named_with_its_last_words(start: type[Demo]) -> None:
    run = start(misbehave="server fails")
    code, output = run.finish()
    assert code == 1
    assert "The server ended by itself (exit code 1)." in output
    assert "this folder belongs to another server [lock]" in output
    assert "Customers" not in output.partition("ended by itself")[2]
    assert run.left_running() == []


def test_a_child_that_fails_later_ends_the_others_in_order(start: type[Demo]) -> None:
    run = start(misbehave="traffic fails")
    code, output = run.finish()
    assert code == 1
    assert "The traffic ended by itself (exit code 1)." in output
    assert "no customers today" in output
    order = run.order_of_endings()
    assert (sorted(order[:2]), order[2:]) == (["payments", "shop"], ["server"])


def test_a_chosen_data_folder_is_kept_with_the_childrens_logs(start: type[Demo], tmp_path: Path) -> None:
    run = start(seconds=0.1, data=tmp_path / "new" / "kept")
    assert run.finish()[0] == 0
    logs = tmp_path / "new" / "kept" / "demo-logs"
    assert {path.name for path in logs.iterdir()} == {"server.log", "payments.log", "shop.log", "traffic.log"}
    served = (logs / "server.log").read_text()
    assert f"'serve', '--data', '{logs.parent}', '--listen', '127.0.0.1:{run.port}'" in served


def test_the_apps_send_to_the_server_whatever_the_users_own_environment_says(start: type[Demo], tmp_path: Path) -> None:
    run = start(seconds=0.1, data=tmp_path / "kept")
    assert run.finish()[0] == 0
    shop = (tmp_path / "kept" / "demo-logs" / "shop.log").read_text()
    assert f"'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://127.0.0.1:{run.port}'" in shop
    assert "'OTEL_SERVICE_NAME': 'shop'" in shop
    assert "OTEL_SDK_DISABLED" not in shop
    assert f"'SHOP_DATA': '{tmp_path / 'kept' / 'demo-shop'}'" in shop


@pytest.mark.parametrize("option", ["listen", "otlp_http", "otlp_grpc"])
def test_a_taken_address_is_named_with_the_option_that_chooses_another(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        others = {"listen": "127.0.0.1:0", "otlp_http": "off", "otlp_grpc": "off"}
        assert run_demo(DemoOptions(**(others | {option: address}))) == 1
    printed = capsys.readouterr().out
    assert f"Something listens on {address} already" in printed
    assert f"--{option.replace('_', '-')} 127.0.0.1:{taken_next(address)}" in printed


def taken_next(address: str) -> int:
    return int(address.rpartition(":")[2]) + 1


def test_an_address_without_a_port_is_refused_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(DemoOptions(listen="localhost")) == 1
    assert "--listen localhost is not HOST:PORT, such as 127.0.0.1:7070." in capsys.readouterr().out


def test_a_rate_of_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(DemoOptions(rate=0)) == 1
    assert "--rate must be more than 0" in capsys.readouterr().out


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(demo.importlib.util, "find_spec", lambda _name: None)
    assert run_demo(DemoOptions()) == 1
    assert "pip install httpx sqlalchemy" in capsys.readouterr().out


def test_the_shop_is_found_in_a_checkout() -> None:
    assert (demo.examples_folder() / "shop" / "traffic.py").is_file()


def test_the_shop_is_found_in_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "watchkeeper_server"
    monkeypatch.setattr(demo, "__file__", str(package / "cli" / "demo.py"))
    with pytest.raises(DemoError, match="install watchkeeper again"):
        demo.examples_folder()
    (package / "examples" / "shop").mkdir(parents=True)
    (package / "examples" / "shop" / "app.py").touch()
    assert demo.examples_folder() == package / "examples"
