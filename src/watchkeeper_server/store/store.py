"""The store: schema, loading, reading and retention, over any engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.model.rollups import ROLLUPS
from watchkeeper_server.store import wire
from watchkeeper_server.store.engine import Engine
from watchkeeper_server.store.partitions import partition_of
from watchkeeper_server.store.statements import migrations, statement, statement_for
from watchkeeper_server.store.wire_metrics import METRICS_REQUEST
from watchkeeper_server.store.wire_samples import SAMPLE_BATCH
from watchkeeper_server.telemetry import logger


@dataclass(frozen=True, slots=True)
class _Load:
    """How one kind is stored: the statement, what it reads, and the tables that must not receive a row twice.

    `resources`: whether its rows name resources, which are stored first; metrics have series instead.
    """

    statement: str
    message: wire.Message
    exact: tuple[str, ...]
    resources: bool = False


_METRICS = _Load("load_metrics", METRICS_REQUEST, ("samples", "exemplars", "native_histograms"))
_LOADS = {
    Kind.SPANS: _Load("load_spans", wire.SPANS_REQUEST, ("spans",), resources=True),
    Kind.LOGS: _Load("load_logs", wire.LOGS_REQUEST, ("logs",), resources=True),
    Kind.METRICS: _METRICS,
    Kind.METRICS_DELTA: _METRICS,
    Kind.SAMPLES: _Load("load_samples", SAMPLE_BATCH, _METRICS.exact),
}
# tables whose rows expire, by the column that dates them, with the signal whose retention they follow
_EXPIRING = {
    "spans": ("time", "traces"),
    "traces": ("first", "traces"),
    "logs": ("time", "logs"),
    "samples": ("time", "metrics"),
    "exemplars": ("time", "metrics"),
    "native_histograms": ("time", "metrics"),
    **{f"{rollup.table}{new}": ("bucket", rollup.signal) for rollup in ROLLUPS for new in ("", "_new")},
    "series": ("last_seen", "series"),
}
# what reads the series of a range, from the smallest table that has them
_OF_SERIES = {
    "read_label_names",
    "read_label_values",
    "read_metric_labels",
    "read_metric_names",
    "read_metrics",
    "read_selected_series",
    "read_series",
}
# `recent_series` has those of three days; a clock may be wrong by some hours
_RECENT_SECONDS = 2 * 86_400


class Store:
    """Everything else in the program knows only this."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.time) -> None:
        """Take the engine over; `close` closes it. The clock tells Unix seconds."""
        self._engine = engine
        self._clock = clock
        self.upkeep = threading.Lock()
        """Held by whoever deletes, drops or replaces what is stored: one at a time, so that none undoes another's work
        and loads never wait for more than one of them."""
        self._series = threading.Lock()
        self._deletions = self._newest_series = self._newest_histograms = 0

    def migrate(self) -> None:
        """Bring the schema up to date; resumable, since each statement may run again until it is recorded."""
        self._engine.execute(statement("create_migrations"))
        done = {row["name"] for row in self._engine.query(statement("applied_migrations")).to_pylist()}
        for migration, steps in migrations().items():
            new = {name: step for i, step in enumerate(steps) if (name := f"{migration}:{i}") not in done}
            for step in new.values():
                self._engine.execute(step)
            if new:  # at once: each insert waits for the disk
                self._engine.execute(statement("record_migration"), {"names": list(new)})
        self._note_series()

    def retain(self, days: Mapping[str, int | None]) -> None:
        """Keep each signal (`traces`, `logs`, `metrics`, rollups) for so many days; None keeps it for ever."""
        # what a series is called is needed as long as there is anything of it
        of_series = [days[signal] for signal in ("metrics", *(rollup.signal for rollup in ROLLUPS))]
        longest = None if None in of_series else max(each for each in of_series if each is not None)
        rows = self._engine.query(statement("table_ttls"), {"tables": list(_EXPIRING)}).to_pylist()
        current_ttls = {row["name"]: row["ttl"] for row in rows}
        for table, (column, signal) in _EXPIRING.items():
            keep = longest if signal == "series" else days[signal]
            current = current_ttls[table]
            if keep is None and current:
                self._engine.execute(f"ALTER TABLE {table} REMOVE TTL")
            elif keep is not None and f"toIntervalDay({keep})" not in current:
                self._engine.execute(
                    f"ALTER TABLE {table} MODIFY TTL toDateTime({column}) + toIntervalDay({int(keep)})"
                )

    def load(self, kind: Kind, path: Path, lineage: tuple[int, ...], *, replayed: bool) -> None:
        """Store a segment of delimited payloads; each row reaches each table once, however often this is called.

        Args:
            kind: what the payloads are.
            path: the segment's file.
            lineage: the segment's number and those it was split from; rows stored under any of them are left out.
            replayed: whether an earlier attempt may have stored some of it.

        Raises:
            StoreUnavailableError: nothing wrong with the segment; try again.
            StoreError: the engine cannot digest the segment.
        """
        how = _LOADS[kind]
        parameters: dict[str, Any] = {"segment": lineage[0], "lineage": list(lineage)}
        for table in how.exact:
            parameters[f"stored_days_{table}"] = self._stored_days(table, lineage) if replayed else []
        if how.resources:
            self._engine.load(statement("load_resources"), path, wire.RESOURCES_REQUEST, {})
        self._engine.load(statement(how.statement), path, how.message, parameters)
        if not how.resources:
            self._note_series()

    def loaded_samples(self, lineage: tuple[int, ...], from_ms: int) -> tuple[Any, Any, Any]:
        """What a segment, or those it was split from, stored of a time and later: series' ids, times and values."""
        table = self._engine.query(
            statement("read_loaded_samples"), {"lineage": list(lineage), "from": max(0, from_ms)}, own=True
        )
        return _columns(table)

    def samples_between(self, from_ms: int, until_ms: int) -> tuple[Any, Any, Any]:
        """All samples of a time and later, but before another: series' ids, times and values."""
        parameters = {"from": max(0, from_ms), "until": until_ms}
        return _columns(self._engine.query(statement("read_samples_between"), parameters))

    def samples_read_from(self, from_ms: int) -> int:
        """How many samples have to be looked at to find those of a time and later: they lie by day."""
        table = self._engine.query(statement("count_samples_near"), {"from": max(0, from_ms)}, own=True)
        count: int = table.column("samples")[0].as_py()
        return count

    def newest_sample_ms(self) -> int | None:
        """The time of the newest sample, Unix milliseconds; None if there is none."""
        row = self._engine.query(statement("read_newest_sample"), own=True).to_pylist()[0]
        return row["newest"] if row["samples"] else None

    def read(self, name: str, parameters: Mapping[str, Any], *, own: bool = False) -> pa.Table:
        """Run a named query; a parameter that is None does not restrict what is found.

        One of the store's `own` waits for no other: it must be short, since loading waits for it.
        """
        given = {key: value for key, value in parameters.items() if value is not None}
        if name in _OF_SERIES:
            name = f"{name}.{self._series_since(parameters['start'])}"
        return self._engine.query(statement_for(name, parameters), given, own=own)

    def series_version(self) -> tuple[int, int]:
        """How often all that is known of series had to be forgotten, and the newest block of those stored."""
        return self._deletions, self._newest_series

    def histograms_version(self) -> tuple[int, int]:
        """The same of native histograms."""
        return self._deletions, self._newest_histograms

    def delete(self, metrics: Sequence[str], ids: Sequence[int], start_ms: int, end_ms: int, *, series: bool) -> None:
        """Delete what some series have between two times, which belong to it; with `series`, also that they exist.

        Of rollups all buckets go that touch the range; where there are samples, they are made again of what is left.

        Raises:
            StoreError: some of it, or nothing, may be deleted; do it again.
        """
        which = {"metrics": list(metrics), "ids": list(ids)}
        with self.upkeep:
            try:
                # first: what is made again in vain does no harm. The sample of midnight belongs to the day before.
                touched = {"first": partition_of(max(0, start_ms - 1)), "last": partition_of(end_ms)}
                self._engine.execute(statement("record_deletion"), touched)
                for table in _METRICS.exact:
                    range_ = {"start": start_ms, "end": end_ms}
                    self._engine.execute(statement(f"delete_samples.{table}"), which | range_)
                for rollup in ROLLUPS:
                    buckets = {"start": start_ms, "end": end_ms, "seconds": rollup.width_ms // 1000}
                    self._engine.execute(statement(f"delete_rollups.{rollup.table}"), which | buckets)
                for table in ("series", "recent_series") if series else ():
                    self._engine.execute(statement(f"delete_series.{table}"), which)
            finally:
                with self._series:  # whoever remembers series must not rely on that any more
                    self._deletions += 1

    def freeze(self, name: str) -> None:
        """Keep everything as it is now under `shadow/<name>` of the data, by hard links."""
        with self.upkeep:
            for table in self._engine.query(statement("stored_tables")).column("name").to_pylist():
                self._engine.execute(f"ALTER TABLE {table} FREEZE WITH NAME '{name}'")

    def close(self) -> None:
        """Release the data."""
        self._engine.close()

    def _series_since(self, start: int | str) -> str:
        """The table to look for series in that were seen then, Unix seconds or a time of UTC, or later."""
        seconds = start if isinstance(start, int) else datetime.fromisoformat(f"{start[:19]}+00:00").timestamp()
        return "recent_series" if seconds > self._clock() - _RECENT_SECONDS else "series"

    def _note_series(self) -> None:
        """Learn what is newest of what is known of series. This never fails: what was loaded is stored."""
        try:
            row = self._engine.query(statement("series_version"), own=True).to_pylist()[0]
        except Exception as error:  # noqa: BLE001  whatever it is
            logger.warning("which series are new cannot be told, so all are looked up again: %s", error)
            with self._series:
                self._deletions += 1
            return
        with self._series:
            self._newest_series = max(self._newest_series, row["series"])
            self._newest_histograms = max(self._newest_histograms, row["histograms"])

    def _stored_days(self, table: str, lineage: tuple[int, ...]) -> list[str]:
        """The partitions in which an earlier attempt at this segment got its rows stored, all or none of them."""
        rows = self._engine.query(statement(f"stored_days_{table}"), {"lineage": list(lineage)}, own=True)
        return [str(day) for day in rows.column("day").to_pylist()]


def _columns(table: pa.Table) -> tuple[Any, Any, Any]:
    ids, times, values = (table.column(name).to_numpy() for name in ("id", "ms", "value"))
    return ids, times, values
