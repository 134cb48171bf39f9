"""Append payloads durably, hand them on in segments, forget them once they are stored.

Guarantees: when `append` returns, the payload is on disk; each payload is in exactly one segment; segments of a kind
are handed out in order, to one taker each, until discarded; what is not yet discarded is bounded in bytes.
One writer thread commits whatever has gathered while the last commit ran (group commit), so an fsync serves many.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from watchkeeper_server.journal.options import JournalOptions
from watchkeeper_server.journal.segment import (
    OPEN,
    SEALED,
    Segment,
    framed,
    intact_bytes,
    lineage_of,
    payloads,
    segment_path,
    sync_folder,
    write_segment,
)
from watchkeeper_server.model.errors import BacklogFullError
from watchkeeper_server.model.kinds import Kind

# writev takes at most IOV_MAX (1024) buffers; each payload is three
_PAYLOADS_A_WRITE = 300
_RETRY_SECONDS = 5


@dataclass(slots=True)
class _Append:
    """A payload on its way to the disk, and who waits for it."""

    kind: Kind
    payload: bytes
    done: Callable[[OSError | None], None]


@dataclass(slots=True)
class _Open:
    """The segment being written: `durable_bytes` is where the next write goes."""

    path: Path
    file: IO[bytes]
    opened_at: float
    durable_bytes: int = 0


@dataclass(slots=True)
class _Stream:
    """One kind's segments; `ready` is notified when `next_segment` has something to look at."""

    folder: Path
    ready: threading.Condition
    open: _Open | None = None
    sealed: deque[Segment] = field(default_factory=deque)
    taken: set[Segment] = field(default_factory=set)


class Journal:
    """All kinds' segments under one folder; one instance a folder."""

    def __init__(self, folder: Path, options: JournalOptions, now: Callable[[], float] = time.monotonic) -> None:
        """Open the folder and recover what an earlier process left: torn tails are cut off, the rest is replayed."""
        self._options = options
        self._now = now
        # Two locks, taken in this order: `_segments` is held while the disk works, `_arrivals` never is, so that
        # `append` never makes its event loop wait.
        self._segments = threading.Lock()
        self._streams = {kind: _Stream(folder / kind, threading.Condition(self._segments)) for kind in Kind}
        self._last_number = 0
        self._arrivals = threading.Condition()
        self._pending: list[_Append] = []
        self._backlog_bytes = 0
        self._closed = False
        for stream in self._streams.values():
            self._recover(stream)
        self._writer = threading.Thread(target=self._write, name="journal", daemon=True)
        self._writer.start()

    @property
    def backlog_bytes(self) -> int:
        """Bytes appended and not yet discarded."""
        return self._backlog_bytes

    def backlog(self) -> dict[Kind, tuple[int, float]]:
        """Bytes waiting, and the age in seconds of the oldest, per kind."""
        with self._segments:
            return {kind: self._waiting(stream) for kind, stream in self._streams.items()}

    async def append(self, kind: Kind, payload: bytes) -> None:
        """Store the payload durably; returns once it would survive a power loss.

        Raises:
            BacklogFullError: the backlog is at its limit, or the disk is full; nothing was kept.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def settle(error: OSError | None) -> None:
            if future.done():  # the sender has gone; the payload is stored all the same
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(
                    BacklogFullError(f"cannot write to the journal: {error.strerror}; free some space", _RETRY_SECONDS)
                )

        def done(error: OSError | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(settle, error)

        self._submit(_Append(kind, payload, done))
        await future

    def next_segment(self, kind: Kind, timeout_seconds: float) -> Segment | None:
        """Take the oldest segment of a kind that nobody has, or None when there is none in time.

        The open segment is sealed once it has lingered. A taker must `discard`, `split` or `put_back` what it took.
        """
        stream = self._streams[kind]
        deadline = self._now() + timeout_seconds
        if self._closed:
            return None
        with self._segments:
            while (free := next((s for s in stream.sealed if s not in stream.taken), None)) is None:
                now = self._now()
                waiting = stream.open if stream.open and stream.open.durable_bytes else None
                ripe = waiting.opened_at + self._options.linger_seconds if waiting else deadline
                if waiting and ripe <= now:
                    self._seal(stream)
                elif now >= deadline or self._closed:
                    return None
                else:
                    stream.ready.wait(min(ripe, deadline) - now)
            stream.taken.add(free)
            return free

    def put_back(self, kind: Kind, segment: Segment) -> None:
        """Let the segment be taken again, as a replay: some of it may be stored."""
        stream = self._streams[kind]
        with self._segments:
            stream.taken.discard(segment)
            stream.sealed[stream.sealed.index(segment)] = replace(segment, replayed=True)
            stream.ready.notify()

    def discard(self, kind: Kind, segment: Segment) -> None:
        """Forget a segment that is stored."""
        segment.path.unlink()
        with self._segments:
            self._streams[kind].sealed.remove(segment)
            self._streams[kind].taken.discard(segment)
        self._account(-segment.size_bytes)

    def split(self, kind: Kind, segment: Segment) -> bool:
        """Replace a segment by its two halves, in its place in the order.

        False if that would not help: it holds only one payload, or is damaged.

        Raises:
            OSError: the halves cannot be written; the segment is as it was.
        """
        contents = list(payloads(segment.path))
        if len(contents) < 2 or intact_bytes(segment.path) < segment.size_bytes:  # noqa: PLR2004  halves need two
            return False
        middle = len(contents) // 2
        self._replace(kind, segment, [contents[:middle], contents[middle:]])
        return True

    def rewrite(self, kind: Kind, segment: Segment, payload: bytes) -> None:
        """Replace a segment's only payload, in its place in the order.

        Raises:
            OSError: the payload cannot be written; the segment is as it was.
        """
        self._replace(kind, segment, [[payload]])

    def _replace(self, kind: Kind, segment: Segment, contents: Sequence[Sequence[bytes]]) -> None:
        """Put segments of these payloads where one was; they know their parent."""
        parts: list[Segment] = []
        try:
            parts.extend(self._part(segment, some) for some in contents)  # keeps those made before an error
            # Until now a recovery would find parent and parts, and drop the parts: see `_recover`.
            segment.path.unlink()
        except OSError:
            for part in parts:
                part.path.unlink(missing_ok=True)
            raise
        with contextlib.suppress(OSError):  # at worst a power loss brings the parent back, and drops the parts
            sync_folder(segment.path.parent)
        with self._segments:
            stream = self._streams[kind]
            stream.taken.discard(segment)
            stream.ready.notify_all()
            sealed = stream.sealed
            place = sealed.index(segment)
            sealed.remove(segment)
            for i, part in enumerate(parts):
                sealed.insert(place + i, part)
        self._account(sum(part.size_bytes for part in parts) - segment.size_bytes)

    def close(self) -> None:
        """Commit what was appended, stop the writer; idempotent. What is sealed or open is replayed next time."""
        with self._arrivals:
            self._closed = True
            self._arrivals.notify_all()
        self._writer.join()
        with self._segments:
            for stream in self._streams.values():
                stream.ready.notify_all()
                if stream.open:
                    self._cut_tail(stream)
                    stream.open.file.close()
                    stream.open = None

    def _submit(self, append: _Append) -> None:
        with self._arrivals:
            if self._closed:
                raise BacklogFullError("the server is shutting down; send this again", _RETRY_SECONDS)
            if self._backlog_bytes + len(append.payload) > self._options.backlog_bytes:
                raise BacklogFullError(
                    f"{self._backlog_bytes:,} bytes are waiting to be stored, the most allowed; send this again later",
                    _RETRY_SECONDS,
                )
            self._backlog_bytes += len(append.payload)
            self._pending.append(append)
            self._arrivals.notify()

    def _write(self) -> None:
        """The writer thread: commit all that is pending, again and again."""
        while True:
            with self._arrivals:
                while not self._pending and not self._closed:
                    self._arrivals.wait()
                if not self._pending:
                    return
                batch, self._pending = self._pending, []
            for kind in dict.fromkeys(append.kind for append in batch):
                for part in self._parts([append for append in batch if append.kind is kind]):
                    self._commit(self._streams[kind], part)

    def _parts(self, appends: list[_Append]) -> Iterator[list[_Append]]:
        """What gathered during a slow commit, cut so that no segment grows far past its size."""
        part: list[_Append] = []
        size = 0
        for append in appends:
            part.append(append)
            size += len(append.payload)
            if size >= self._options.segment_bytes:
                yield part
                part, size = [], 0
        if part:
            yield part

    def _commit(self, stream: _Stream, appends: list[_Append]) -> None:
        """Write and sync some payloads of one kind; on failure none of them counts as written."""
        error: OSError | None = None
        payload_bytes = sum(len(append.payload) for append in appends)
        with self._segments:
            try:
                opened = stream.open = stream.open or self._open(stream)
                size = _write_frames(opened.file.fileno(), opened.durable_bytes, [a.payload for a in appends])
                os.fdatasync(opened.file.fileno())
                opened.durable_bytes += size
            except OSError as failure:
                error, size = failure, 0
                self._cut_tail(stream)
            else:
                if opened.durable_bytes >= self._options.segment_bytes:
                    self._seal(stream)
            stream.ready.notify()
        self._account(size - payload_bytes)
        for append in appends:
            append.done(error)

    def _account(self, more_bytes: int) -> None:
        with self._arrivals:
            self._backlog_bytes += more_bytes

    def _open(self, stream: _Stream) -> _Open:
        path = segment_path(stream.folder, (self._number(),), OPEN)
        file = path.open("xb", buffering=0)
        sync_folder(stream.folder)
        return _Open(path, file, self._now())

    def _cut_tail(self, stream: _Stream) -> None:
        """Remove what a failed write has left: its senders were told to send it again."""
        if stream.open:
            with contextlib.suppress(OSError):
                stream.open.file.truncate(stream.open.durable_bytes)

    def _seal(self, stream: _Stream) -> None:
        """Close the open segment and put it in the queue; where the disk refuses, it stays open until the next try."""
        opened = stream.open
        assert opened is not None  # noqa: S101  callers have looked
        sealed = opened.path.with_suffix(SEALED)
        try:
            opened.file.truncate(opened.durable_bytes)
            opened.path.rename(sealed)
        except OSError:
            opened.opened_at = self._now()
            return
        stream.open = None
        opened.file.close()
        stream.sealed.append(Segment(sealed, lineage_of(sealed), opened.durable_bytes, replayed=False))

    def _part(self, parent: Segment, contents: Sequence[bytes]) -> Segment:
        with self._segments:
            lineage = (self._number(), *parent.lineage)
        path = segment_path(parent.path.parent, lineage, SEALED)
        write_segment(path, contents)
        return Segment(path, lineage, path.stat().st_size, replayed=True)

    def _number(self) -> int:
        """A number never used before in this folder, growing with time."""
        self._last_number = max(self._last_number + 1, time.time_ns())
        return self._last_number

    def _waiting(self, stream: _Stream) -> tuple[int, float]:
        size = sum(segment.size_bytes for segment in stream.sealed) + (stream.open.durable_bytes if stream.open else 0)
        if not size:
            return 0, 0.0
        first = stream.sealed[0].path if stream.sealed or not stream.open else stream.open.path
        oldest = lineage_of(first)[-1]
        return size, max(0.0, (time.time_ns() - oldest) / 1e9)

    def _recover(self, stream: _Stream) -> None:
        stream.folder.mkdir(parents=True, exist_ok=True)
        for draft in stream.folder.glob("*.draft"):
            draft.unlink()
        for path in sorted(stream.folder.glob(f"*{OPEN}")):
            os.truncate(path, intact_bytes(path))
            path.rename(path.with_suffix(SEALED))
        found = {lineage_of(path): path for path in stream.folder.glob(f"*{SEALED}")}
        # a half whose parent is still there was made just before a crash: the parent has it all
        parents = set(found)
        for lineage, path in list(found.items()):
            if lineage[1:] in parents or not path.stat().st_size:
                path.unlink()
                del found[lineage]
        for lineage in sorted(found, key=lambda numbers: numbers[::-1]):
            segment = Segment(found[lineage], lineage, found[lineage].stat().st_size, replayed=True)
            stream.sealed.append(segment)
            self._backlog_bytes += segment.size_bytes
            self._last_number = max(self._last_number, *lineage)


def _write_frames(handle: int, position: int, contents: list[bytes]) -> int:
    """Write payloads with their frames at a position; answers the bytes written. A short write is an error to undo."""
    start = position
    for chunk in _chunks(contents, _PAYLOADS_A_WRITE):
        buffers = [buffer for payload in chunk for buffer in framed(payload)]
        want = sum(map(len, buffers))
        while want:
            written = os.pwritev(handle, buffers, position)
            position += written
            want -= written
            if want:
                buffers = _rest(buffers, written)
    return position - start


def _chunks(items: list[bytes], size: int) -> Iterator[list[bytes]]:
    return (items[i : i + size] for i in range(0, len(items), size))


def _rest(buffers: list[bytes], written: int) -> list[bytes]:
    """What of the buffers a short write has left."""
    rest = list(buffers)
    while rest and written >= len(rest[0]):
        written -= len(rest.pop(0))
    if written:
        rest[0] = rest[0][written:]
    return rest
