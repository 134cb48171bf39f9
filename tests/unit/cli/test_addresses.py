"""`cli.addresses`: what is free is told from what is taken, by really listening."""

from __future__ import annotations

import errno
import http.server
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from watchkeeper_server.cli import addresses

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[int]:
    with socket.create_server((host, 0)) as server:
        yield server.getsockname()[1]


def test_an_address_that_nobody_listens_on_is_free() -> None:
    with listening() as port:
        pass
    addresses.check_free(f"127.0.0.1:{port}")


@pytest.mark.parametrize("host", ["127.0.0.1", "", "[::1]"])
def test_port_0_is_a_free_port_and_any_other_stays(host: str) -> None:
    chosen = addresses.check_free(f"{host}:0")
    assert chosen.startswith(f"{host}:")
    assert not chosen.endswith(":0")
    assert addresses.check_free(chosen) == chosen


@pytest.mark.parametrize("asked", ["127.0.0.1", "0.0.0.0", ""])
def test_an_address_that_somebody_listens_on_is_not_free(asked: str) -> None:
    with listening() as port, pytest.raises(OSError) as caught:
        addresses.check_free(f"{asked}:{port}")
    assert caught.value.errno == errno.EADDRINUSE


def test_an_address_of_another_machine_cannot_be_listened_on() -> None:
    with pytest.raises(OSError) as caught:
        addresses.check_free("192.0.2.1:7070")
    assert caught.value.errno == errno.EADDRNOTAVAIL


@pytest.mark.parametrize("text", ["7070:", "localhost", "127.0.0.1:http", "127.0.0.1:70000", "127.0.0.1:-1"])
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="not HOST:PORT, such as"):
        addresses.check_free(text)


def test_the_next_free_port_skips_those_taken() -> None:
    with listening() as taken:
        assert addresses.next_free(taken) > taken


@pytest.mark.parametrize(
    ("listen", "here"),
    [
        ("127.0.0.1:7070", "127.0.0.1:7070"),
        ("0.0.0.0:7070", "127.0.0.1:7070"),
        (":7070", "127.0.0.1:7070"),
        ("[::]:7070", "[::1]:7070"),
        ("[::1]:7070", "[::1]:7070"),
    ],
)
def test_a_server_that_listens_everywhere_is_reachable_here(listen: str, here: str) -> None:
    assert addresses.reachable(listen) == here


def test_listens_tells_whether_a_port_accepts_connections() -> None:
    with listening() as port:
        assert addresses.listens(port)
    assert not addresses.listens(port)


def test_fetch_gives_the_body_of_a_200_and_none_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/ready" else 503)
            self.end_headers()
            self.wfile.write(b"body")

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # a proxy would fail
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert addresses.fetch(f"{url}/ready") == b"body"
        assert addresses.fetch(f"{url}/starting") is None
        server.shutdown()
    assert addresses.fetch(f"{url}/ready") is None
