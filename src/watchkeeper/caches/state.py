"""How a Redis is: what it holds, the memory that takes, and what had to make room."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value  # under no other name

from watchkeeper.caches.servers import Server, Servers
from watchkeeper.export.boundary import boundary
from watchkeeper.metrics.sets import cache

PATIENCE_SECONDS = 2.0
# What a client of ours takes over from the application's, of whichever kind: the rest (retries, parsers) is its own.
_CONNECTING = frozenset({"host", "port", "db", "username", "password", "credential_provider", "protocol"})


class State(NamedTuple):
    """What INFO says of one database and its server."""

    entries: int
    memory_bytes: int
    evictions: int  # since the server started


def state_in(info: Mapping[str, Any], namespace: str) -> State:
    """The state in an answer to INFO, as redis-py has it."""
    keyspace = info.get(f"db{namespace}", {})
    return State(int(keyspace.get("keys", 0)), int(info.get("used_memory", 0)), int(info.get("evicted_keys", 0)))


def info_of(client: Any) -> Mapping[str, Any]:
    """The answer to INFO of a sync client. Not watched itself; raises what the client raises."""
    token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
    try:
        info: Mapping[str, Any] = client.info()
        return info
    finally:
        detach(token)


class Reading:
    """Asks every cache that is used, in a thread of its own that ends with that: nobody waits for a slow Redis."""

    def __init__(self, servers: Servers, clock: Callable[[], float] = time.monotonic) -> None:
        self._servers = servers
        self._clock = clock
        self._evictions: dict[str, int] = {}
        self._due = 0.0
        self._thread: threading.Thread | None = None

    def round(self, seconds: float) -> None:
        """Begins a reading if the last one began so long ago. Returns at once."""
        now = self._clock()
        if now < self._due or (self._thread is not None and self._thread.is_alive()):
            return
        self._due = now + seconds
        found = self._servers.caches()
        if found:
            self._thread = threading.Thread(
                target=self._read_all, args=(found,), name="watchkeeper-caches", daemon=True
            )
            self._thread.start()

    def after_fork(self) -> None:
        """A child's own readings begin anew."""
        self._thread = None
        self._evictions.clear()

    def _read_all(self, found: Mapping[str, Server]) -> None:
        for name, server in found.items():
            try:
                self._note(name, state_in(self._ask(server), server.namespace))
            except Exception as error:  # noqa: BLE001  # a Redis that is down; the application knows by itself
                boundary.say_once(f"state of {name}", f"watchkeeper cannot ask the cache {name} how it is: {error!r}")

    def _note(self, name: str, state: State) -> None:
        cache().state(name, entries=state.entries, memory_bytes=state.memory_bytes)
        before = self._evictions.get(name, state.evictions)
        self._evictions[name] = state.evictions
        # A server that was restarted counts from zero.
        cache().evicted(state.evictions - before if state.evictions >= before else state.evictions, name)

    def _ask(self, server: Server) -> Mapping[str, Any]:
        connecting = server.connecting
        wanted = {name: connecting[name] for name in connecting.keys() & _CONNECTING}
        wanted |= {name: value for name, value in connecting.items() if name.startswith("ssl_") and value is not None}
        if connecting.get("path"):
            wanted["unix_socket_path"] = connecting["path"]
        redis = importlib.import_module("redis")
        patience = {"socket_timeout": PATIENCE_SECONDS, "socket_connect_timeout": PATIENCE_SECONDS, "retry": None}
        with redis.Redis(**wanted, **patience, ssl=server.secure) as client:
            return info_of(client)
