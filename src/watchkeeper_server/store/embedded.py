"""The embedded engine: ClickHouse inside this process, as the package chdb.

Facts this module exists to hide: one process owns a data folder; a connection runs one statement at a time, so parallel
work needs several; what a failed statement had answered comes before the next one's answer; parameters travel as
ClickHouse's escaped text; errors are strings that begin with a code.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import math
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlencode

import pyarrow as pa

from watchkeeper_server.model.errors import StoreBusyError, StoreError, StoreTimeoutError, StoreUnavailableError
from watchkeeper_server.model.patience import asker, left_seconds
from watchkeeper_server.store.engine import Parameters
from watchkeeper_server.store.wire import Message

READERS = 4
LOADERS = 3
# how long a question waits for a reader
PATIENCE_SECONDS = 15
# nothing is the engine's word for any time
_LEAST_SECONDS = 0.001
# Asking for less would work.
_LIMITS = {
    "TOO_MANY_ROWS",
    "MEMORY_LIMIT_EXCEEDED",
    "TOO_MANY_ROWS_OR_BYTES",
    "QUERY_WAS_CANCELLED",
}
# The disk, or the engine just now, is at fault and not the statement or its data.
_PASSING = {
    "ABORTED",
    "CANNOT_CLOSE_FILE",
    "CANNOT_FSYNC",
    "CANNOT_OPEN_FILE",
    "CANNOT_READ_FROM_FILE_DESCRIPTOR",
    "CANNOT_WRITE_TO_FILE_DESCRIPTOR",
    "NOT_ENOUGH_SPACE",
    "TOO_MANY_PARTS",
}
_DISK_WORDS = ("No space left", "errno", "Input/output error", "Too many open files", "Read-only file system")

# What would otherwise be sized for a server with the machine to itself, or written outside the data folder.
_SERVER_SETTINGS = {
    "background_pool_size": 2,
    "background_schedule_pool_size": 2,
    "mark_cache_size": 64 << 20,
    "index_mark_cache_size": 16 << 20,
    "primary_index_cache_size": 64 << 20,
    "text_index_tokens_cache_size": 64 << 20,
    "text_index_header_cache_size": 64 << 20,
    "text_index_postings_cache_size": 64 << 20,
    "query_condition_cache_size": 16 << 20,
    "max_thread_pool_free_size": 8,
}

COMMON_SETTINGS = {
    "enable_time_time64_type": 1,
    "session_timezone": "UTC",
}
# One block a segment: squash whatever the pipeline cuts, so that a partition receives one part or nothing.
LOAD_SETTINGS = {
    "max_threads": 1,
    "max_insert_threads": 1,
    "max_insert_block_size": 100_000_000,
    "min_insert_block_size_rows": 100_000_000,
    "min_insert_block_size_bytes": 100_000_000_000,
    "max_partitions_per_insert_block": 0,
    "input_format_protobuf_oneof_presence": 1,
    # cost more to plan, for every segment however small, than they save in running (segments: 30 to 40 ms)
    "query_plan_enable_optimizations": 0,
    # built when parts merge: on insert it would cost a third of the log records' rate
    "exclude_materialize_skip_indexes_on_insert": "words",
}
QUERY_SETTINGS = {
    "readonly": 2,
    "max_execution_time": 30,
    "max_memory_usage": 2_000_000_000,
    "max_threads": 2,
    "output_format_arrow_string_as_string": 1,
    "output_format_arrow_low_cardinality_as_dictionary": 0,
    "allow_experimental_time_series_aggregate_functions": 1,
}


class EmbeddedEngine:
    """ClickHouse on a folder of this machine; implements `store.engine.Engine`."""

    def __init__(self, folder: Path) -> None:
        """Open the folder, creating it if need be.

        Raises:
            StoreUnavailableError: another process has it open, or it cannot be written.
        """
        import chdb  # noqa: PLC0415  0.3 s and 70 MB: only a process that owns a store pays

        self._lock = _lock(folder)
        self._schema_files = threading.Lock()
        self._schemas = folder / "schemas"
        self._schemas.mkdir(exist_ok=True)
        self._written: set[str] = set()
        self._numbers = itertools.count()  # of statements that may be ended early
        paths = {name: f"{folder}/{name}/" for name in ("tmp_path", "user_files_path")}
        address = f"{folder / 'data'}?{urlencode(_SERVER_SETTINGS | paths, safe='/')}"
        try:
            self._readers = _Pool([chdb.connect(address) for _ in range(READERS)], PATIENCE_SECONDS)
            self._notes = _Pool([chdb.connect(address)])
            loaders = [chdb.connect(address) for _ in range(LOADERS)]
        except Exception as error:
            raise StoreUnavailableError(f"cannot open the data in {folder}: {_words(error)}") from error
        for connection in loaders:  # takes longer than it saves: loads are short, migrations happen once
            connection.query("SET compile_expressions = 0", "Null")
        self._loaders = _Pool(loaders)

    def execute(self, sql: str, parameters: Parameters | None = None) -> None:
        """See `Engine.execute`."""
        with self._loaders.take() as connection:
            _run(connection, sql, "Null", parameters)

    def query(self, sql: str, parameters: Parameters | None = None, *, own: bool = False) -> pa.Table:
        """See `Engine.query`."""
        if own:
            with self._notes.take() as connection:
                return _read(connection, sql, QUERY_SETTINGS, parameters)
        who = asker()
        with self._readers.take(left_seconds()) as connection:
            # inside, since waiting has taken some of it
            settings = QUERY_SETTINGS | {"max_execution_time": _seconds_for_reading(left_seconds())}
            if who is None:
                return _read(connection, sql, settings, parameters)
            mark = f"/* {next(self._numbers)} */"
            with who.stopping_with(lambda: self._kill(mark)):
                if who.gone:
                    raise StoreBusyError("whoever asked has left")
                return _read(connection, f"{mark} {sql}", settings, parameters)

    def _kill(self, mark: str) -> None:
        """End the statement that begins with a mark."""
        with self._notes.take() as connection:
            _run(connection, "KILL QUERY WHERE startsWith(query, {mark:String}) ASYNC", "Null", {"mark": mark})

    def load(self, sql: str, segment: Path, message: Message, parameters: Parameters) -> None:
        """See `Engine.load`."""
        source = f"file({_quoted(str(segment))}, 'Protobuf', {_quoted(message.columns())})"
        settings = LOAD_SETTINGS | {"format_schema": f"{self._schema(message)}:{message.name}"}
        statement = f"{Template(sql).substitute(source=source)}\nSETTINGS {_settings(settings)}"
        with self._loaders.take() as connection:
            _run(connection, statement, "Null", parameters)

    def _schema(self, message: Message) -> Path:
        """The message's schema as a file: given as text, the engine would cache it in the working directory."""
        path = self._schemas / f"{message.name}.proto"
        with self._schema_files:
            if message.name not in self._written:
                path.write_text(message.proto())
                self._written.add(message.name)
        return path

    def close(self) -> None:
        """See `Engine.close`."""
        self._readers.close()
        self._notes.close()
        self._loaders.close()
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1


class _Pool:
    """Connections for use by one thread at a time each; who has to wait longer than `patience_seconds` gets none."""

    def __init__(self, connections: list[Any], patience_seconds: float | None = None) -> None:
        self._free = connections
        self._patience_seconds = patience_seconds
        self._closed = False
        self._changed = threading.Condition()

    @contextmanager
    def take(self, most_seconds: float = math.inf) -> Iterator[Any]:
        seconds = min(most_seconds, math.inf if self._patience_seconds is None else self._patience_seconds)
        with self._changed:
            if not self._changed.wait_for(
                lambda: self._free or self._closed, None if seconds == math.inf else max(0.0, seconds)
            ):
                if seconds == most_seconds:
                    raise StoreTimeoutError("too many questions are being answered to answer this one in time")
                raise StoreBusyError("too many questions are being answered; ask again in a while")
            if self._closed:
                raise StoreUnavailableError("the server is shutting down")
            connection = self._free.pop()
        try:
            yield connection
        finally:
            self._give_back(connection)

    def close(self) -> None:
        """Close what is free now, the rest once its statement has ended; nothing can be taken any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            while self._free:
                self._free.pop().close()

    def _give_back(self, connection: Any) -> None:
        with self._changed:
            if self._closed:  # `close` could not wait for us
                connection.close()
            else:
                self._free.append(connection)
                self._changed.notify()


def _lock(folder: Path) -> int:
    """Hold the folder for this process; the engine's own complaint about a second one is late and obscure."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / "watchkeeper.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnavailableError(
            f"cannot write to {folder}: {error.strerror}; choose another with --data"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(handle)
        raise StoreUnavailableError(
            f"{folder} is in use by another Watchkeeper (process {owner}); "
            "stop that one, or give this one a folder of its own with --data"
        ) from error
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def _seconds_for_reading(left: float) -> float:
    """How long a statement may run: as long as is left, and where nobody said how long that is, the usual time."""
    if left <= 0:
        raise StoreTimeoutError("no time is left to read anything")
    return QUERY_SETTINGS["max_execution_time"] if left == math.inf else max(left, _LEAST_SECONDS)


def _read(connection: Any, sql: str, settings: dict[str, Any], parameters: Parameters | None) -> pa.Table:
    result = _run(connection, f"{sql}\nSETTINGS {_settings(settings)}", "ArrowStream", parameters)
    with pa.ipc.open_stream(pa.py_buffer(result.bytes())) as reader:
        return reader.read_all()


def _run(connection: Any, sql: str, output: str, parameters: Parameters | None) -> Any:
    try:
        return connection.query(sql, output, params={k: _text(v) for k, v in (parameters or {}).items()})
    except Exception as error:  # chdb raises RuntimeError and its own, by version
        _discard_output(connection)
        words = _words(error)
        name = (re.findall(r"\(([A-Z][A-Z0-9_]+)\)", words) or [""])[-1]
        if name == "TIMEOUT_EXCEEDED":
            raise StoreTimeoutError(words) from error
        if name in _LIMITS:
            raise StoreBusyError(words) from error
        if name in _PASSING or any(word in words for word in _DISK_WORDS):
            raise StoreUnavailableError(words) from error
        raise StoreError(words) from error


def _discard_output(connection: Any) -> None:
    """Forget what a statement had answered before it failed: chdb would put it before the answer of the next one."""
    with contextlib.suppress(Exception):  # then the next one fails too, and says why
        connection.query("SELECT 1", "Null")


def _words(error: Exception) -> str:
    """The engine's message without what only its developers can use."""
    return str(error).split(" (version ")[0].split("Stack trace:")[0].strip()


def _settings(settings: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} = {_quoted(value) if isinstance(value, str) else value}" for name, value in settings.items()
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0", "\b": "\\b", "\f": "\\f"})


def _text(value: Any) -> str:
    """A parameter as ClickHouse's escaped text; strings in an array are quoted."""
    match value:
        case bool():
            return str(int(value))
        case list() | tuple():
            inner = ", ".join(_quoted(item) if isinstance(item, str) else _text(item) for item in value)
            return f"[{inner}]"
        case _:
            return str(value).translate(_ESCAPES)
