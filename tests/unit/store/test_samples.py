"""Batches of samples reach the tables whole, once, and under the ids that every writer gives."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.otlp_metrics import gauge, load_metrics, metrics_request, number
from support.remote_write import NOW_MS, checked, request_v1
from watchkeeper_server.journal.segment import write_segment
from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.model.series import series_id
from watchkeeper_server.receive import prompb
from watchkeeper_server.receive.exposition.write_request import METRIC_TYPES
from watchkeeper_server.receive.sample_batch import SampleCheck
from watchkeeper_server.store.engine import Engine
from watchkeeper_server.store.store import Store
from watchkeeper_server.store.wire import Message
from watchkeeper_server.store.wire_samples import SAMPLE_BATCH

UP = {"__name__": "up", "instance": "a:1", "job": "shop"}
STALE_BITS = 0x7FF0000000000002
DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS


def load(store: Store, folder: Path, *requests: Any, segment: int = 1, replayed: bool = False) -> None:
    """Check remote-write requests as a receiver would, and load the batches as one segment."""
    check = SampleCheck(100)
    payloads = []
    for request in requests:
        verdict = checked(request.SerializeToString(), check=check)
        assert not verdict.message
        verdict.remember()
        payloads.append(verdict.payload)
    path = folder / f"{segment}.segment"
    write_segment(path, payloads)
    store.load(Kind.SAMPLES, path, (segment,), replayed=replayed)


def rows(engine: Engine, sql: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = engine.query(sql).to_pylist()
    return found


def counts(engine: Engine) -> list[int]:
    tables = ("samples", "exemplars", "native_histograms")
    sql = "SELECT count() AS n FROM {table:Identifier}"
    return [engine.query(sql, {"table": table}).column("n")[0].as_py() for table in tables]


def test_samples_of_any_time_are_stored(store: Store, engine: Engine, tmp_path: Path) -> None:
    samples = [(NOW_MS, 1.5), (0, -2.0), (NOW_MS - 1, math.inf), (86_400_000_000, 3.0), (NOW_MS, 1.5)]
    load(store, tmp_path, request_v1((UP, samples)))
    found = rows(
        engine, "SELECT metric, id, toUnixTimestamp64Milli(time) AS ms, value, segment FROM samples ORDER BY ms"
    )
    assert [(row["ms"], row["value"]) for row in found] == sorted(samples)
    assert {(row["metric"], row["id"], row["segment"]) for row in found} == {("up", series_id(UP.items()), 1)}


def test_a_nan_keeps_its_bits(store: Store, engine: Engine, tmp_path: Path) -> None:
    nans = [STALE_BITS, 0x7FF8000000000001, 0xFFF8000000000000]
    values = [struct.unpack("<d", struct.pack("<Q", bits))[0] for bits in nans]
    load(store, tmp_path, request_v1((UP, list(enumerate(values)))))
    assert [
        row["bits"] for row in rows(engine, "SELECT reinterpretAsUInt64(value) AS bits FROM samples ORDER BY time")
    ] == nans


def test_a_series_is_the_same_whoever_writes_it(store: Store, engine: Engine, tmp_path: Path) -> None:
    odd = {"__name__": "grüße 🛰", "a.b/c": "\n\0'\"\\", "empty": "", "z": "é"}
    load(store, tmp_path, request_v1((odd, [(NOW_MS, 1)]), (UP, [(NOW_MS, 2)])))
    load_metrics(
        store,
        tmp_path,
        metrics_request([gauge("up", number(1))], {"service.name": "shop", "service.instance.id": "a:1"}),
    )
    assert rows(engine, "SELECT metric FROM series WHERE id != series_id(metric, labels)") == []
    assert rows(engine, "SELECT count() AS n FROM samples WHERE id NOT IN (SELECT id FROM series)") == [{"n": 0}]
    (up,) = rows(engine, "SELECT DISTINCT id, toJSONString(labels) AS labels FROM series WHERE metric = 'up'")
    assert up == {"id": series_id(UP.items()), "labels": '{"instance":"a:1","job":"shop"}'}
    (other,) = rows(
        engine,
        "SELECT id, mapKeys(labels) AS names, mapValues(labels) AS texts FROM series "
        "WHERE metric NOT IN ('up', 'target_info')",
    )
    assert other == {"id": series_id(odd.items()), "names": ["a.b/c", "z"], "texts": ["\n\0'\"\\", "é"]}


def test_a_series_is_seen_in_steps_of_ten_minutes(store: Store, engine: Engine, tmp_path: Path) -> None:
    start = NOW_MS // 600_000 * 600
    load(store, tmp_path, request_v1((UP, [(start * 1000 + 1, 1), (start * 1000 + 600_000, 2)])))
    seen = "SELECT toUnixTimestamp(first_seen) AS first, toUnixTimestamp(last_seen) AS last FROM series"
    assert rows(engine, seen) == [{"first": start, "last": start + 1200}]


def test_exemplars_histograms_and_metadata_are_stored_whole(store: Store, engine: Engine, tmp_path: Path) -> None:
    request = request_v1((UP, []))
    exemplar = request.timeseries[0].exemplars.add(value=0.5, timestamp=NOW_MS)
    for name, value in {"trace_id": "0af7651916cd43dd8448eb211c80319c", "user": "7"}.items():
        exemplar.labels.add(name=name, value=value)
    histogram = request.timeseries[0].histograms.add(
        count_int=4, sum=1.5, schema=3, zero_threshold=0.5, zero_count_int=1, reset_hint=1, timestamp=NOW_MS,
        positive_deltas=[2], negative_deltas=[1],
    )  # fmt: skip
    histogram.positive_spans.add(offset=-2, length=1)
    histogram.negative_spans.add(offset=5, length=1)
    custom = request.timeseries[0].histograms.add(
        count_float=0.5, schema=-53, custom_values=[1, 2], positive_counts=[0.5], reset_hint=3, timestamp=NOW_MS + 1
    )
    custom.positive_spans.add(offset=2, length=1)
    for number_, type_ in enumerate(METRIC_TYPES):
        request.metadata.add(type=number_, metric_family_name=type_, help="Help.", unit="seconds")
    load(store, tmp_path, request)
    assert rows(
        engine, "SELECT value, hex(trace_id) AS trace, span_id, toJSONString(labels) AS labels FROM exemplars"
    ) == [{"value": 0.5, "trace": "0AF7651916CD43DD8448EB211C80319C", "span_id": bytes(8), "labels": '{"user":"7"}'}]
    first, second = rows(engine, "SELECT * EXCEPT (id, time, segment) FROM native_histograms ORDER BY time")
    assert first == {
        "metric": "up", "count": 4, "sum": 1.5, "schema": 3, "zero_threshold": 0.5, "zero_count": 1,
        "positive_offset": -2, "positive_counts": [2], "negative_offset": 5, "negative_counts": [1],
        "custom_values": [], "counter_reset": 1, "min": None, "max": None, "delta": False,
    }  # fmt: skip
    assert (second["count"], second["schema"], second["custom_values"]) == (0.5, -53, [1, 2])
    assert (second["positive_offset"], second["positive_counts"], second["counter_reset"]) == (2, [0.5], 3)
    found = rows(
        engine, "SELECT metric, CAST(type, 'String') AS type_name, unit, help FROM metric_metadata ORDER BY type"
    )
    assert {(row["metric"], row["unit"], row["help"]) for row in found} == {
        (t, "seconds", "Help.") for t in METRIC_TYPES
    }
    assert all(row["metric"] == row["type_name"] for row in found)


def _everything() -> Any:
    request = request_v1((UP, [(NOW_MS, 1.0), (NOW_MS - YEAR_MS, 2.0)]))
    for time in (NOW_MS, NOW_MS - YEAR_MS):
        request.timeseries[0].exemplars.add(value=1, timestamp=time)
        request.timeseries[0].histograms.add(timestamp=time)
    return request


def test_a_replayed_segment_is_stored_once(store: Store, engine: Engine, tmp_path: Path) -> None:
    for replayed in (False, True):
        load(store, tmp_path, _everything(), replayed=replayed)
        assert counts(engine) == [2, 2, 2]


@pytest.mark.parametrize("lost", ["samples", "exemplars", "native_histograms"])
def test_a_replay_completes_what_an_interrupted_load_left_out(
    store: Store, engine: Engine, tmp_path: Path, lost: str
) -> None:
    load(store, tmp_path, _everything())
    engine.execute("ALTER TABLE {lost:Identifier} DROP PARTITION '2025-01-01'", {"lost": lost})
    assert sorted(counts(engine)) == [1, 2, 2]
    load(store, tmp_path, _everything(), replayed=True)
    assert counts(engine) == [2, 2, 2]


def test_a_replay_does_not_bring_back_what_was_deleted(store: Store, engine: Engine, tmp_path: Path) -> None:
    load(store, tmp_path, _everything())
    ids = [row["id"] for row in rows(engine, "SELECT DISTINCT id FROM samples")]
    store.delete(["up"], ids, NOW_MS - 1, NOW_MS + 1, series=False)
    assert counts(engine) == [1, 1, 1]
    load(store, tmp_path, _everything(), replayed=True)
    assert counts(engine) == [1, 1, 1]


def test_a_partition_receives_one_part_of_a_segment_however_large(store: Store, engine: Engine, tmp_path: Path) -> None:
    times = np.linspace(NOW_MS, NOW_MS + 3_000_000, 60_000).astype(int).tolist()
    requests = [request_v1(({"__name__": f"m{i}"}, [(time, 1.0) for time in times])) for i in range(5)]
    load(store, tmp_path, *requests)
    assert rows(engine, "SELECT rows FROM system.parts WHERE table = 'samples' AND active AND rows > 0") == [
        {"rows": 300_000}
    ]


def test_forty_years_of_a_sample_a_day_are_stored_in_few_parts(store: Store, engine: Engine, tmp_path: Path) -> None:
    times = [NOW_MS - day * DAY_MS for day in range(14_600)]
    load(store, tmp_path, request_v1((UP, [(time, 1.0) for time in times])))
    (parts,) = rows(engine, "SELECT count() AS n, sum(rows) AS r FROM system.parts WHERE table = 'samples' AND active")
    assert parts["r"] == len(times)
    assert parts["n"] <= 41


def test_samples_since_this_program_are_kept_by_day(store: Store, engine: Engine, tmp_path: Path) -> None:
    times = [days * DAY_MS for days in (20_453, 20_454, 20_455)]  # the last day of 2025 and the first two of 2026
    path = tmp_path / "1.segment"
    batch = prompb.SampleBatch(metric=["up"] * 3, id=[1] * 3, time=times, value=[1.0] * 3)
    write_segment(path, [batch.SerializeToString()])
    store.load(Kind.SAMPLES, path, (1,), replayed=False)
    found = rows(engine, "SELECT partition FROM system.parts WHERE table = 'samples' AND active ORDER BY partition")
    assert [row["partition"] for row in found] == ["2025-01-01", "2026-01-01", "2026-01-02"]


def _fields(described: Any) -> dict[str, Any]:
    return {
        field.name: (field.number, _fields(field.message_type) if field.message_type else field.type, field.is_repeated)
        for field in described.fields
    }


def test_the_receiver_writes_what_the_store_reads() -> None:
    types = {
        "bytes": 12,
        "double": 1,
        "few strings": 9,
        "fixed64": 6,
        "sfixed64": 16,
        "sint32": 17,
        "string": 9,
        "uint32": 13,
    }

    def described(message: Message) -> dict[str, Any]:
        return {
            name: (
                field.number,
                described(field.type) if isinstance(field.type, Message) else types[field.type],
                field.repeated,
            )
            for name, field in message.fields.items()
        }

    assert _fields(prompb.SampleBatch.DESCRIPTOR) == described(SAMPLE_BATCH)
