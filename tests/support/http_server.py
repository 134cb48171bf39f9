"""An HTTP server for clients: it notes what it is asked, and answers as the path says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Server:
    """What each path answers.

    - `/status/404`: that status;
    - `/redirect/3`, `/see-other/3`: so many redirects before an answer;
    - `/flaky`: 503 as often as `failures` says;
    - `/digest`: 401 to whom brings no authorization;
    - `/slow`: not before `go_on`;
    - anything else: the body that came, or `answer`.
    """

    url: str = ""
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    failures: int = 0
    go_on: threading.Event = field(default_factory=threading.Event)

    @property
    def authority(self) -> str:
        return urlsplit(self.url).netloc

    def headers(self, at: int = -1) -> dict[str, str]:
        return self.requests[at][2]

    def answer(self, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
        """The status and the headers of an answer."""
        part = path.partition("?")[0].split("/")
        if part[1] == "status":
            return int(part[2]), {}
        if part[1] in {"redirect", "see-other"} and int(part[2]):
            return 302 if part[1] == "redirect" else 303, {"location": f"/{part[1]}/{int(part[2]) - 1}"}
        if part[1] == "flaky" and self.failures:
            self.failures -= 1
            return 503, {}
        if part[1] == "digest" and "authorization" not in headers:
            return 401, {"www-authenticate": 'Digest realm="shop", nonce="abc", qop="auth"'}
        if part[1] == "slow":
            self.go_on.wait(5)
        return 200, {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    found: Server

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):  # any method is answered
            return self._respond
        raise AttributeError(name)

    def log_message(self, *_args: Any) -> None:
        pass

    def _respond(self) -> None:
        body = self._body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.found.requests.append((self.command, self.path, headers, body))
        status, more = self.found.answer(self.path, headers)
        answer = b"" if self.command == "HEAD" or status in {204, 304} else body or b"answer"
        try:
            self.send_response(status)
            for name, value in {**more, "content-length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)
        except OSError:  # who asked has left
            self.close_connection = True

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)


@contextmanager
def answering() -> Iterator[Server]:
    """A running server."""
    found = Server()
    listening = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"found": found}))
    listening.daemon_threads = True
    found.url = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield found
    finally:
        found.go_on.set()
        listening.shutdown()
        thread.join()
        listening.server_close()
