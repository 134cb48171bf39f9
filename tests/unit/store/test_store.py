from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.otlp import key_values
from watchkeeper_server.journal.segment import write_segment
from watchkeeper_server.model.errors import StoreError
from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.store.engine import Engine, Parameters
from watchkeeper_server.store.statements import migrations
from watchkeeper_server.store.store import Store

DAY_NS = 86_400_000_000_000


def _segment(folder: Path, start_times: list[int]) -> Path:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.extend(key_values({"service.name": "shop"}))
    scope = resource.scope_spans.add()
    for start in start_times:
        scope.spans.add(
            trace_id=random.randbytes(16),
            span_id=random.randbytes(8),
            name="work",
            start_time_unix_nano=start,
            end_time_unix_nano=start + 5,
        )
    path = folder / "one.segment"
    write_segment(path, [request.SerializeToString()])
    return path


def _days(traces: int | None, logs: int | None, metrics: int | None) -> dict[str, int | None]:
    return {"traces": traces, "logs": logs, "metrics": metrics, "rollups-5m": metrics, "rollups-1h": metrics}


def _count(engine: Engine) -> int:
    count: int = engine.query("SELECT count() AS n FROM spans").column("n")[0].as_py()
    return count


def test_a_segment_reaches_each_partition_in_one_part(store: Store, engine: Engine, tmp_path: Path) -> None:
    now = time.time_ns()
    path = _segment(tmp_path, [now - day * DAY_NS - i for day in range(3) for i in range(1000)])
    store.load(Kind.SPANS, path, (1,), replayed=False)
    parts = engine.query(
        "SELECT uniqExact(_part) AS parts, uniqExact(_partition_id) AS days FROM spans WHERE segment = 1"
    )
    assert parts.to_pylist() == [{"parts": 3, "days": 3}]


def test_a_replayed_segment_is_stored_once(store: Store, engine: Engine, tmp_path: Path) -> None:
    path = _segment(tmp_path, [time.time_ns()] * 10)
    store.load(Kind.SPANS, path, (1,), replayed=False)
    store.load(Kind.SPANS, path, (1,), replayed=True)
    assert _count(engine) == 10


def test_a_replay_completes_a_load_that_reached_only_some_partitions(
    store: Store, engine: Engine, tmp_path: Path
) -> None:
    now = time.time_ns()
    path = _segment(tmp_path, [now - day * DAY_NS for day in range(3) for _ in range(10)])
    store.load(Kind.SPANS, path, (1,), replayed=False)
    engine.execute("ALTER TABLE spans DROP PARTITION ID {day:String}", {"day": time.strftime("%Y%m%d", time.gmtime())})
    assert _count(engine) == 20
    store.load(Kind.SPANS, path, (1,), replayed=True)
    assert _count(engine) == 30


def test_a_half_of_a_split_segment_leaves_out_what_its_parent_stored(
    store: Store, engine: Engine, tmp_path: Path
) -> None:
    path = _segment(tmp_path, [time.time_ns()] * 10)
    store.load(Kind.SPANS, path, (1,), replayed=False)
    store.load(Kind.SPANS, path, (2, 1), replayed=True)
    assert _count(engine) == 10


def test_a_segment_that_is_not_protobuf_is_refused_and_stores_nothing(
    store: Store, engine: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "bad.segment"
    path.write_bytes(b"\x05\xff\xff\xff\xff\xff")
    with pytest.raises(StoreError):
        store.load(Kind.SPANS, path, (1,), replayed=False)
    assert _count(engine) == 0


def test_migrating_twice_changes_nothing(store: Store, engine: Engine) -> None:
    before = engine.query("SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase()")
    store.migrate()
    after = engine.query("SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase()")
    assert before.sort_by("name").equals(after.sort_by("name"))


class Watched:
    """An engine that counts how many statements run at once; it fails from the nth on."""

    def __init__(self, engine: Engine, statements: int = 1_000) -> None:
        self.left = statements
        self.running, self.most = 0, 0
        self.query = engine.query
        self._execute = engine.execute
        self._changed = threading.Condition()

    def execute(self, sql: str, parameters: Parameters | None = None) -> None:
        with self._changed:
            self.left -= 1
            if self.left < 0:
                raise StoreError("the disk is on fire")
            self.running += 1
            self.most = max(self.most, self.running)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.running > 1, 0.05)  # whoever may come now, let them
        self._execute(sql, parameters)
        with self._changed:
            self.running -= 1


def test_deletions_wait_for_each_other_and_leave_loads_alone(store: Store, engine: Engine) -> None:
    watched = Watched(engine)
    deleting = Store(watched)  # type: ignore[arg-type]  loads nothing
    threads = [
        threading.Thread(target=deleting.delete, args=(["m"], [id_], 0, 1), kwargs={"series": True}) for id_ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert watched.most == 1
    assert deleting.series_version()[0] == 3


@pytest.mark.parametrize("statements", [0, 1, 4, 7])
def test_a_deletion_that_fails_halfway_is_one_for_whoever_remembers_series(
    store: Store, engine: Engine, statements: int
) -> None:
    failing = Store(Watched(engine, statements))  # type: ignore[arg-type]  loads nothing
    with pytest.raises(StoreError):
        failing.delete(["m"], [1], 0, 1, series=True)
    assert failing.series_version()[0] == 1
    assert failing.upkeep.acquire(blocking=False)


def test_a_migration_cut_short_before_it_was_recorded_is_finished_by_the_next(store: Store, engine: Engine) -> None:
    engine.execute("TRUNCATE TABLE schema_migrations")  # as if each statement's record had been lost
    store.migrate()
    recorded = engine.query("SELECT count() AS n FROM schema_migrations").column("n")[0].as_py()
    assert recorded == sum(map(len, migrations().values()))


def test_rows_stored_before_retention_was_lengthened_live_as_long_as_the_new_one(
    store: Store, engine: Engine, tmp_path: Path
) -> None:
    def latest_expiry() -> int:
        query = (
            "SELECT toUnixTimestamp(max(delete_ttl_info_max)) AS t FROM system.parts WHERE table = 'spans' AND active"
        )
        expiry: int = engine.query(query).column("t")[0].as_py()
        return expiry

    now = time.time_ns()
    store.retain(_days(7, 7, 7))
    store.load(Kind.SPANS, _segment(tmp_path, [now]), (1,), replayed=False)
    assert latest_expiry() < now / 1e9 + 8 * 86_400
    store.retain(_days(90, 90, 90))
    deadline = time.monotonic() + 30
    while latest_expiry() < now / 1e9 + 89 * 86_400:
        assert time.monotonic() < deadline, "the parts keep their old expiry"
        time.sleep(0.1)
    assert _count(engine) == 1
    store.retain(_days(None, None, None))


def test_a_series_that_ended_before_retention_is_forgotten_and_one_that_lives_is_not(
    store: Store, engine: Engine
) -> None:
    now = int(time.time())
    for id_, first, last in ((1, now - 90 * 86_400, now - 40 * 86_400), (2, now - 90 * 86_400, now)):
        engine.execute(
            "INSERT INTO series SELECT 'm', {id:UInt64}, map('a', '1'), "
            "toDateTime({first:UInt32}), toDateTime({last:UInt32})",
            {"id": id_, "first": first, "last": last},
        )
    store.retain(_days(None, None, 30))
    engine.execute("OPTIMIZE TABLE series FINAL")
    assert engine.query("SELECT id FROM series").column("id").to_pylist() == [2]
    store.retain(_days(None, None, None))


def test_retention_becomes_a_ttl_and_goes_when_switched_off(store: Store, engine: Engine) -> None:
    def ttl(table: str) -> str:
        query = (
            "SELECT create_table_query AS q FROM system.tables WHERE name = {t:String} AND database = currentDatabase()"
        )
        text: str = engine.query(query, {"t": table}).column("q")[0].as_py()
        return text.partition(" TTL ")[2].partition(" SETTINGS ")[0]

    store.retain(_days(7, 14, 30))
    assert "toIntervalDay(7)" in ttl("spans")
    assert "toIntervalDay(7)" in ttl("traces")
    assert "toIntervalDay(14)" in ttl("logs")
    store.retain(_days(None, None, None))
    assert ttl("spans") == ttl("logs") == ""
