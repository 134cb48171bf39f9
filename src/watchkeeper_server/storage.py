"""What is stored and what looks after it, opened and closed as one.

That is the store, the newest samples in memory, rollups, and the keeper of the disk. It stands between the journal,
whose segments it loads, and everything that asks.
"""

from __future__ import annotations

import functools
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from watchkeeper_server.journal.segment import Segment, payloads
from watchkeeper_server.model.errors import StoreUnavailableError
from watchkeeper_server.model.kinds import METRIC_KINDS, Kind
from watchkeeper_server.options import Options
from watchkeeper_server.query.prometheus import PrometheusQueries
from watchkeeper_server.query.recent_samples import Loaded, RecentSamples
from watchkeeper_server.receive.sample_columns import sample_columns
from watchkeeper_server.store.embedded import EmbeddedEngine
from watchkeeper_server.store.retention import DiskRetention, usage_of
from watchkeeper_server.store.rollups import Rollups
from watchkeeper_server.store.store import Store
from watchkeeper_server.telemetry import RetentionTelemetry, Telemetry, logger

# A second's work for the store: a day of 35,000 series, one sample in 15 seconds.
_MOST_SAMPLES_TO_RESTORE_FROM = 200_000_000
# how soon what was forgotten is restored, and how often it is tried again
_RESTORE_SECONDS = 10


class Storage:
    """Everything that is kept. Any thread may load and read."""

    def __init__(self, options: Options, telemetry: Telemetry) -> None:
        """Open the data and bring its schema up to date; nothing is done to it before `start`.

        Raises:
            WatchkeeperError: the data folder cannot be used; nothing is left open.
        """
        self._options = options
        self._telemetry = telemetry
        engine = EmbeddedEngine(options.data)
        self._store = Store(engine)
        try:
            self._store.migrate()
            self._store.retain(options.retention_days)
            self._recent = RecentSamples(options.recent, _now_ms, self._store.newest_sample_ms())
        except BaseException:
            self._store.close()
            raise
        self._rollups = Rollups(engine, options.retention_days, time.time, self._store.upkeep)
        self._disk = DiskRetention(
            engine,
            options.disk_limit,
            options.data,
            functools.partial(usage_of, options.data),
            time.time,
            RetentionTelemetry(telemetry),
            self._store.upkeep,
        )
        self._restoring = threading.Thread(target=self._keep_restored, name="restore-recent-samples", daemon=True)
        self._closing = threading.Event()

    def start(self) -> None:
        """Begin to look after what is stored, in the background."""
        self._rollups.start()
        self._disk.start()
        self._restoring.start()

    def close(self) -> None:
        """Wait for what is in hand, and release the data; nothing can be read any more."""
        self._closing.set()
        self._rollups.stop()
        self._disk.stop()
        if self._restoring.ident is not None:
            self._restoring.join()
        self._store.close()

    def load(self, kind: Kind, segment: Segment) -> None:
        """Store a segment; see `Store.load` for what is guaranteed and raised."""
        loading = self._recent.loading()
        with self._telemetry.load_seconds.labels(kind).time():
            self._store.load(kind, segment.path, segment.lineage, replayed=segment.replayed)
        if kind in METRIC_KINDS:
            try:
                self._recent.add(loading, *self._loaded_samples(kind, segment))
            except Exception as error:  # noqa: BLE001  it is stored: whoever loads it must not try again
                logger.warning("what was loaded is not in memory, queries of the last hour are slower: %s", error)
                self._recent.miss()

    def read(self, name: str, parameters: Mapping[str, Any], *, own: bool = False) -> pa.Table:
        """Run a named query; see `Store.read`."""
        if self._closing.is_set():
            raise StoreUnavailableError("the server is shutting down")
        with self._telemetry.timed_query(name):
            return self._store.read(name, parameters, own=own)

    def prometheus(self, deleted: Callable[[], None]) -> PrometheusQueries:
        """All that can be asked of metrics; `deleted` is called when some were deleted."""
        return PrometheusQueries(
            self.read,
            self._store,
            self._options.promql,
            _snapshot_name,
            deleted,
            self._recent,
            self._rollups.rolled_up,
        )

    def _loaded_samples(self, kind: Kind, segment: Segment) -> Loaded:
        if kind is Kind.SAMPLES and not segment.replayed:  # else some of it may have been deleted since it was stored
            return sample_columns(payloads(segment.path))
        return self._store.loaded_samples(segment.lineage, self._recent.kept_from)

    def _keep_restored(self) -> None:
        """Fill the memory for recent samples whenever it could have more: after a start, a deletion, a failure."""
        failing = False
        while not self._closing.is_set():
            try:
                if self._recent.restorable:
                    self._restore()
                failing = False
            except Exception as error:  # noqa: BLE001  whatever it is, the store has the samples
                if not failing and not self._closing.is_set():
                    logger.warning("queries of the last hour are slower until it can be read: %s", error)
                failing = True
            self._closing.wait(_RESTORE_SECONDS)

    def _restore(self) -> None:
        """Restore recent samples; only what is ahead of its time, if the rest would keep the disk busy for long."""
        now = _now_ms()
        since = now - self._options.recent.span_ms
        few = self._store.samples_read_from(since) <= _MOST_SAMPLES_TO_RESTORE_FROM
        self._recent.restore(self._store.samples_between, since if few else now, self._closing.is_set)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _snapshot_name() -> str:
    """As Prometheus names them: when, and something that tells two of one second apart."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(8)}"
