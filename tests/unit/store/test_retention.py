"""Making room on the disk: with the real store, on a disk and a clock that the test makes up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from support.server import eventually
from watchkeeper_server.model.errors import StoreError, StoreUnavailableError
from watchkeeper_server.model.rollups import ROLLUPS
from watchkeeper_server.store.engine import Engine, Parameters
from watchkeeper_server.store.options import DiskLimit
from watchkeeper_server.store.retention import DiskRetention, Usage, usage_of
from watchkeeper_server.store.store import Store
from watchkeeper_server.store.wire import Message

GB = 1 << 30
TODAY = datetime(2026, 11, 21, 12, tzinfo=UTC)
SHARE = DiskLimit(share=0.8, text="80%")


@dataclass
class Told:
    """Implements `RetentionEvents`."""

    drops: list[tuple[str, str]] = field(default_factory=list)
    dropped_bytes: int = 0
    reasons: list[str] = field(default_factory=list)
    reminders: list[str] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    def dropped(self, signal: str, period: str, size_bytes: int, why: str) -> None:
        self.drops.append((signal, period))
        self.dropped_bytes += size_bytes
        self.reasons.append(why)

    def nothing_left(self, why: str) -> None:
        self.reminders.append(why)

    def failed(self, error: Exception) -> None:
        self.failures.append(error)


@dataclass
class Disk:
    """A disk of 100 GB, at a time."""

    used_bytes: int = 0
    now: float = TODAY.timestamp()

    def usage(self) -> Usage:
        return Usage(self.used_bytes, 100 * GB - self.used_bytes)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def keeper(
    store: Store, engine: Engine, tmp_path: Path, told: Told, disk: Disk
) -> Callable[[DiskLimit], DiskRetention]:
    """Makes one with a limit; the tables are empty."""
    return lambda limit: DiskRetention(engine, limit, tmp_path, disk.usage, lambda: disk.now, told, store.upkeep)


_INSERTS = {
    "samples": "INSERT INTO samples SELECT 'm', number % 9, {time:DateTime64(3)} + number % 600, rand64(), 1",
    "logs": "INSERT INTO logs (time, body) SELECT {time:DateTime64(9)} + number % 600, toString(rand64())",
    "spans": "INSERT INTO spans (time, trace_id) SELECT {time:DateTime64(9)} + number % 600, randomFixedString(16)",
    "traces": "INSERT INTO traces (first, last, trace_key) SELECT {time:DateTime} AS t, t, rand64()",
    **{
        rollup.table: f"INSERT INTO {rollup.table} (metric, id, bucket, sum) "
        "SELECT 'm', number, {time:DateTime('UTC')}, rand64()"
        for rollup in ROLLUPS
    },
    "exemplars": "INSERT INTO exemplars (metric, id, time, value) SELECT 'm', 1, {time:DateTime64(3)}, 1",
}


def _fill(engine: Engine, table: str, days_ago: float, rows: int = 1000) -> None:
    time = f"{TODAY - timedelta(days_ago):%Y-%m-%d %H:%M:%S}"
    engine.execute(f"{_INSERTS[table]} FROM numbers({rows})", {"time": time})


def _days(engine: Engine, table: str) -> list[str]:
    column = {"traces": "first", "rollups_5m": "bucket", "rollups_1h": "bucket"}.get(table, "time")
    days = f"SELECT DISTINCT toString(toDate({column})) AS day FROM {table} ORDER BY day"  # noqa: S608  names of ours
    rows = engine.query(days).to_pylist()
    return [row["day"] for row in rows]


def _stored_bytes(engine: Engine) -> int:
    rows = engine.query(
        "SELECT sum(bytes_on_disk) AS n FROM system.parts WHERE active AND database = currentDatabase()"
    )
    return int(rows.to_pylist()[0]["n"])


def test_nothing_is_dropped_within_the_limit(
    engine: Engine, keeper: Callable[[DiskLimit], DiskRetention], told: Told, disk: Disk
) -> None:
    _fill(engine, "samples", 20)
    disk.used_bytes = 79 * GB
    keeper(SHARE).make_room()
    assert told == Told()
    assert _days(engine, "samples") == ["2026-11-01"]


def test_the_oldest_day_of_any_signal_goes_first_and_no_more_than_has_to(
    engine: Engine, keeper: Callable[[DiskLimit], DiskRetention], told: Told, disk: Disk
) -> None:
    _fill(engine, "logs", 3)
    _fill(engine, "samples", 2)
    _fill(engine, "logs", 1)
    disk.used_bytes = 80 * GB + 1
    keeper(SHARE).make_room()
    assert told.drops == [("logs", "2026-11-18")]
    assert _days(engine, "logs") == ["2026-11-20"]
    assert _days(engine, "samples") == ["2026-11-19"]
    assert told.reasons == ["the disk is 80.0% full, --retention-disk is 80%"]
    keeper(SHARE).make_room()  # no emptier a minute later
    assert told.drops[1:] == [("metrics", "2026-11-19")]


def test_what_belongs_together_goes_together_and_of_one_day_the_largest_first(
    engine: Engine, keeper: Callable[[DiskLimit], DiskRetention], told: Told, disk: Disk
) -> None:
    for table, rows in {"spans": 50_000, "traces": 10, "samples": 10, "exemplars": 10}.items():
        _fill(engine, table, 5, rows)
    disk.used_bytes = 80 * GB + 1
    keeper(SHARE).make_room()
    assert told.drops == [("traces", "2026-11-16")]
    assert _days(engine, "spans") == _days(engine, "traces") == []
    assert _days(engine, "samples") == _days(engine, "exemplars") == ["2026-11-16"]
    keeper(SHARE).make_room()
    assert _days(engine, "samples") == _days(engine, "exemplars") == []


def test_todays_data_stays_however_full_the_disk_is_and_that_is_said_hourly(
    engine: Engine, keeper: Callable[[DiskLimit], DiskRetention], told: Told, disk: Disk
) -> None:
    for days_ago in (2, 1, 0, -0.25):
        _fill(engine, "samples", days_ago)
    disk.used_bytes = 99 * GB
    keep = keeper(SHARE)
    for minute in range(121):
        disk.now = TODAY.timestamp() + 60 * minute
        keep.make_room()
    assert told.drops == [("metrics", "2026-11-19"), ("metrics", "2026-11-20")]
    assert _days(engine, "samples") == ["2026-11-21"]
    assert told.reminders == ["the disk is 99.0% full, --retention-disk is 80%"] * 3


def test_a_year_before_days_had_partitions_goes_whole(
    engine: Engine, keeper: Callable[[DiskLimit], DiskRetention], told: Told, disk: Disk
) -> None:
    _fill(engine, "samples", 400)
    _fill(engine, "samples", 500)
    _fill(engine, "samples", 100)
    disk.used_bytes = 80 * GB + 1
    keeper(SHARE).make_room()
    assert told.drops == [("metrics", "2025")]
    assert _days(engine, "samples") == ["2026-08-13"]


def test_a_size_is_for_what_is_stored_whatever_else_is_on_the_disk(
    engine: Engine, keeper: Callable[[DiskLimit], DiskRetention], told: Told, disk: Disk
) -> None:
    for days_ago in range(5):
        _fill(engine, "samples", days_ago, 20_000)
    limit = _stored_bytes(engine) // 2
    disk.used_bytes = 100 * GB
    keeper(DiskLimit(size_bytes=limit, text="x")).make_room()
    assert told.drops == [("metrics", f"2026-11-{day}") for day in (17, 18, 19)]
    assert _stored_bytes(engine) <= limit
    keeper(DiskLimit(size_bytes=limit, text="x")).make_room()
    assert len(told.drops) == 3


def test_rollups_though_older_stay_while_they_take_less_than_what_was_received(
    engine: Engine, keeper: Callable[[DiskLimit], DiskRetention], told: Told, disk: Disk
) -> None:
    _fill(engine, "rollups_5m", 100)
    _fill(engine, "rollups_1h", 300)
    _fill(engine, "logs", 3, 20_000)
    _fill(engine, "samples", 2, 20_000)
    disk.used_bytes = 80 * GB + 1
    keeper(SHARE).make_room()
    keeper(SHARE).make_room()
    assert told.drops == [("logs", "2026-11-18"), ("metrics", "2026-11-19")]
    assert _days(engine, "rollups_5m") == ["2026-08-13"]


def test_of_rollups_that_take_more_than_what_was_received_the_oldest_go(
    engine: Engine, keeper: Callable[[DiskLimit], DiskRetention], told: Told, disk: Disk
) -> None:
    for days_ago in (100, 101, 102):
        _fill(engine, "rollups_5m", days_ago, 20_000)
    _fill(engine, "rollups_1h", 300, 20_000)
    _fill(engine, "logs", 3, 1_000)
    disk.used_bytes = 80 * GB + 1
    keeper(SHARE).make_room()
    assert told.drops == [("rollups-5m", "2026-08-11")]
    assert _days(engine, "rollups_1h") == ["2026-01-25"]
    assert _days(engine, "logs") == ["2026-11-18"]


def test_where_all_that_was_received_is_of_today_rollups_go_before_the_limit_is_given_up(
    engine: Engine, keeper: Callable[[DiskLimit], DiskRetention], told: Told, disk: Disk
) -> None:
    _fill(engine, "rollups_5m", 100)
    _fill(engine, "rollups_1h", 300)
    _fill(engine, "logs", 0, 20_000)
    disk.used_bytes = 99 * GB
    keeper(SHARE).make_room()
    assert sorted(told.drops) == [("rollups-1h", "2026-01-25"), ("rollups-5m", "2026-08-13")]
    assert len(told.reminders) == 1
    assert _days(engine, "logs") == ["2026-11-21"]


@dataclass
class FullDisk:
    """Refuses, as the engine does on such a disk, what cannot reserve a megabyte; otherwise it is the engine."""

    engine: Engine
    reserve: Path

    def execute(self, sql: str, parameters: Parameters | None = None) -> None:
        if self.reserve.exists():
            raise StoreUnavailableError("Cannot reserve 1.00 MiB, not enough space. (NOT_ENOUGH_SPACE)")
        self.engine.execute(sql, parameters)

    def query(self, sql: str, parameters: Parameters | None = None, *, own: bool = False) -> pa.Table:
        return self.engine.query(sql, parameters, own=own)

    def load(self, sql: str, segment: Path, message: Message, parameters: Parameters) -> None:
        self.engine.load(sql, segment, message, parameters)

    def close(self) -> None:
        self.engine.close()


def test_on_a_disk_that_is_full_to_the_last_byte_what_was_set_aside_makes_dropping_possible(
    store: Store, engine: Engine, tmp_path: Path, told: Told, disk: Disk
) -> None:
    full = FullDisk(engine, tmp_path / "reserve")
    keep = DiskRetention(full, SHARE, tmp_path, disk.usage, lambda: disk.now, told, store.upkeep)
    keep.make_room()
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= 4 << 20
    _fill(engine, "samples", 3)
    disk.used_bytes = 100 * GB
    keep.make_room()
    assert told.drops == [("metrics", "2026-11-18")]
    disk.used_bytes = 0
    keep.make_room()
    assert (tmp_path / "reserve").exists()


def test_a_failure_is_told_and_does_not_end_the_watching(engine: Engine, tmp_path: Path, told: Told) -> None:
    def no_disk() -> Usage:
        raise StoreError("the disk is gone")

    keep = DiskRetention(engine, SHARE, tmp_path, no_disk, lambda: 0.0, told, threading.Lock())
    keep.start()
    assert str(eventually(lambda: told.failures or None)[0]) == "the disk is gone"
    assert keep._thread.is_alive()
    keep.stop()
    assert not keep._thread.is_alive()


def test_without_a_limit_nothing_is_watched(keeper: Callable[[DiskLimit], DiskRetention]) -> None:
    keep = keeper(DiskLimit())
    keep.start()
    assert keep._thread.ident is None
    keep.stop()


def test_how_full_the_disk_is_is_read_from_the_file_system(tmp_path: Path) -> None:
    usage = usage_of(tmp_path)
    assert usage.used_bytes > 0
    assert usage.free_bytes > 0
