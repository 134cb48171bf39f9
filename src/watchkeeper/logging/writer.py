"""Writing lines without making a request wait.

Records gather in a bounded buffer; a thread formats and writes them together, at once after an error and within
`flush_seconds` otherwise. Formatting in batches halves its price, and flushing every line costs 30 to 50 µs a request
as soon as another Python thread runs; and a pipe that nobody reads must block this thread, not a request. The thread
is not the export thread, which may be waiting for a server when somebody watches the terminal.

Whoever speaks faster than the stream is read finds the buffer full. Within a request the line is dropped; elsewhere (a
batch job, a worker's task) the caller waits for room, as it would with `print`, while the stream takes lines. Once it
has taken none for `STALLED_SECONDS` nobody waits any more until it takes one again.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections import deque
from queue import Empty, SimpleQueue
from typing import Any

from watchkeeper.export.boundary import DROPPED, boundary
from watchkeeper.logging.line import Format
from watchkeeper.logging.record import Record

MOST_RECORDS = 10_000
AT_ONCE = 64  # records that are written together: some 16 KB, so that a slow reader is seen to read
STALLED_SECONDS = 0.25
_HASTE = MOST_RECORDS // 2  # so many do not wait for more
_GLANCE_SECONDS = 0.001  # between two looks for room


class Writer:
    """Writes to `stream`.

    The name of a stream of `sys`, or a file. What is lost is counted by `name`: `<name>_blocked` while nobody reads it,
    `<name>_failed` where it cannot be written.
    """

    def __init__(self, stream: Any, line: Format, flush_seconds: float, name: str = "stream") -> None:
        self._stream = stream
        self._name = name
        self._line = line
        self._flush_seconds = flush_seconds
        self._closed = False
        self.output = threading.Lock()  # held while the stream's own lock may be
        self._records: deque[Record] = deque()
        self._writing = False
        # Whether to hurry. No Event: a signal's handler, or a finalizer, may speak while this thread is in here, and
        # would wait for ever for the lock that an Event holds.
        self._calls: SimpleQueue[bool] = SimpleQueue()
        self._called = self._hurried = False  # since the thread looked last
        self._stalled = False  # somebody has waited in vain since the stream took a line
        self._took_at = 0.0  # when it did, by the monotonic clock
        self._written = threading.Condition()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def fullness(self) -> float:
        """The share of the buffer that waits to be written."""
        return len(self._records) / MOST_RECORDS

    def write(self, record: Record, urgent: bool = False) -> None:
        """Takes a record; drops and counts it where there is no room, and none is worth waiting for."""
        records = self._records
        waiting = len(records)
        if waiting >= _HASTE:
            urgent = True
            if waiting >= MOST_RECORDS and not self._room_after_waiting(record):
                DROPPED.labels("logs", f"{self._name}_blocked").inc()
                return
        records.append(record)
        if urgent and not self._hurried:
            self._hurried = True
            self._calls.put(True)
        if not self._called or self._closed:
            self._begin()

    def flush(self, timeout_seconds: float) -> bool:
        """Waits until what was taken so far is written, at most for the timeout; whether it is."""
        self._calls.put(True)
        with self._written:
            return self._written.wait_for(lambda: not self._records and not self._writing, timeout_seconds)

    def close(self, timeout_seconds: float) -> None:
        """Flushes, and ends the thread; whatever comes later is written at once, because nobody may be left to do it.

        Where nobody reads the stream it stays as it is: to write at once would be to wait for ever.
        """
        if self.flush(timeout_seconds):
            self._closed = True
            self._calls.put(True)

    def _begin(self) -> None:
        """Tells the thread that there are lines; starts it for the first one of a process."""
        if not self._closed:
            if not self._called:
                self._called = True
                self._calls.put(False)
            if self._thread is None and self._starting.acquire(blocking=False):  # else somebody is just starting it
                try:
                    if self._thread is None:
                        self._start()
                finally:
                    self._starting.release()
        if self._closed:  # perhaps just now: the thread may have ended without this line
            self._drain()

    def _room_after_waiting(self, record: Record) -> bool:
        """Whether the buffer has room, now or soon. No lock and no event: see `_calls`."""
        if self._stalled or self._closed or record.request_id or threading.current_thread() is self._thread:
            return self._closed
        if not self._hurried:
            self._hurried = True
            self._calls.put(True)
        since = time.monotonic()
        while len(self._records) >= MOST_RECORDS and not self._closed:
            if time.monotonic() - max(since, self._took_at) > STALLED_SECONDS:
                self._stalled = True
                return False
            time.sleep(_GLANCE_SECONDS)
        return True

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="watchkeeper-logs", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter is ending
            self._closed = True

    def _run(self) -> None:
        last = False
        while not last:
            self._wait()
            self._called = self._hurried = False  # before draining: a line that comes now calls again
            last = self._closed  # likewise: whoever speaks after that writes the line, too
            try:
                self._drain()
            except Exception as error:  # noqa: BLE001  # a closed or full stream
                boundary.failed_in_background("writing log lines", error)
            with self._written:
                self._written.notify_all()

    def _wait(self) -> None:
        """Until there are lines, and for more of them unless one is urgent."""
        urgent = self._calls.get()
        until = time.monotonic() + self._flush_seconds
        with contextlib.suppress(Empty):
            while not urgent:
                urgent = self._calls.get(timeout=max(0.0, until - time.monotonic()))

    def _drain(self) -> None:
        """Writes what is there now. What cannot be written takes nothing else with it."""
        failure: Exception | None = None
        self._writing = True
        try:
            for _ in range(len(self._records) // AT_ONCE + 1):
                taken = _taken_from(self._records)
                try:
                    data = self._lines(taken)
                    with self.output:
                        _write(self._target(), data)
                except Exception as error:  # noqa: BLE001  # a closed or full stream
                    DROPPED.labels("logs", f"{self._name}_failed").inc(len(taken))
                    failure = error
                self._took_at, self._stalled = time.monotonic(), False
        finally:
            self._writing = False
        if failure is not None:
            raise failure

    def _lines(self, records: list[Record]) -> bytes:
        line = self._line
        try:
            return b"".join([line(record) for record in records])
        except Exception as error:  # noqa: BLE001  # whatever is wrong with one takes no other with it
            if len(records) == 1:
                DROPPED.labels("logs", f"{self._name}_failed").inc()
                boundary.failed_in_background("formatting a log line", error)
                return b""
            half = len(records) // 2
            return self._lines(records[:half]) + self._lines(records[half:])

    def _target(self) -> Any:
        return stream_named(self._stream) if isinstance(self._stream, str) else self._stream


def _taken_from(records: deque[Record]) -> list[Record]:
    """The oldest, or fewer: of a writer that is closed, several threads may be taking."""
    taken: list[Record] = []
    with contextlib.suppress(IndexError):
        for _ in range(AT_ONCE):
            taken.append(records.popleft())  # noqa: PERF401  # what was taken before the error is not to be lost
    return taken


def stream_named(name: str) -> Any:
    """`sys.stdout` or `sys.stderr` as it is now, since tests and servers replace it.

    What makes log lines of all that is printed (Celery's workers put that there) would hand our lines back to us: then
    it is the stream below.
    """
    stream = getattr(sys, name, None)
    return getattr(sys, f"__{name}__") if isinstance(getattr(stream, "logger", None), logging.Logger) else stream


def _write(stream: Any, data: bytes) -> None:
    if stream is None or not data:  # pythonw and some daemons have no stdout
        return
    binary = getattr(stream, "buffer", None)
    if binary is not None:
        stream.flush()  # what was printed before stays before
        binary.write(data)
    elif hasattr(stream, "encoding"):  # a text file without a binary one below, such as io.StringIO
        stream.write(data.decode("utf-8", "replace"))
    else:
        stream.write(data)
    (binary or stream).flush()
