"""Ports of 127.0.0.1 for what is told its port and opens it later, or is to find nobody there.

The kernel gives a port that it chose, and that was closed again, to whoever asks next: another process of the tests, or
a connection. These lie below the range it chooses from; none is handed out twice, and no two processes share any.
"""

from __future__ import annotations

import os
import random
import socket
from itertools import cycle
from pathlib import Path

_FIRST = 10_000
_KERNELS_FIRST = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])


def _of_this_process() -> cycle[int]:
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ports = range(_FIRST + process, max(_KERNELS_FIRST, 2 * _FIRST), processes)
    begin = random.randrange(len(ports))  # somebody else's tests may run beside these
    return cycle([*ports[begin:], *ports[:begin]])


_ports = _of_this_process()


def unused_port() -> int:
    """A port that nobody listens at."""
    for port in _ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable: the ports go round")
