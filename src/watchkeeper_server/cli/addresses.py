"""Addresses of this machine: which are free, which answer."""

from __future__ import annotations

import http.client
import socket
import urllib.request

TIMEOUT_SECONDS = 1.0

_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104  compared with, not bound


def split(listen: str) -> tuple[str, int]:
    """Host, without brackets, and port of `HOST:PORT`.

    Raises:
        ValueError: it is not of that form.
    """
    host, _, port = listen.rpartition(":")
    if not port.isdecimal() or int(port) > 65_535:  # noqa: PLR2004  the last port
        raise ValueError(f"{listen} is not HOST:PORT, such as 127.0.0.1:7070")
    return host.strip("[]"), int(port)


def reachable(listen: str) -> str:
    """The address to connect to where a server listens: one that listens everywhere is here, too."""
    host, _, port = listen.rpartition(":")
    return f"{_EVERYWHERE.get(host, host)}:{port}"


def check_free(listen: str) -> str:
    """Make sure that a server can listen there. Returns the address, with a port that is free in place of port 0.

    Raises:
        OSError: it cannot; `EADDRINUSE` if another one does.
        ValueError: this is no address.
    """
    host, port = split(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server will: closed connections may linger
        probe.bind((host, port))
        probe.listen(1)
        chosen: int = probe.getsockname()[1]
    return listen if port else f"{listen.rpartition(':')[0]}:{chosen}"


def next_free(port: int) -> int:
    """The first free port of 127.0.0.1 from `port` on.

    Raises:
        OSError: none of a hundred is.
    """
    for candidate in range(port, port + 100):
        try:
            check_free(f"127.0.0.1:{candidate}")
        except OSError:
            continue
        return candidate
    raise OSError(f"ports {port} to {port + 99} of 127.0.0.1 are all taken")


def listens(port: int) -> bool:
    """Whether something accepts connections on that port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS).close()
    except OSError:
        return False
    return True


def fetch(url: str) -> bytes | None:
    """What a server of this machine answers, never by way of a proxy; `None` unless it is a 200 within a second."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT_SECONDS) as answer:
            body: bytes = answer.read()
    except (OSError, http.client.HTTPException):  # refused, too slow, an error status, or not HTTP
        return None
    return body
