"""What a started server has loaded."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from support.server import ServerProcess
from watchkeeper_server.cli.addresses import listens


def test_the_line_that_says_ready_gives_the_ports_that_were_chosen_for_port_0(tmp_path: Path) -> None:
    listen = ("--listen", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--otlp-grpc", "off")
    with subprocess.Popen(
        [sys.executable, "-m", "watchkeeper_server", "serve", "--data", str(tmp_path / "data"), *listen],
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stderr is not None
        ready = next(line for line in server.stderr if " ready; " in line)
        port, otlp = (int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)", ready))
        assert (listens(port), listens(otlp)) == (True, True)
        server.terminate()


def test_a_server_that_stores_and_answers_has_not_loaded_what_it_does_not_use(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        pushed = server.request("POST", "/api/v1/import/prometheus", b"up 1\n")
        assert pushed.status in (200, 204), pushed.body
        server.wait_drained()
        assert server.get("/api/v1/query", query="up * vector(2)").json()["data"]["result"]
        loaded = Path(f"/proc/{server.pid}/maps").read_text()
    assert "pyarrow" in loaded
    assert [name for name in ("pandas", "scipy", "sqlalchemy") if f"/{name}/" in loaded] == []
