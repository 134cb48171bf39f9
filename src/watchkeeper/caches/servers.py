"""Which Redis a client speaks to."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Mapping
from typing import Any

from opentelemetry.semconv._incubating.attributes.db_attributes import DbSystemNameValues
from opentelemetry.semconv.attributes.db_attributes import (
    DB_NAMESPACE,
    DB_OPERATION_NAME,
    DB_QUERY_TEXT,
    DB_SYSTEM_NAME,
)
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS, SERVER_PORT

from watchkeeper.caches.commands import command_text
from watchkeeper.tracing.span import Checked

MOST_TOLD = 500  # kinds of commands whose attributes are remembered, of a server
REDIS = DbSystemNameValues.REDIS.value
_PORT = 6379


class Server:
    """One database of one server, or a whole cluster."""

    __slots__ = ("_told", "attributes", "carries_messages", "connecting", "name", "namespace", "secure", "service")

    def __init__(
        self, connecting: Mapping[str, Any], namespace: str, *, service: str = "", secure: bool = False
    ) -> None:
        self.connecting = connecting  # the arguments of its clients' connections; nothing of them is shown
        self.service = service  # that a Sentinel finds; where it is changes
        self.secure = secure  # spoken to by TLS
        self.namespace = namespace
        self.carries_messages = False  # a broker's pool, which is no cache
        self.attributes: dict[str, Any] = {DB_SYSTEM_NAME: REDIS}
        address, port = connecting.get("host"), connecting.get("port")
        path = service or connecting.get("path")  # of a socket
        if path:
            address, port = path, None
        elif address:
            port = port or _PORT
        if address:
            self.attributes[SERVER_ADDRESS] = str(address)
        if port:
            self.attributes[SERVER_PORT] = int(port)
        if namespace:
            self.attributes[DB_NAMESPACE] = namespace
        where = f"{address or REDIS}:{port}" if port else str(address or REDIS)
        self.name = f"{where}/{namespace}" if namespace else where  # of the cache, in metrics
        self._told: dict[tuple[str, int], Checked] = {}

    def of_command(self, operation: str, arguments: int) -> Checked:
        """The attributes of a command's span, by the number of its arguments."""
        told = self._told.get((operation, arguments))
        if told is None:
            text = command_text(operation, arguments)
            told = Checked({**self.attributes, DB_OPERATION_NAME: operation, DB_QUERY_TEXT: text})
            if len(self._told) < MOST_TOLD:
                self._told[operation, arguments] = told
        return told


class Servers:
    """The servers of the clients that were used, as long as there are such."""

    def __init__(self) -> None:
        self._known: weakref.WeakKeyDictionary[Any, Server] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    def of(self, client: Any) -> Server:
        """The server of a client of redis-py, of whatever kind."""
        pool = getattr(client, "connection_pool", None)
        if pool is None:
            return _of_cluster(client.nodes_manager)
        found = self._known.get(pool)
        if found is None:
            found = _of_pool(pool)
            with self._lock:
                self._known[pool] = found
        return found

    def caches(self) -> dict[str, Server]:
        """Those that are caches at a fixed address, by name: no clusters, nothing that a Sentinel finds."""
        with self._lock:
            found = list(self._known.values())
        return {
            server.name: server
            for server in found
            if server.namespace and not server.service and not server.carries_messages
        }

    def renew_lock(self) -> None:
        """In a forked child."""
        self._lock = threading.Lock()


def _of_pool(pool: Any) -> Server:
    connecting = dict(pool.connection_kwargs)
    service = str(getattr(pool, "service_name", None) or "")  # what Sentinel is asked for
    kinds = getattr(pool.connection_class, "__mro__", ())  # redis' own among them, of either kind of client
    secure = any(kind.__name__ == "SSLConnection" for kind in kinds)
    return Server(connecting, str(connecting.get("db") or 0), service=service, secure=secure)


def _of_cluster(nodes: Any) -> Server:
    """By one of the nodes that were named: which node has a key changes."""
    node = min(nodes.startup_nodes.values(), key=lambda node: (str(node.host), int(node.port)), default=None)
    return _cluster("", 0) if node is None else _cluster(str(node.host), int(node.port))


@functools.lru_cache(maxsize=256)
def _cluster(host: str, port: int) -> Server:
    return Server({"host": host, "port": port}, "")


servers = Servers()
