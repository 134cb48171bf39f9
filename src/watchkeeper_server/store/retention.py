"""Makes room on a disk that fills up, by dropping the oldest data of whatever signal; `Store.retain` ends data by age.

Every minute it looks at how much is taken. Beyond the limit it drops what is oldest, a day of a signal at a time (a
year, of what is older than the partitions of a day), until what is left is within the limit. Rollups outlive what they
were made of, and would always be the oldest: so it is the oldest day of whatever takes most, one of the rollups or all
that was received. Today's data is never dropped: where that alone is too much, or others fill the disk, it says so and
tries again.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Protocol

from watchkeeper_server.model.errors import StoreError, StoreUnavailableError
from watchkeeper_server.model.rollups import ROLLUPS
from watchkeeper_server.store.engine import Engine
from watchkeeper_server.store.options import DiskLimit
from watchkeeper_server.store.partitions import FIRST_DAY, partition_end
from watchkeeper_server.store.statements import statement

_LOOK_SECONDS = 60
_REMIND_SECONDS = 3600
# Dropping needs a little room itself: ClickHouse wants to be sure of a megabyte.
_RESERVE_BYTES = 4 << 20
# What belongs together is dropped together.
_SIGNALS = {
    "traces": ("spans", "traces"),
    "logs": ("logs",),
    "metrics": ("samples", "exemplars", "native_histograms"),
    **{rollup.signal: (rollup.table,) for rollup in ROLLUPS},
}
_ROLLUPS = {rollup.signal for rollup in ROLLUPS}
_SIGNAL_OF = {table: signal for signal, tables in _SIGNALS.items() for table in tables}


@dataclass(frozen=True, slots=True)
class Usage:
    """How full a file system is, whoever fills it."""

    used_bytes: int
    free_bytes: int


class RetentionEvents(Protocol):
    """What making room tells whoever watches over it."""

    def dropped(self, signal: str, period: str, size_bytes: int, why: str) -> None:
        """A day (`2026-10-03`) or a year (`2025`) of a signal is gone."""

    def nothing_left(self, why: str) -> None:
        """The limit is exceeded with nothing left to drop but today's data; told again after an hour."""

    def failed(self, error: Exception) -> None:
        """Something could not be dropped; it will be tried again. Told once, until it has worked again."""


@dataclass(frozen=True, slots=True)
class _Period:
    """A day or a year of one signal."""

    day: date
    signal: str
    partitions: tuple[tuple[str, str], ...]  # table, partition
    size_bytes: int

    def __str__(self) -> str:
        return str(self.day) if self.day >= FIRST_DAY else str(self.day.year)

    @property
    def group(self) -> str:
        """What it is weighed with."""
        return self.signal if self.signal in _ROLLUPS else "received"

    def is_over(self, today: date) -> bool:
        """Whether nothing of today belongs to it."""
        return partition_end(self.day) <= today


class DiskRetention:
    """Keeps to a limit, in a thread of its own."""

    def __init__(
        self,
        engine: Engine,
        limit: DiskLimit,
        folder: Path,
        usage: Callable[[], Usage],
        clock: Callable[[], float],
        events: RetentionEvents,
        upkeep: threading.Lock,
    ) -> None:
        """Nothing is dropped before `start` or `make_room`.

        Args:
            engine: where everything is.
            limit: how much may be taken.
            folder: where a few megabytes are set aside, for making room where there is none at all.
            usage: how full the file system of the data is.
            clock: Unix seconds.
            events: told what happens.
            upkeep: held while something is dropped; see `Store.upkeep`.
        """
        self._engine = engine
        self._limit = limit
        self._reserve = folder / "reserve"
        self._usage = usage
        self._clock = clock
        self._events = events
        self._upkeep = upkeep
        self._reminded: float | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="disk retention", daemon=True)

    def start(self) -> None:
        """Begin, unless there is no limit."""
        if self._limit:
            self._thread.start()

    def stop(self) -> None:
        """Wait until the statement in hand is done with; idempotent."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def make_room(self) -> None:
        """Drop what has to go.

        Raises:
            StoreError: something could not be dropped.
            OSError: it cannot be told how full the disk is.
        """
        rows = self._engine.query(statement("read_table_sizes"), own=True).to_pylist()
        excess, why = self._excess(sum(row["bytes"] for row in rows))
        if excess <= 0:
            self._reminded = None
            self._set_aside()
            return
        # Files go some ten seconds after their partition, hence by what it took and not by looking again.
        left = self._droppable()
        while left:
            period = _next(left)
            left.remove(period)
            with self._upkeep:
                if self._stopping.is_set():
                    return
                self._drop(period)
            self._events.dropped(period.signal, str(period), period.size_bytes, why)
            excess -= period.size_bytes
            if excess <= 0:
                return
        now = self._clock()
        if self._reminded is None or now - self._reminded >= _REMIND_SECONDS:
            self._reminded = now
            self._events.nothing_left(why)

    def _run(self) -> None:
        failing = False
        while not self._stopping.is_set():
            try:
                self.make_room()
                failing = False
            except Exception as error:  # noqa: BLE001  whatever it is, the next minute may be better
                if not failing and not self._stopping.is_set():
                    self._events.failed(error)
                failing = True
            self._stopping.wait(_LOOK_SECONDS)

    def _excess(self, stored_bytes: int) -> tuple[int, str]:
        """By how many bytes a limit is exceeded, and in words; the one that is exceeded by more."""
        usage, limit = self._usage(), self._limit
        size = usage.used_bytes + usage.free_bytes
        by_share = 0 if limit.share is None else usage.used_bytes - int(limit.share * size)
        by_size = 0 if limit.size_bytes is None else stored_bytes - limit.size_bytes
        if by_size >= by_share:
            return by_size, f"{_in_words(stored_bytes)} are stored, --retention-disk is {limit}"
        return by_share, f"the disk is {usage.used_bytes / size:.1%} full, --retention-disk is {limit}"

    def _droppable(self) -> list[_Period]:
        """The oldest first; of one day the largest."""
        found: dict[tuple[date, str], list[tuple[str, str, int]]] = {}
        tables = {"tables": list(_SIGNAL_OF)}
        for row in self._engine.query(statement("droppable_partitions"), tables, own=True).to_pylist():
            part = row["table"], row["partition"], row["bytes"]
            found.setdefault((row["day"], _SIGNAL_OF[row["table"]]), []).append(part)
        periods = [
            _Period(day, signal, tuple((table, name) for table, name, _ in parts), sum(size for _, _, size in parts))
            for (day, signal), parts in found.items()
        ]
        today = datetime.fromtimestamp(self._clock(), UTC).date()
        over = [period for period in periods if period.is_over(today)]
        return sorted(over, key=lambda period: (period.day, -period.size_bytes))

    def _drop(self, period: _Period) -> None:
        for table, partition in period.partitions:
            drop = statement(f"drop_partition.{table}"), {"partition": partition}
            try:
                self._engine.execute(*drop)
            except StoreUnavailableError:
                if not self._reserve.exists():
                    raise
                self._reserve.unlink()
                self._engine.execute(*drop)

    def _set_aside(self) -> None:
        """Take the reserve again, if it was used."""
        if self._reserve.exists():
            return
        handle = os.open(self._reserve, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(handle, 0, _RESERVE_BYTES)
        except OSError as error:
            self._reserve.unlink()
            raise StoreError(f"no room for {self._reserve}: {error.strerror}") from error
        finally:
            os.close(handle)


def usage_of(folder: Path) -> Usage:
    """How full the file system of a folder is, as `df` counts it."""
    disk = shutil.disk_usage(folder)
    return Usage(disk.used, disk.free)


def _next(periods: Sequence[_Period]) -> _Period:
    """The first of the group that takes most."""
    sizes: Counter[str] = Counter()
    for period in periods:
        sizes[period.group] += period.size_bytes
    [(largest, _)] = sizes.most_common(1)
    return next(period for period in periods if period.group == largest)


def _in_words(size_bytes: int) -> str:
    """A size in words."""
    return f"{size_bytes / (1 << 30):.1f} GB" if size_bytes >= 1 << 30 else f"{size_bytes / (1 << 20):.1f} MB"
