"""A log file that is rotated by size and by day, compressed, and kept for a while. Several processes may share it.

Each batch of lines is one write of whole lines to the file's end, under a shared lock on the file, and to the file
that has the name now; rotation renames it under an exclusive lock. So lines of processes neither mix nor get lost,
and whoever finds the file too large rotates it, once. A file that somebody else renames (logrotate) is followed too.
One that cannot be renamed (a container's mount, a folder of somebody else's) goes on growing, which is said.
Locks are flock's, which network file systems may not keep: there, give each process a file of its own.

A rotated file is `app.log.2026-11-21T050000.123456Z`, and soon with `.gz` behind it. Compressing and deleting happen
in a thread of their own, and what an exit interrupts is done at the next rotation.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import os
import re
import shutil
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from watchkeeper.clock import SYSTEM_CLOCK, Clock
from watchkeeper.export.boundary import boundary
from watchkeeper.logging.options import FileOptions
from watchkeeper.values import told

_STAMP = re.compile(r"\.\d{4}-\d\d-\d\dT\d{6}\.\d{6}Z(\.gz)?")
_DAY_SECONDS = 86_400
_COPIED = 1 << 20  # bytes at a time
_BETWEEN_TRIES = 60  # seconds, where the file cannot be renamed


class RotatingFile:
    """What a Writer writes to. Used by one thread at a time."""

    def __init__(self, options: FileOptions, clock: Clock = SYSTEM_CLOCK) -> None:
        self._options = options
        self._path = Path(options.path)
        self._clock = clock
        self._file = -1
        self._torn = False  # the last write left half a line behind
        self._grows_until = 0.0  # by the clock, in seconds: it could not be renamed
        self.keeper: threading.Thread | None = None  # compresses and deletes

    def write(self, data: bytes) -> None:
        """Appends whole lines, to a new file where the present one is full or of another day. Raises OSError."""
        while data:
            self._lock_current(fcntl.LOCK_SH)
            try:
                fits = self._fitting(data)
                self._append(data[:fits])
            finally:
                self._unlock()
            data = data[fits:]
            if data:
                self._rotate(data)

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Closes the file; the next write opens it again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __del__(self) -> None:
        self.close()

    def _lock_current(self, kind: int) -> None:
        """Opens the file that has the name now, and locks it."""
        while True:
            if self._file < 0:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            fcntl.flock(self._file, kind)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._file), self._path.stat()):
                    return
            self.close()  # somebody renamed it, and the lock goes with it

    def _unlock(self) -> None:
        if self._file >= 0:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _fitting(self, data: bytes) -> int:
        """How many bytes of `data`, up to the end of a line, the file takes before it must be rotated.

        An empty one takes a line at least, of any length.
        """
        found = os.fstat(self._file)
        now = self._clock.wall_ns() / 1e9
        if not stat.S_ISREG(found.st_mode) or now < self._grows_until:
            return len(data)
        if self._options.daily and found.st_size and int(found.st_mtime) // _DAY_SECONDS < int(now) // _DAY_SECONDS:
            return 0
        room = self._options.max_bytes - found.st_size
        if len(data) <= room:
            return len(data)
        fits = data.rfind(b"\n", 0, max(0, room)) + 1
        return fits or (0 if found.st_size else data.find(b"\n") + 1 or len(data))

    def _append(self, data: bytes) -> None:
        rest = memoryview(b"\n" + data if self._torn else data)
        while rest:
            self._torn = True
            rest = rest[os.write(self._file, rest) :]
        self._torn = False

    def _rotate(self, data: bytes) -> None:
        """Renames the file, unless another process has by now."""
        self._lock_current(fcntl.LOCK_EX)
        try:
            if self._fitting(data):
                return
            at = datetime.fromtimestamp(self._clock.wall_ns() / 1e9, UTC)
            while (target := Path(f"{self._path}.{at:%Y-%m-%dT%H%M%S.%fZ}")).exists() or Path(f"{target}.gz").exists():
                at += timedelta(microseconds=1)
            self._rename(target)
        finally:
            self._unlock()
            self.close()
        self._keep_house()

    def _rename(self, target: Path) -> None:
        try:
            self._path.rename(target)
        except FileNotFoundError:  # somebody else has just now
            pass
        except OSError as error:
            self._grows_until = self._clock.wall_ns() / 1e9 + _BETWEEN_TRIES
            boundary.say_once(
                f"rotation of {self._path}",
                f"watchkeeper cannot rename {self._path}, so the file goes on growing: {told(error)}",
                error,
            )

    def _keep_house(self) -> None:
        if self.keeper is not None and self.keeper.is_alive():
            return  # what it does not see any more is done after the next rotation
        keeper = threading.Thread(target=self._tidy, name="watchkeeper-log-files", daemon=True)
        with contextlib.suppress(RuntimeError):  # the interpreter is ending
            keeper.start()
            self.keeper = keeper

    def _tidy(self) -> None:
        try:
            if self._options.compress:
                for path in self.rotated():
                    if path.suffix != ".gz":
                        _compress(path)
            self._forget()
        except Exception as error:  # noqa: BLE001  # a full disk, somebody else's permissions
            boundary.failed_in_background("keeping log files", error)

    def rotated(self) -> list[Path]:
        """Rotated files, oldest first."""
        name = self._path.name
        found = [
            path
            for path in self._path.parent.iterdir()
            if path.name.startswith(name) and _STAMP.fullmatch(path.name[len(name) :])
        ]
        return sorted(found, key=lambda path: path.name.removesuffix(".gz"))

    def _forget(self) -> None:
        """Deletes what is older or more than the options keep."""
        files = self.rotated()
        oldest = self._clock.wall_ns() / 1e9 - self._options.keep_days * _DAY_SECONDS
        gone = files[: max(0, len(files) - self._options.keep_files)]
        for path in files:
            with contextlib.suppress(FileNotFoundError):  # another process has the same duty
                if path in gone or path.stat().st_mtime < oldest:
                    path.unlink()


def _compress(path: Path) -> None:
    """Puts `path.gz` in place of `path`: one process at a time, and never half of it."""
    part = path.with_name(f"{path.name}.gz.part")
    with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as source, part.open("ab") as target:
        # Not a lock on the source: a process that still has it open would have to wait before it could go on.
        fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
        target.truncate(0)  # of what an exit left behind
        with gzip.GzipFile(path.name, "wb", compresslevel=6, fileobj=target) as packed:
            shutil.copyfileobj(source, packed, _COPIED)
        target.flush()
        shutil.copystat(path, part)  # its age is that of its lines
        part.rename(f"{path}.gz")
        path.unlink()
