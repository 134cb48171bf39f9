"""What is stored stays so and is answered, whatever fails or is busy after it was stored."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from support.otlp_metrics import gauge, metrics_request, number
from support.remote_write import request_v1
from support.server import eventually
from watchkeeper_server import storage as storage_module
from watchkeeper_server.journal.segment import Segment, write_segment
from watchkeeper_server.model.errors import StoreBusyError
from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.options import DEFAULT_RETENTION_DAYS, Options
from watchkeeper_server.promql.parser import parse_selector
from watchkeeper_server.query.prometheus import PrometheusQueries
from watchkeeper_server.receive.remote_write_v1 import decode_v1
from watchkeeper_server.receive.sample_batch import SampleCheck, TimeBounds
from watchkeeper_server.storage import Storage
from watchkeeper_server.store.engine import Engine
from watchkeeper_server.store.statements import statement
from watchkeeper_server.store.store import Store
from watchkeeper_server.store.wire import Message
from watchkeeper_server.telemetry import Telemetry

MINUTE = 60_000


class FaultyEngine:
    """The engine, where some statements fail, or no reader is free."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.failing: set[str] = set()
        self.failures = 0
        self.readers_busy = False

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        self._engine.execute(sql, parameters)

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None, *, own: bool = False) -> pa.Table:
        if sql in {statement(name) for name in self.failing} or (self.readers_busy and not own):
            self.failures += 1
            raise StoreBusyError("too many questions are being answered; ask again in a while")
        return self._engine.query(sql, parameters, own=own)

    def load(self, sql: str, segment: Path, message: Message, parameters: Mapping[str, Any]) -> None:
        self._engine.load(sql, segment, message, parameters)

    def close(self) -> None:
        """It is everybody's."""


@pytest.fixture
def faulty(engine: Engine) -> FaultyEngine:
    return FaultyEngine(engine)


@pytest.fixture
def opened(store: Store, faulty: FaultyEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    """A storage on an empty store, not started."""
    assert store
    monkeypatch.setattr(storage_module, "EmbeddedEngine", lambda _: faulty)
    monkeypatch.setattr(storage_module, "_RESTORE_SECONDS", 0.01)
    storage = Storage(Options(tmp_path, retention_days=dict.fromkeys(DEFAULT_RETENTION_DAYS)), Telemetry())
    yield storage
    storage.close()


class Loader:
    """Loads one sample a segment."""

    def __init__(self, storage: Storage, folder: Path) -> None:
        self._storage, self._folder, self._segments = storage, folder, 0

    def __call__(self, kind: Kind, metric: str, at_ms: int, value: float = 1.0) -> Segment:
        if kind is Kind.SAMPLES:
            body = request_v1(({"__name__": metric}, [(at_ms, value)])).SerializeToString()
            payload = SampleCheck(100).check(partial(decode_v1, body), TimeBounds(0, at_ms)).payload
        else:
            payload = metrics_request([gauge(metric, number(value, at=at_ms * 1_000_000))]).SerializeToString()
        self._segments += 1
        path = self._folder / f"{self._segments}.segment"
        write_segment(path, [payload])
        segment = Segment(path, (self._segments,), path.stat().st_size, replayed=False)
        self._storage.load(kind, segment)
        return segment


@pytest.fixture
def load(opened: Storage, tmp_path: Path) -> Loader:
    return Loader(opened, tmp_path)


@pytest.fixture
def queries(opened: Storage) -> PrometheusQueries:
    return opened.prometheus(lambda: None)


def values(queries: PrometheusQueries, query: str, at_ms: int) -> list[float]:
    found: list[float] = queries.instant(query, at_ms).value.values.ravel().tolist()  # type: ignore[union-attr]
    return found


def unreadable(path: Path) -> Iterator[bytes]:
    raise OSError(5, "Input/output error", str(path))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.mark.parametrize(
    ("kind", "failing"),
    [
        (Kind.METRICS, "series_version"),
        (Kind.METRICS, "read_loaded_samples"),
        (Kind.SAMPLES, "series_version"),
        (Kind.SAMPLES, "the segment"),
    ],
)
def test_what_fails_after_a_segment_was_stored_does_not_fail_the_load(
    load: Loader,
    queries: PrometheusQueries,
    faulty: FaultyEngine,
    monkeypatch: pytest.MonkeyPatch,
    kind: Kind,
    failing: str,
) -> None:
    now = now_ms()
    load(kind, "before", now - 1)
    assert values(queries, "before", now) == [1]
    assert values(queries, "after", now) == []
    with monkeypatch.context() as patched:
        if failing == "the segment":
            patched.setattr(storage_module, "payloads", unreadable)
        else:
            faulty.failing = {failing}
        load(kind, "after", now)
    faulty.failing = set()
    assert values(queries, "before + on() after", now) == [2]
    load(kind, "later", now)
    assert values(queries, "after + on() later", now) == [2]


def test_late_samples_are_taken_in_that_come_before_the_restored_ones(opened: Storage, load: Loader) -> None:
    late = now_ms() - 30 * MINUTE
    opened._recent.miss()  # as it is before the store's are restored
    load(Kind.METRICS, "late", late)
    assert len(opened._recent) == 1


def test_what_is_left_by_a_deletion_is_in_memory_soon(
    opened: Storage, load: Loader, queries: PrometheusQueries, faulty: FaultyEngine
) -> None:
    now = now_ms()
    for metric, at_ms in (("gone", now - MINUTE), ("left", now - MINUTE), ("ahead", now + 1000 * MINUTE)):
        load(Kind.METRICS, metric, at_ms)
    opened.start()
    queries.delete([parse_selector("gone")], 0, now)
    eventually(lambda: None if opened._recent.restorable else True)
    assert values(queries, "left", now) == [1]
    faulty.readers_busy = True
    assert values(queries, "left", now) == [1]
    faulty.readers_busy = False
    assert values(queries, "gone", now) == []


@pytest.mark.parametrize("kind", [Kind.METRICS, Kind.SAMPLES])
def test_what_was_deleted_is_not_in_memory_again_after_a_replay(
    opened: Storage, load: Loader, queries: PrometheusQueries, kind: Kind
) -> None:
    now = now_ms()
    segment = load(kind, "gone", now)
    queries.delete([parse_selector("gone")], 0, now)
    opened._recent.restore(opened._store.samples_between, now - 10 * MINUTE, lambda: False)
    opened.load(kind, replace(segment, replayed=True))
    assert opened._recent.covers(now - 6 * MINUTE)
    assert values(queries, "gone", now) == []


def test_restoring_goes_on_after_a_failure(opened: Storage, load: Loader, faulty: FaultyEngine) -> None:
    load(Kind.METRICS, "m", now_ms() - MINUTE)
    opened._recent.forget()
    faulty.failing = {"count_samples_near"}
    opened.start()
    eventually(lambda: faulty.failures or None)
    assert opened._recent.restorable
    faulty.failing = set()
    eventually(lambda: None if opened._recent.restorable else True)
    assert len(opened._recent) == 1


def test_what_is_in_memory_is_answered_although_all_readers_are_busy_and_series_were_added(
    load: Loader, queries: PrometheusQueries, faulty: FaultyEngine
) -> None:
    now = now_ms()
    load(Kind.SAMPLES, "m", now)
    assert values(queries, "m", now) == [1]
    load(Kind.SAMPLES, "another", now)
    load(Kind.SAMPLES, "m", now + 1, 2.0)
    faulty.readers_busy = True
    assert values(queries, "m", now + 1) == [2]
    with pytest.raises(StoreBusyError):
        values(queries, "another", now)
