"""The real server as a process of its own, started, asked, stopped and killed by tests."""

from __future__ import annotations

import http.client
import json
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlencode, urlsplit

from google.rpc.status_pb2 import Status
from prometheus_client.parser import text_string_to_metric_families

from support.ports import unused_port

T = TypeVar("T")
PROTOBUF, JSON = "application/x-protobuf", "application/json"
_START_SECONDS = 30.0
_LIMITED_SERVER = Path(__file__).with_name("limited_server.py")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def message(self) -> str:
        """What an OTLP refusal says, in whichever format it came."""
        if self.headers["content-type"] == JSON:
            return str(self.json()["message"])
        return Status.FromString(self.body).message


class ServerProcess:
    """`watchkeeper serve` on a folder, on free ports of 127.0.0.1 that stay the same when it is started again.

    `receive` and `journal` replace fields of those packages' options, which the command line does not offer;
    `file_bytes` is the largest file the process may write, `arguments` are more of the command line's.
    """

    def __init__(
        self,
        data: Path,
        *,
        retention: str = "30d",
        receive: Mapping[str, float] | None = None,
        journal: Mapping[str, float] | None = None,
        file_bytes: int | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        """Nothing runs before `start`."""
        self.data = data
        self.log = data.with_name(f"{data.name}.log")
        self._file_bytes = file_bytes
        main, otlp_http, otlp_grpc = (f"127.0.0.1:{unused_port()}" for _ in range(3))
        self.url, self.otlp_http, self.otlp_grpc = f"http://{main}", f"http://{otlp_http}", otlp_grpc
        if receive or journal:
            options = {"receive": receive or {}, "journal": journal or {}}
            self._command = [sys.executable, str(_LIMITED_SERVER), json.dumps(options)]
        else:
            self._command = [sys.executable, "-m", "watchkeeper_server"]
        self._command += ["serve", "--data", str(data), "--listen", main, "--retention", retention]
        self._command += ["--otlp-http", otlp_http, "--otlp-grpc", otlp_grpc, *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, showing the log of a server that a test failed with."""
        if error is not None:
            sys.stderr.write(f"--- log of the server on {self.data}\n{self.log_tail()}")
        self.stop()

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, or start again after `stop` or `kill`, and wait until it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=None if self._file_bytes is None else self._limit_files,  # noqa: PLW1509  two system calls
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self.ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"the server is not ready\n{self.log_tail()}")
            time.sleep(0.05)

    def stop(self) -> int:
        """Ask it to end, and wait; answers its exit code. Idempotent."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would, and wait. Idempotent."""
        self._end(signal.SIGKILL)

    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def ready(self) -> bool:
        """Whether it says it is."""
        try:
            return self.get("/-/ready").status == 200
        except OSError:
            return False

    def get(self, path: str, **parameters: Any) -> Answer:
        """GET from the main port; a parameter that is a list is repeated."""
        return self.request("GET", f"{path}?{urlencode(parameters, doseq=True)}" if parameters else path)

    def post(self, path: str, body: bytes, content_type: str = PROTOBUF, **headers: str) -> Answer:
        """POST to the OTLP/HTTP port; `content_encoding="gzip"` and the like become headers."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", path, body, {"content-type": content_type} | named, place=self.otlp_http)

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, *, place: str = ""
    ) -> Answer:
        """Any request, on a connection of its own; a body that is an iterator is sent in chunks."""
        connection = http.client.HTTPConnection(urlsplit(place or self.url).netloc, timeout=60)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    def connect(self, *, otlp: bool = True) -> socket.socket:
        """A bare connection, for what no HTTP client would send."""
        place = urlsplit(self.otlp_http if otlp else self.url)
        return socket.create_connection((place.hostname or "", place.port or 0), timeout=60)

    def figures(self) -> dict[tuple[str, ...], float]:
        """Its own metrics: (name, label values …) → value."""
        families = text_string_to_metric_families(self.get("/metrics").body.decode())
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }

    def figure(self, name: str, *labels: str) -> float:
        """The sum of one of its metrics over the series that have these label values."""
        wanted = {name, *labels}
        return sum(value for key, value in self.figures().items() if key[0] == name and wanted.issubset(key))

    def wait_drained(self, timeout_seconds: float = 60.0) -> None:
        """Wait until all that was acknowledged is stored."""
        eventually(lambda: self.figure("watchkeeper_backlog_bytes") == 0 or None, timeout_seconds)

    def trace(self, trace_id: str) -> dict[str, Any]:
        """A trace, as soon as it is searchable."""
        return eventually(lambda: _found(self.get(f"/api/wk/traces/{trace_id}")))

    def logs(self, count: int = 1, **parameters: Any) -> list[dict[str, Any]]:
        """Log records of the last days, as soon as there are so many; newest first."""

        def found() -> list[dict[str, Any]] | None:
            answer = self.get("/api/wk/logs", start="now-40d", end="now+2d", **parameters)
            assert answer.status == 200, answer.body
            records: list[dict[str, Any]] = answer.json()["logs"]
            return records if len(records) >= count else None

        return eventually(found)

    def series(self, metric: str, *labels: str) -> list[dict[str, Any]]:
        """The series of a metric that have these labels (`name=value`), as soon as there are any."""

        def found() -> list[dict[str, Any]] | None:
            answer = self.get(f"/api/wk/metrics/{metric}/series", label=list(labels))
            assert answer.status in (200, 404), answer.body
            return (answer.json()["series"] or None) if answer.status == 200 else None

        return eventually(found)

    def log_tail(self, size: int = 8000) -> str:
        """The end of what it has logged."""
        return self.log.read_text(errors="replace")[-size:]

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(number)
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                raise AssertionError(f"the server did not end\n{self.log_tail()}") from None
        return self._process.returncode

    def _limit_files(self) -> None:
        if self._file_bytes is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing more is then an error, not the end
            resource.setrlimit(resource.RLIMIT_FSIZE, (self._file_bytes, self._file_bytes))


def eventually(attempt: Callable[[], T | None], timeout_seconds: float = 30.0) -> T:
    """What the attempt answers once it is not None."""
    deadline = time.monotonic() + timeout_seconds
    while (found := attempt()) is None:
        assert time.monotonic() < deadline, f"not within {timeout_seconds:g} seconds"
        time.sleep(0.05)
    return found


def _found(answer: Answer) -> dict[str, Any] | None:
    assert answer.status in (200, 404), answer.body
    return answer.json() if answer.status == 200 else None
