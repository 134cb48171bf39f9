"""Rolls samples up while they are there, so that something is left of them when they are dropped.

A partition of samples, a day, is rolled up at once when it is over, and again when samples have come late or were
deleted. What is made takes the place of what was there in one step: whenever the process ends, there is the one or the
other, and what was not finished is made again. Meanwhile nothing is dropped or deleted. A partition whose samples were
dropped before is left alone: what comes late to it is too little to stand for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from watchkeeper_server.model.rollups import NEVER_MS, ROLLUPS, RolledUp, Rollup
from watchkeeper_server.store.engine import Engine
from watchkeeper_server.store.partitions import partition_end
from watchkeeper_server.store.statements import statement
from watchkeeper_server.telemetry import logger

DAY_SECONDS = 86_400
# how late samples of a day may come without its being rolled up twice
_GRACE_SECONDS = 3600
# how often a day is rolled up that keeps changing, or tried again that could not be
_AGAIN_SECONDS = 3600
_LOOK_SECONDS = 60
# A statement takes about this many samples, some two seconds: stopping waits for no longer.
_SLICE_ROWS = 8_000_000
# A day that retention will drop so soon is not begun with.
_MARGIN_SECONDS = 3600
# between two days, for whoever waits to delete or to drop
_TURN_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class _Partition:
    """Samples of a day or a year that begins with `day`.

    `oldest` and `newest` are the blocks that there are of them, `rolled_up` the newest of those that were rolled up; -1
    is none. `deleted_from` says that some were deleted since.
    """

    day: date
    oldest: int
    newest: int
    rolled_up: int
    deleted_from: bool

    @property
    def start_ms(self) -> int:
        """Its midnight, Unix milliseconds: what was sampled then belongs to the partition before."""
        return _milliseconds(self.day)

    @property
    def end_ms(self) -> int:
        """The next one's, which belongs to it."""
        return _milliseconds(partition_end(self.day))

    @property
    def changed(self) -> bool:
        """Whether what there is is not what was rolled up."""
        return self.newest >= 0 and (self.deleted_from or self.newest > self.rolled_up)

    @property
    def gone(self) -> bool:
        """Whether nothing is left of what was rolled up."""
        return self.newest < 0 or self.oldest > self.rolled_up >= 0


class Rollups:
    """Keeps rollups up to date in a thread of its own."""

    def __init__(
        self, engine: Engine, days: Mapping[str, int | None], clock: Callable[[], float], upkeep: threading.Lock
    ) -> None:
        """Nothing is rolled up before `start` or `catch_up`.

        Args:
            engine: where everything is.
            days: how long samples (`metrics`) and each rollup are kept, by signal; None is for ever.
            clock: Unix seconds.
            upkeep: held by whoever deletes or drops something of what is rolled up; see `Store.upkeep`.
        """
        self._engine = engine
        self._clock = clock
        self._upkeep = upkeep
        self._sample_days = days["metrics"]
        self._made = any(_longer(days[rollup.signal], self._sample_days) for rollup in ROLLUPS)
        self._rolled_up = RolledUp()
        self._tried: dict[date, float] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rollups", daemon=True)

    def rolled_up(self) -> RolledUp:
        """What is rolled up, as of a minute ago; nothing where no rollup is kept longer than the samples."""
        return self._rolled_up

    def start(self) -> None:
        """Begin, unless no rollup is kept longer than the samples."""
        if self._made:
            self._thread.start()

    def stop(self) -> None:
        """Wait until the statement in hand is done with; idempotent."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def catch_up(self) -> None:
        """Roll up all that is due.

        Raises:
            StoreError: something could not be rolled up; the rest is next time, and this an hour later.
        """
        while not self._stopping.wait(_TURN_SECONDS):
            with self._upkeep:
                if not self._roll_up_next():
                    return

    def _roll_up_next(self) -> bool:
        """Look around, and roll up the oldest day that is due; whether there was one."""
        now = self._clock()
        for partition in self._look(now):
            if self._is_due(partition, now):
                self._tried[partition.day] = now
                self._roll_up(partition)
                return True
        return False

    def _run(self) -> None:
        failing = False
        while not self._stopping.is_set():
            try:
                self.catch_up()
                failing = False
            except Exception as error:  # noqa: BLE001  whatever it is, the samples are still there
                if not failing and not self._stopping.is_set():
                    logger.warning("samples are not rolled up, to be tried again: %s: %s", type(error).__name__, error)
                failing = True
            self._stopping.wait(_LOOK_SECONDS)

    def _is_due(self, partition: _Partition, now: float) -> bool:
        if not partition.changed or now < partition.end_ms / 1000 + _GRACE_SECONDS:
            return False
        if now < self._tried.get(partition.day, 0.0) + _AGAIN_SECONDS:
            return False
        if partition.rolled_up < 0:
            return True
        # Retention drops part by part: of a day that it has begun with, too little may be left.
        return partition.start_ms >= self._kept_from_ms(now + _MARGIN_SECONDS) and not self._is_dropped(partition)

    def _is_dropped(self, partition: _Partition) -> bool:
        """Whether retention took the samples that were rolled up: if all were deleted, so were their rollups."""
        times = {"start": partition.start_ms, "end": partition.end_ms}
        return partition.gone and self._engine.query(statement("rollups_left"), times, own=True).num_rows > 0

    def _roll_up(self, partition: _Partition) -> None:
        times = {"start": partition.start_ms, "end": partition.end_ms}
        self._empty()
        slices = self._engine.query(statement("rollup_slices"), times | {"rows": _SLICE_ROWS})
        for metrics in slices.to_pylist():
            if self._stopping.is_set():
                return
            self._engine.execute(statement("roll_up_samples"), times | metrics)
            self._engine.execute(statement("roll_up_rollups"), metrics)
        for rollup in ROLLUPS:
            self._engine.execute(statement(f"replace_rollups.{rollup.table}"), {"day": partition.day})
        self._engine.execute(statement("record_rolled_up"), {"day": partition.day, "block": partition.newest})
        self._empty()

    def _empty(self) -> None:
        for rollup in ROLLUPS:
            self._engine.execute(f"TRUNCATE TABLE {rollup.table}_new")

    def _look(self, now: float) -> list[_Partition]:
        """All of which there are samples or that were rolled up, oldest first; what that means is kept for readers."""
        blocks: dict[str, dict[date, tuple[int, int]]] = {"samples": {}}
        for row in self._engine.query(statement("rollup_partitions"), own=True).to_pylist():
            blocks.setdefault(row["table"], {})[row["day"]] = row["oldest"], row["newest"]
        rows = self._engine.query(statement("rolled_up"), own=True).to_pylist()
        recorded = {row["day"]: (row["block"], row["deleted_from"]) for row in rows}
        partitions = [
            _Partition(day, *blocks["samples"].get(day, (-1, -1)), *recorded.get(day, (-1, False)))
            for day in sorted({*blocks["samples"], *recorded})
        ]
        starts = {rollup: _milliseconds(min(days)) for rollup in ROLLUPS if (days := blocks.get(rollup.table))}
        kept_from_ms = self._kept_from_ms(now)
        younger = (partition for partition in reversed(partitions) if partition.end_ms > kept_from_ms)
        kept_from_ms = next((each.end_ms for each in younger if self._is_dropped(each)), kept_from_ms)
        self._rolled_up = _known(partitions, starts, kept_from_ms)
        return partitions

    def _kept_from_ms(self, now: float) -> int:
        """From this midnight on retention has dropped no sample for its age."""
        if self._sample_days is None:
            return NEVER_MS
        return (int(now // DAY_SECONDS) + 1 - self._sample_days) * DAY_SECONDS * 1000


def _known(partitions: Sequence[_Partition], starts: Mapping[Rollup, int], kept_from_ms: int) -> RolledUp:
    """What readers need to know; retention has dropped nothing after `kept_from_ms`."""
    ends = [partition.end_ms for partition in partitions if partition.rolled_up >= 0]
    if not ends:
        return RolledUp()
    until = min([max(ends), *(partition.start_ms for partition in partitions if partition.rolled_up < 0)])
    return RolledUp(min(kept_from_ms, until), until, starts)


def _milliseconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


def _longer(days: int | None, other: int | None) -> bool:
    return other is not None and (days is None or days > other)
