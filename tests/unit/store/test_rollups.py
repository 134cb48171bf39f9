"""Rollups are what samples came to, of whole days, however the process ends and whatever comes late."""

from __future__ import annotations

import itertools
import logging
import math
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.stored_samples import Points, insert_samples
from watchkeeper_server.model.errors import StoreError
from watchkeeper_server.model.rollups import ROLLUPS, RolledUp
from watchkeeper_server.store import rollups as rollups_module
from watchkeeper_server.store.engine import Engine
from watchkeeper_server.store.options import DiskLimit
from watchkeeper_server.store.retention import DiskRetention, Usage
from watchkeeper_server.store.rollups import Rollups
from watchkeeper_server.store.store import Store
from watchkeeper_server.telemetry import RetentionTelemetry, Telemetry

DAY = 86_400_000
HOUR = 3_600_000
MINUTES = 300_000
FIRST_DAY = 1_795_132_800_000  # 2026-11-20
DAYS: Mapping[str, int | None] = {"metrics": 30, "rollups-5m": 180, "rollups-1h": None}
FOR_EVER = {"traces": None, "logs": None, "metrics": None, "rollups-5m": None, "rollups-1h": None}
STALE = np.array([0x7FF0000000000002], np.uint64).view(np.float64)[0]
FIVE, HOURS = ROLLUPS


class Clock:
    def __init__(self, time_ms: int) -> None:
        self.time_ms = time_ms

    def __call__(self) -> float:
        return self.time_ms / 1000


@pytest.fixture
def clock() -> Clock:
    return Clock(FIRST_DAY + DAY + HOUR)


@pytest.fixture
def rollups(engine: Engine, store: Store, clock: Clock) -> Rollups:
    return Rollups(engine, DAYS, clock, store.upkeep)


def add(engine: Engine, points: Points, metric: str = "m", id_: int = 1, segment: int = 1) -> None:
    insert_samples(engine, points, metric, id_, segment)


def stored(engine: Engine, table: str) -> dict[tuple[str, int, int], tuple[float, ...]]:
    """By metric, series and the bucket's start."""
    rows = engine.query(
        "SELECT metric, id, toUnixTimestamp(bucket) * 1000 AS start, toFloat64(count) AS count, sum, min, max, "
        "toUnixTimestamp64Milli(first_time) AS first_time, first, toUnixTimestamp64Milli(last_time) AS last_time, "
        "last, lost FROM {table:Identifier} ORDER BY metric, id, bucket",
        {"table": table},
    ).to_pylist()
    return {(row["metric"], row["id"], row["start"]): tuple(list(row.values())[3:]) for row in rows}


def naive(points: Points, width: int) -> dict[int, tuple[float, ...]]:
    """What one series comes to."""
    buckets: dict[int, list[tuple[int, float]]] = {}
    for time_ms, value in sorted(points):
        buckets.setdefault((time_ms - 1) // width * width, []).append((time_ms, value))
    return {start: _row(bucket) for start, bucket in buckets.items()}


def _row(bucket: Points) -> tuple[float, ...]:
    values = [value for _, value in bucket]
    numbers = [value for value in values if not math.isnan(value)] or [math.nan]
    lost = sum(before for before, after in itertools.pairwise(values) if after < before)
    ends = (*map(float, bucket[0]), *map(float, bucket[-1]))
    return (float(len(values)), sum(values), min(numbers), max(numbers), *ends, lost)


def counted(engine: Engine, table: str = "rollups_5m") -> int:
    """How many samples are rolled up."""
    return int(sum(row[0] for row in stored(engine, table).values()))


@pytest.mark.parametrize("seed", range(5))
def test_a_bucket_says_what_its_samples_came_to(engine: Engine, rollups: Rollups, seed: int) -> None:
    random = np.random.default_rng(seed)
    series: dict[tuple[str, int], Points] = {}
    for number in range(6):
        times = np.unique(random.integers(1, DAY + 1, int(random.integers(1, 3000))))
        times = np.unique([*times, *(random.integers(1, 289, 5) * MINUTES), DAY][number % 2 :])
        values = random.integers(-50, 100, len(times)) / 4
        values[random.random(len(times)) < 0.02] = math.nan
        series[f"m{number % 4}", number] = list(zip((FIRST_DAY + times).tolist(), values.tolist(), strict=True))
    for (metric, id_), points in series.items():
        half = len(points) // 2
        add(engine, points[half:], metric, id_)
        add(engine, points[:half], metric, id_)
    rollups.catch_up()
    for rollup in ROLLUPS:
        want = {
            (*which, start): row
            for which, points in series.items()
            for start, row in naive(points, rollup.width_ms).items()
        }
        got = stored(engine, rollup.table)
        assert got.keys() == want.keys()
        np.testing.assert_allclose([got[each] for each in want], list(want.values()), rtol=1e-12)


def test_the_sample_of_midnight_belongs_to_the_day_that_ends(engine: Engine, rollups: Rollups, clock: Clock) -> None:
    add(engine, [(FIRST_DAY, 1.0), (FIRST_DAY + 1, 2.0), (FIRST_DAY + DAY, 3.0), (FIRST_DAY + DAY + 1, 4.0)])
    clock.time_ms += DAY
    rollups.catch_up()
    starts = {start - FIRST_DAY: (row[4], row[6]) for (_, _, start), row in stored(engine, "rollups_5m").items()}
    assert starts == {
        0: (FIRST_DAY + 1, FIRST_DAY + 1),
        DAY - MINUTES: (FIRST_DAY + DAY, FIRST_DAY + DAY),
        DAY: (FIRST_DAY + DAY + 1, FIRST_DAY + DAY + 1),
    }


def test_stale_markers_are_no_samples_and_of_repeated_ones_the_last_stored_counts(
    engine: Engine, rollups: Rollups
) -> None:
    add(engine, [(FIRST_DAY + 1000, 5.0), (FIRST_DAY + 2000, 9.0), (FIRST_DAY + 3000, 4.0)], segment=2)
    add(engine, [(FIRST_DAY + 1000, 7.0), (FIRST_DAY + 2000, STALE)], segment=3)
    add(engine, [(FIRST_DAY + 1000, 1.0), (FIRST_DAY + 3000, STALE)], segment=1)
    add(engine, [(FIRST_DAY + 1000, STALE)], id_=2)
    rollups.catch_up()
    row = (2.0, 11.0, 4.0, 7.0, FIRST_DAY + 1000, 7.0, FIRST_DAY + 3000, 4.0, 7.0)
    assert stored(engine, "rollups_5m") == {("m", 1, FIRST_DAY): row}
    assert stored(engine, "rollups_1h") == {("m", 1, FIRST_DAY): row}


def test_a_day_is_rolled_up_an_hour_after_its_end(engine: Engine, rollups: Rollups, clock: Clock) -> None:
    add(engine, [(FIRST_DAY + 1000, 1.0)])
    clock.time_ms -= 1
    rollups.catch_up()
    assert counted(engine) == 0
    assert rollups.rolled_up() == RolledUp()
    clock.time_ms += 1
    rollups.catch_up()
    assert counted(engine) == 1
    known = rollups.rolled_up()
    assert known.until_ms == FIRST_DAY + DAY
    assert known.samples_from_ms == FIRST_DAY - 28 * DAY
    assert known.from_ms == {FIVE: FIRST_DAY, HOURS: FIRST_DAY}


def test_late_samples_and_deletions_are_seen_once_an_hour(
    engine: Engine, store: Store, rollups: Rollups, clock: Clock
) -> None:
    add(engine, [(FIRST_DAY + 1000, 1.0), (FIRST_DAY + HOUR, 2.0)])
    rollups.catch_up()
    add(engine, [(FIRST_DAY + 2000, 1.0)], segment=2)
    rollups.catch_up()
    assert counted(engine) == 2
    clock.time_ms += HOUR
    rollups.catch_up()
    assert counted(engine) == counted(engine, "rollups_1h") == 3
    store.delete(["m"], [1], FIRST_DAY + 2000, FIRST_DAY + 2000, series=False)
    clock.time_ms += HOUR
    rollups.catch_up()
    assert counted(engine) == counted(engine, "rollups_1h") == 2
    store.delete(["m"], [1], FIRST_DAY, FIRST_DAY + DAY, series=False)
    clock.time_ms += HOUR
    rollups.catch_up()
    assert counted(engine) == counted(engine, "rollups_1h") == 0


def test_nothing_is_made_twice_of_what_has_not_changed(
    engine: Engine, rollups: Rollups, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for segment in range(3):
        add(engine, [(FIRST_DAY + 1 + segment, 1.0)], segment=segment)
    rollups.catch_up()
    engine.execute("OPTIMIZE TABLE samples FINAL")
    clock.time_ms += 2 * HOUR
    monkeypatch.setattr(Rollups, "_roll_up", None)
    rollups.catch_up()
    assert counted(engine) == 3


def test_what_comes_late_to_a_day_whose_samples_were_dropped_does_not_stand_for_it(
    engine: Engine, rollups: Rollups, clock: Clock
) -> None:
    add(engine, [(FIRST_DAY + i, 1.0) for i in range(1, 10)])
    rollups.catch_up()
    engine.execute("ALTER TABLE samples DROP PARTITION '2026-11-20'")
    rollups.catch_up()
    assert rollups.rolled_up().samples_from_ms == FIRST_DAY + DAY
    add(engine, [(FIRST_DAY + 100, 1.0)], segment=2)
    clock.time_ms += 2 * HOUR
    rollups.catch_up()
    assert counted(engine) == 9
    assert rollups.rolled_up().samples_from_ms == FIRST_DAY + DAY


def test_a_day_that_retention_has_begun_to_drop_or_is_about_to_is_left_alone(
    engine: Engine, rollups: Rollups, clock: Clock
) -> None:
    add(engine, [(FIRST_DAY + i, 1.0) for i in range(1, 10)])
    rollups.catch_up()
    clock.time_ms = FIRST_DAY + 30 * DAY - HOUR - 1
    add(engine, [(FIRST_DAY + 100, 1.0)], segment=2)
    rollups.catch_up()
    assert counted(engine) == 10
    clock.time_ms += HOUR
    add(engine, [(FIRST_DAY + 101, 1.0)], segment=2)
    rollups.catch_up()
    assert counted(engine) == 10
    assert rollups.rolled_up().samples_from_ms == FIRST_DAY
    clock.time_ms += 2 * HOUR
    rollups.catch_up()
    assert counted(engine) == 10
    assert rollups.rolled_up().samples_from_ms == FIRST_DAY + DAY


class Meanwhile:
    """An engine at whose first statement that makes hours another thread begins with something, and may end with it."""

    def __init__(self, engine: Engine, what: Callable[[], None]) -> None:
        self.engine, self.thread = engine, threading.Thread(target=what)
        self.query = engine.query

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        if "INSERT INTO rollups_1h_new" in sql and self.thread.ident is None:
            self.thread.start()
            self.thread.join(0.5)
        self.engine.execute(sql, parameters)


def catch_up_meanwhile(engine: Engine, store: Store, clock: Clock, what: Callable[[], None]) -> None:
    meanwhile = Meanwhile(engine, what)
    Rollups(meanwhile, DAYS, clock, store.upkeep).catch_up()  # type: ignore[arg-type]  loads nothing
    meanwhile.thread.join()


def test_samples_that_have_to_go_for_want_of_room_stay_until_their_day_is_made(
    engine: Engine, store: Store, rollups: Rollups, clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(rollups_module, "_SLICE_ROWS", 3)
    for id_, metric in enumerate(
        "abc"
    ):  # some kilobytes, so that it is the samples that go and not what is made of them
        add(engine, [(FIRST_DAY + i, math.sin(i)) for i in range(1, 1001)], metric, id_)
    rollups.catch_up()
    add(engine, [(FIRST_DAY + 2000, 1.0)], "a", 0, segment=2)
    clock.time_ms += 2 * HOUR
    events = RetentionTelemetry(Telemetry())
    limit = DiskLimit(share=0.5, text="50%")
    keep = DiskRetention(engine, limit, tmp_path, lambda: Usage(100, 0), clock, events, store.upkeep)
    catch_up_meanwhile(engine, store, clock, keep.make_room)
    assert not engine.query("SELECT 1 FROM samples LIMIT 1").num_rows
    assert counted(engine) == counted(engine, "rollups_1h") == 3001
    rollups.catch_up()
    assert rollups.rolled_up().samples_from_ms == FIRST_DAY + DAY


def test_what_is_deleted_while_its_day_is_made_does_not_come_back(
    engine: Engine, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups_module, "_SLICE_ROWS", 3)
    for id_, metric in enumerate("abc"):
        add(engine, [(FIRST_DAY + i, 1.0) for i in range(1, 5)], metric, id_)
    catch_up_meanwhile(engine, store, clock, lambda: store.delete(["a"], [0], FIRST_DAY, FIRST_DAY + DAY, series=False))
    for rollup in ROLLUPS:
        assert {metric for metric, _, _ in stored(engine, rollup.table)} == {"b", "c"}


@pytest.mark.parametrize("midnight", [False, True])
def test_a_day_of_which_all_was_deleted_can_be_written_again(
    engine: Engine, store: Store, rollups: Rollups, clock: Clock, midnight: bool
) -> None:
    add(engine, [(FIRST_DAY - DAY + 1000, 1.0)])
    add(engine, [(FIRST_DAY + i, 1.0) for i in range(1, 5)])
    add(engine, [(FIRST_DAY + DAY, 1.0)] if midnight else [])
    rollups.catch_up()
    store.delete(["m"], [1], FIRST_DAY, FIRST_DAY + DAY - 1, series=False)
    clock.time_ms += 2 * HOUR
    rollups.catch_up()
    engine.execute("ALTER TABLE samples DROP PARTITION '2026-11-20'")  # as the engine does once it has found it empty
    rollups.catch_up()
    kept_from = FIRST_DAY - 28 * DAY
    assert rollups.rolled_up().samples_from_ms == kept_from
    add(engine, [(FIRST_DAY + i, 2.0) for i in range(1, 4)], segment=3)
    rollups.catch_up()
    assert rollups.rolled_up().samples_from_ms == kept_from
    clock.time_ms += 2 * HOUR
    rollups.catch_up()
    assert stored(engine, "rollups_5m")["m", 1, FIRST_DAY][:2] == (3.0, 6.0)
    assert rollups.rolled_up().samples_from_ms == kept_from


@pytest.fixture
def made(rollups: Rollups, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Which days were rolled up, counted from the first."""
    days: list[int] = []
    roll_up = Rollups._roll_up

    def told(self: Rollups, partition: Any) -> None:
        days.append((partition.start_ms - FIRST_DAY) // DAY)
        roll_up(self, partition)

    monkeypatch.setattr(Rollups, "_roll_up", told)
    return days


@pytest.mark.parametrize(
    ("start", "end", "touched"),
    [
        (2 * DAY + 1000, 2 * DAY + 1000, [2]),
        (3 * DAY, 3 * DAY, [2, 3]),  # what was sampled at midnight is rolled up with the day before
        (DAY - 1, 2 * DAY - 1, [0, 1]),
        (-FIRST_DAY - 1, 40 * 365 * DAY, [0, 1, 2, 3]),
    ],
)
def test_a_deletion_lets_those_days_be_made_again_that_it_touches(
    engine: Engine,
    store: Store,
    rollups: Rollups,
    clock: Clock,
    made: list[int],
    start: int,
    end: int,
    touched: list[int],
) -> None:
    clock.time_ms += 3 * DAY
    for day in range(4):
        add(engine, [(FIRST_DAY + day * DAY + 1000, 1.0)])
        add(engine, [(FIRST_DAY + day * DAY + 2000, 1.0)], "other")
    rollups.catch_up()
    assert made == [0, 1, 2, 3]
    store.delete(["m"], [1], FIRST_DAY + start, FIRST_DAY + end, series=False)
    for _ in range(3):
        clock.time_ms += HOUR
        rollups.catch_up()
    assert made[4:] == touched
    left = {(metric, start) for metric, _, start in stored(engine, "rollups_5m")}
    assert {("other", FIRST_DAY + day * DAY) for day in range(4)} <= left


def test_a_change_of_retention_lets_no_day_be_made_again(
    engine: Engine, store: Store, rollups: Rollups, clock: Clock, made: list[int]
) -> None:
    add(engine, [(FIRST_DAY + 1000, 1.0)])
    rollups.catch_up()
    try:
        store.retain(FOR_EVER | {"metrics": 30_000})
        clock.time_ms += 2 * HOUR
        rollups.catch_up()
    finally:
        store.retain(FOR_EVER)
    assert made == [0]


def test_a_day_whose_newest_samples_were_deleted_is_made_again_once(
    engine: Engine, store: Store, rollups: Rollups, clock: Clock, made: list[int]
) -> None:
    add(engine, [(FIRST_DAY + 1000, 1.0)])
    add(engine, [(FIRST_DAY + 2000, 1.0)], segment=2)
    rollups.catch_up()
    store.delete(["m"], [1], FIRST_DAY + 2000, FIRST_DAY + 2000, series=False)
    newest = engine.query(
        "SELECT argMax(name, max_block_number) AS name FROM system.parts WHERE table = 'samples' AND active"
    )
    engine.execute(f"ALTER TABLE samples DROP PART '{newest.column('name')[0].as_py()}'")  # as the engine does, too
    for _ in range(3):
        clock.time_ms += HOUR
        rollups.catch_up()
    assert made == [0, 0]


@pytest.mark.parametrize("values", [(9.0, 1.0), (1.0, 9.0), (1.0, -math.inf, 9.0)])
def test_of_samples_of_one_instant_and_segment_the_greatest_counts_wherever_they_are_read(
    engine: Engine, store: Store, rollups: Rollups, values: Sequence[float]
) -> None:
    add(engine, [(FIRST_DAY + 1000, value) for value in values])
    rollups.catch_up()
    assert [row[7] for row in stored(engine, "rollups_5m").values()] == [9.0]
    times = {"start": FIRST_DAY, "end": FIRST_DAY + DAY}
    selected = {"metrics": ["m"], "ids": None, "by_segment": 1, "limit": 10}
    assert store.read("read_selected_samples", times | selected).column("value")[-1].as_py() == 9.0
    of_chart = {"metric": "m", "ids": [1], "start": "2026-11-20 00:00:00", "end": "2026-11-21 00:00:00"}
    assert store.read("read_samples", of_chart | {"max_points": 9}).column("point_values").to_pylist() == [[9.0]]


@pytest.mark.parametrize("values", [(9.0, STALE), (STALE, 9.0)])
def test_of_samples_of_one_instant_and_segment_the_stale_marker_counts_wherever_they_are_read(
    engine: Engine, store: Store, rollups: Rollups, values: Sequence[float]
) -> None:
    add(engine, [(FIRST_DAY + 1000, value) for value in values])
    rollups.catch_up()
    assert stored(engine, "rollups_5m") == {}
    times = {"start": FIRST_DAY, "end": FIRST_DAY + DAY}
    selected = {"metrics": ["m"], "ids": None, "by_segment": 1, "limit": 10}
    assert math.isnan(store.read("read_selected_samples", times | selected).column("value")[-1].as_py())
    of_chart = {"metric": "m", "ids": [1], "start": "2026-11-20 00:00:00", "end": "2026-11-21 00:00:00"}
    assert store.read("read_samples", of_chart | {"max_points": 9}).num_rows == 0


def test_a_backfill_of_a_year_is_rolled_up_whole(engine: Engine, rollups: Rollups) -> None:
    new_year = 1_704_067_200_000  # 2024
    add(engine, [(new_year + 1000 + day * DAY, float(day)) for day in range(366)])
    rollups.catch_up()
    assert counted(engine) == counted(engine, "rollups_1h") == 366
    assert rollups.rolled_up().from_ms[FIVE] == new_year


def test_large_days_are_rolled_up_a_few_metrics_at_a_time(
    engine: Engine, rollups: Rollups, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups_module, "_SLICE_ROWS", 25)
    for number in range(9):
        add(engine, [(FIRST_DAY + i, 1.0) for i in range(1, 11)], metric=f"m'{number}\\")
    rollups.catch_up()
    assert counted(engine) == counted(engine, "rollups_1h") == 90


class Interrupted:
    """An engine whose nth statement fails; the statements before it are done."""

    def __init__(self, engine: Engine, statements: int) -> None:
        self.engine, self.left = engine, statements
        self.query = engine.query

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        self.left -= 1
        if self.left < 0:
            raise StoreError("the disk is on fire")
        self.engine.execute(sql, parameters)


def test_an_interruption_leaves_what_was_there_or_what_takes_its_place(
    engine: Engine, store: Store, clock: Clock
) -> None:
    add(engine, [(FIRST_DAY + i * HOUR + 1, 1.0) for i in range(24)])
    Rollups(engine, DAYS, clock, store.upkeep).catch_up()
    for statements in itertools.count():
        before = counted(engine)
        add(engine, [(FIRST_DAY + 1000 + statements, 1.0)])
        failing = Interrupted(engine, statements)
        try:
            Rollups(failing, DAYS, clock, store.upkeep).catch_up()  # type: ignore[arg-type]  loads nothing
        except StoreError:
            assert counted(engine) in (before, before + 1)
            assert counted(engine, "rollups_1h") in (before, before + 1)
            Rollups(engine, DAYS, clock, store.upkeep).catch_up()
        assert counted(engine) == counted(engine, "rollups_1h") == before + 1
        if failing.left > 0:
            break
    assert statements > 8


KILLED = """
import os, signal, sys
from pathlib import Path
from watchkeeper_server.store.embedded import EmbeddedEngine
from watchkeeper_server.store.rollups import Rollups
from watchkeeper_server.store.store import Store

engine = EmbeddedEngine(Path(sys.argv[1]))
store = Store(engine)
store.migrate()
kill = sys.argv[2] == "kill"
if kill:
    engine.execute("INSERT INTO samples SELECT 'm', 1, toDateTime64(1795132801 + number, 3), 1, 1 FROM numbers(9)")
execute = engine.execute

def killed(sql, parameters=None):
    if kill and "REPLACE PARTITION" in sql and "rollups_1h" in sql:
        os.kill(os.getpid(), signal.SIGKILL)
    execute(sql, parameters)

engine.execute = killed
days = {"metrics": 30, "rollups-5m": 180, "rollups-1h": 730}
Rollups(engine, days, lambda: 1795132800 + 2 * 86400, store.upkeep).catch_up()
for table in ("rollups_5m", "rollups_1h", "rollups_5m_new", "rollups_1h_new"):
    print(engine.query(f"SELECT sum(count) AS n FROM {table}").column("n")[0].as_py())
engine.close()
"""


def test_a_process_killed_before_all_is_replaced_begins_again(tmp_path: Path) -> None:
    def run(how: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", KILLED, str(tmp_path), how], capture_output=True, text=True, check=False, timeout=60
        )

    assert run("kill").returncode == -signal.SIGKILL
    again = run("go on")
    assert again.stdout.split() == ["9", "9", "0", "0"], again.stderr


@pytest.mark.parametrize(
    ("metrics", "five", "hours", "made"),
    [(30, 180, 730, True), (30, 30, 31, True), (30, 30, 7, False), (30, None, 7, True), (None, None, None, False)],
)
def test_rollups_are_made_if_any_is_kept_longer_than_samples(
    engine: Engine,
    store: Store,
    clock: Clock,
    metrics: int | None,
    five: int | None,
    hours: int | None,
    made: bool,
) -> None:
    add(engine, [(FIRST_DAY + 1000, 1.0)])
    job = Rollups(engine, {"metrics": metrics, "rollups-5m": five, "rollups-1h": hours}, clock, store.upkeep)
    job.start()
    deadline = time.monotonic() + 30
    while made and not counted(engine):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    job.stop()
    job.stop()
    assert bool(counted(engine)) == made


def test_an_error_is_told_once_and_what_failed_is_tried_again_after_an_hour(
    engine: Engine, store: Store, clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(engine, [(FIRST_DAY + 1000, 1.0)])
    monkeypatch.setattr(rollups_module, "_LOOK_SECONDS", 0.01)
    failing = Interrupted(engine, 0)
    job = Rollups(failing, DAYS, clock, store.upkeep)  # type: ignore[arg-type]  loads nothing
    with caplog.at_level(logging.WARNING, "watchkeeper"):
        job.start()
        deadline = time.monotonic() + 30
        while not caplog.records:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        failing.left = 100
        time.sleep(0.1)
        assert not counted(engine)
        clock.time_ms += HOUR
        while not counted(engine):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        job.stop()
    assert [record.message for record in caplog.records] == [
        "samples are not rolled up, to be tried again: StoreError: the disk is on fire"
    ]


def test_a_day_that_fails_does_not_hold_up_the_next(engine: Engine, store: Store, clock: Clock) -> None:
    for day in range(3):
        add(engine, [(FIRST_DAY + day * DAY + 1000, 1.0)])
    clock.time_ms += 2 * DAY
    job = Rollups(Interrupted(engine, 0), DAYS, clock, store.upkeep)  # type: ignore[arg-type]  loads nothing
    with pytest.raises(StoreError):
        job.catch_up()
    job._engine = engine
    job.catch_up()
    assert counted(engine) == 2
    assert job.rolled_up().until_ms == FIRST_DAY
    clock.time_ms += HOUR
    job.catch_up()
    assert counted(engine) == 3


def test_rollups_and_what_series_are_called_outlive_samples(store: Store) -> None:
    def ttl(table: str) -> str:
        text: str = store.read("table_ttls", {"tables": [table]}).column("ttl")[0].as_py()
        return text

    store.retain(FOR_EVER | {"metrics": 30, "rollups-5m": 180, "rollups-1h": 730})
    assert "toIntervalDay(30)" in ttl("samples")
    assert "toIntervalDay(180)" in ttl("rollups_5m")
    assert "toIntervalDay(730)" in ttl("rollups_1h")
    assert "toIntervalDay(730)" in ttl("series")
    store.retain(FOR_EVER | {"metrics": 900, "rollups-5m": 180, "rollups-1h": 730})
    assert "toIntervalDay(900)" in ttl("series")
    store.retain(FOR_EVER | {"metrics": 30})
    assert ttl("series") == ttl("rollups_1h") == ""
    store.retain(FOR_EVER)


def test_rollups_expire_although_they_came_from_another_table(engine: Engine, store: Store, clock: Clock) -> None:
    store.retain(FOR_EVER | {"rollups-5m": 7})
    try:
        add(engine, [(FIRST_DAY - 10 * DAY, 1.0)])
        Rollups(engine, DAYS, clock, store.upkeep).catch_up()
        engine.execute("OPTIMIZE TABLE rollups_5m FINAL")
        expiring = engine.query(
            "SELECT max(delete_ttl_info_max) > 0 AS expires FROM system.parts WHERE table = 'rollups_5m' AND active"
        )
        assert counted(engine) == 0 or expiring.column("expires")[0].as_py()
    finally:
        store.retain(FOR_EVER)


def test_whole_series_are_deleted_from_rollups_whose_samples_are_gone(
    engine: Engine, store: Store, rollups: Rollups
) -> None:
    for id_ in (1, 2):
        add(engine, [(FIRST_DAY + hour * HOUR + 1000, 1.0) for hour in range(24)], id_=id_)
    rollups.catch_up()
    engine.execute("ALTER TABLE samples DROP PARTITION '2026-11-20'")
    store.delete(["m"], [1], FIRST_DAY + 2 * HOUR, FIRST_DAY + 4 * HOUR - 1, series=False)
    left = [start for _, id_, start in stored(engine, "rollups_1h") if id_ == 1]
    assert left == [FIRST_DAY + hour * HOUR for hour in range(24) if hour not in (1, 2, 3)]
    store.delete(["m"], [1], 0, FIRST_DAY + 100 * DAY, series=True)
    assert {id_ for _, id_, _ in stored(engine, "rollups_5m")} == {2}


def test_partitions_are_named_by_their_first_day(engine: Engine, rollups: Rollups) -> None:
    add(engine, [(FIRST_DAY + 1000, 1.0)])
    rollups.catch_up()
    days = engine.query("SELECT day FROM rolled_up").column("day").to_pylist()
    assert days == [date(2026, 11, 20)]
