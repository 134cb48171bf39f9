"""PyMongo: each command is a span and a query, through its own CommandListener; MongoClient and AsyncMongoClient alike.

A client takes its listeners when it is made: one that was made before `configure` is not watched. Of a command whose
task is cancelled PyMongo tells no end: it has no span. Handshakes and housekeeping (sessions, cursors) are left out.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from typing import Any

import orjson
from opentelemetry.semconv._incubating.attributes.db_attributes import DbSystemNameValues
from opentelemetry.semconv.attributes.db_attributes import (
    DB_COLLECTION_NAME,
    DB_OPERATION_BATCH_SIZE,
    DB_RESPONSE_STATUS_CODE,
)

from watchkeeper.databases.queries import Query
from watchkeeper.databases.statements import Statement
from watchkeeper.databases.targets import Target, target
from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.calls import DATABASE, busy
from watchkeeper.integrations.patching import Patches, instrumented_by_contrib

MOST_UNDER_WAY = 1_000  # commands whose end may still come; those beyond it are the oldest, which will have no end
MONGODB = DbSystemNameValues.MONGODB.value
_HOUSEKEEPING = frozenset(
    "hello ismaster authenticate saslstart saslcontinue getnonce endsessions killcursors killsessions".split()  # noqa: SIM905
)
# What says which documents are meant. Documents themselves are never shown.
_SHOWN = ("filter", "query", "pipeline", "updates", "deletes", "update", "key", "projection", "sort", "hint")
_MANY = ("documents", "updates", "deletes", "ops")
_DEEPEST, _WIDEST, _LONGEST_TEXT = 6, 20, 2_000

_patches = Patches()


def install() -> None:
    """Watches the clients that are made from now on, once."""
    if _patches:
        return
    monitoring = sys.modules["pymongo.monitoring"]
    listener = _listener_of(monitoring.CommandListener)
    listener.watching = True
    monitoring.register(listener)

    def forget() -> None:
        listener.watching = False  # for clients that have it
        monitoring._LISTENERS.command_listeners.remove(listener)  # noqa: SLF001  # there is no other way to take it back

    _patches.on_undo(forget)


def uninstall() -> None:
    """Gives the library back."""
    _patches.undo()


@functools.cache
def _listener_of(kind: Any) -> Any:
    """The one listener, which clients from before are watched by again after `install`."""
    commands = Commands()

    class Listener(kind):  # type: ignore[misc]
        """What PyMongo tells of commands."""

        watching = False

        def started(self, event: Any) -> None:
            """One begins."""
            if self.watching:
                commands.begin(event)

        def succeeded(self, event: Any) -> None:
            """It was answered, which may mean that some of it failed."""
            commands.end(event, event.reply)

        def failed(self, event: Any) -> None:
            """It was refused, or no answer came."""
            commands.end(event, event.failure, failed=True)

    return Listener()


class Failed(Exception):  # noqa: N818  # never raised: what a query is told to have failed by
    """A command's failure as far as it may be shown: codes, and no message, which may repeat values."""

    def __init__(self, code: str, kind: str) -> None:
        super().__init__(code)
        self.code = code
        self.kind = kind


class Command(Query):
    """A command under way."""

    __slots__ = ()

    def _describe(self, error: Exception) -> None:
        if isinstance(error, Failed):
            self.fail(error.kind)
            if error.code:
                self.span.set_attribute(DB_RESPONSE_STATUS_CODE, error.code)


class Commands:
    """The commands under way. PyMongo calls both ends in the thread, or the task, that wants the answer."""

    def __init__(self) -> None:
        self._under_way: dict[tuple[Any, int], Command] = {}

    def begin(self, event: Any) -> None:
        """Opens a command's span. Never raises."""
        try:
            if event.command_name.lower() in _HOUSEKEEPING or busy(DATABASE):
                return
            traced = not instrumented_by_contrib("pymongo", "PymongoInstrumentor")
            while len(self._under_way) >= MOST_UNDER_WAY:
                self._under_way.pop(next(iter(self._under_way)), None)
            command = Command(_target(event), _statement(event), traced=traced)
            size = _size(event.command)
            if size > 1:
                command.span.set_attribute(DB_OPERATION_BATCH_SIZE, size)
            self._under_way[event.connection_id, event.request_id] = command
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("pymongo", failure)

    def end(self, event: Any, reply: Any, *, failed: bool = False) -> None:
        """Ends it. Never raises."""
        command = self._under_way.pop((event.connection_id, event.request_id), None)
        if command is None:
            return
        try:
            command.end(_failure(reply, failed=failed))
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("pymongo", failure)


def _failure(reply: Any, *, failed: bool) -> Failed | None:
    """How a command failed; also one that was answered, if some of its writes were not done."""
    if not isinstance(reply, Mapping):
        return Failed("", "_OTHER") if failed else None
    if failed:
        code = str(reply.get("code") or "")
        return Failed(code, code or str(reply.get("errtype") or "_OTHER"))
    errors = reply.get("writeErrors") or [reply.get("writeConcernError")]
    if errors and isinstance(errors[0], Mapping):
        code = str(errors[0].get("code") or "")
        return Failed(code, code or "_OTHER")
    return None


def _target(event: Any) -> Target:
    address, port = event.connection_id
    return target(MONGODB, str(address), port, event.database_name)


def _statement(event: Any) -> Statement:
    name, command = event.command_name, event.command
    collection = command.get(name)
    if name == "getMore":
        collection = command.get("collection")
    if not isinstance(collection, str):
        collection = ""  # of the whole database
    shown = {key: shape(command[key]) for key in _SHOWN if key in command and key != name}
    return _statement_of(name, collection, orjson.dumps({name: collection or 1, **shown}).decode()[:_LONGEST_TEXT])


@functools.lru_cache(maxsize=1_024)
def _statement_of(name: str, collection: str, text: str) -> Statement:
    named = {DB_COLLECTION_NAME: collection} if collection else {}
    return Statement(name, collection, text, f"{name} {collection}".rstrip(), named)


def _size(command: Mapping[str, Any]) -> int:
    """How many documents or statements it carries."""
    return next((len(command[key]) for key in _MANY if isinstance(command.get(key), list)), 0)


def shape(value: Any, depth: int = 0) -> Any:
    """A query with `?` for each value: which fields are asked for, by which operators."""
    if depth >= _DEEPEST:
        return "?"
    if isinstance(value, dict):
        return {str(key): shape(inner, depth + 1) for key, inner in list(value.items())[:_WIDEST]}
    if isinstance(value, list | tuple) and any(isinstance(inner, dict) for inner in value[:_WIDEST]):
        return [shape(inner, depth + 1) for inner in value[:_WIDEST]]
    return "?"
