"""What the tests of health share: servers that misbehave, and checks of one's own registry."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import watchkeeper as wk
from watchkeeper.clock import Clock
from watchkeeper.health.monitor import Monitor
from watchkeeper.health.registry import Check, Registry, registry
from watchkeeper.health.results import CheckReport, Status


def check(name: str, function: Any, **details: Any) -> Check:
    return Check(name, function, **details)


def report(
    name: str = "one", status: Status = "healthy", *, critical: bool = False, weight: float = 1.0
) -> CheckReport:
    return CheckReport(name, status, "", {}, 0.0, 0, critical, weight)


@contextmanager
def watching(*checks: Check, clock: Clock | None = None, interval: float = 10.0) -> Iterator[Monitor]:
    """A monitor of these checks, whose thread runs."""
    own = Registry()
    monitor = Monitor(own)
    own.listeners.append(monitor.registry_changed)
    for each in checks:
        own.add(each)
    if clock is None:
        monitor.start(interval)
    else:
        monitor.start(interval, clock)
    try:
        yield monitor
    finally:
        monitor.stop(2.0)


@contextmanager
def no_checks_left() -> Iterator[None]:
    """Whatever is registered with `wk.health_check` and its like is forgotten afterwards."""
    try:
        yield
    finally:
        for name in list(registry.checks()):
            registry.remove(name)


@contextmanager
def silent_server() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextmanager
def saying(*answers: bytes) -> Iterator[int]:
    """The port of a server that says these bytes and hangs up, one after the other, the last ones again and again."""
    left = list(answers)

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(65_536)
                connection.sendall(left.pop(0) if len(left) > 1 else left[0])

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def found(name: str, register: Any) -> CheckReport:
    """What a check finds that `register` registers under this name, run once by a client without built-in checks."""
    with no_checks_left():
        register()
        with wk.testing.capture():
            return wk.health(fresh=True).checks[name]
