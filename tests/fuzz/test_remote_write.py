"""Whatever remote write arrives, the check ends in a verdict, and what it takes the store can hold."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mutate import mutate_bytes, mutate_fields

from support.remote_write import BOUNDS, NOW_MS, SymbolTable, batch_of, request_v1, request_v2
from watchkeeper_server.journal.segment import write_segment
from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.receive.prompb import RequestV2, WriteRequest
from watchkeeper_server.receive.refusal import RefusedError
from watchkeeper_server.receive.remote_write_v1 import decode_v1
from watchkeeper_server.receive.remote_write_v2 import decode_v2
from watchkeeper_server.receive.sample_batch import CheckedSamples, SampleCheck
from watchkeeper_server.store.engine import Engine
from watchkeeper_server.store.store import Store

ROUNDS = 6000
SERIES = [
    ({"__name__": "up", "instance": "a:1", "job": "grüße"}, [(NOW_MS, 1.5)]),
    ({"__name__": "zero", "job": "x"}, [(NOW_MS, 0.0)]),
    ({"__name__": "many"}, [(NOW_MS + i, float(i)) for i in range(3)]),
    ({"__name__": "full", "job": "x"}, []),
]


def _fill(series: Any) -> None:
    histogram = series.histograms.add(
        count_int=4, sum=1.5, schema=3, zero_threshold=0.5, zero_count_int=1, reset_hint=1, timestamp=NOW_MS,
        positive_deltas=[1, 0], negative_deltas=[1],
    )  # fmt: skip
    histogram.positive_spans.add(offset=-2, length=1)
    histogram.positive_spans.add(offset=2, length=1)
    histogram.negative_spans.add(offset=5, length=1)
    custom = series.histograms.add(
        count_float=0.5, schema=-53, custom_values=[1, 2], positive_counts=[0.5], timestamp=NOW_MS
    )
    custom.positive_spans.add(offset=2, length=1)


def good_v1() -> Any:
    request = request_v1(*SERIES)
    _fill(request.timeseries[3])
    exemplar = request.timeseries[3].exemplars.add(value=0.5, timestamp=NOW_MS)
    exemplar.labels.add(name="trace_id", value="0af7651916cd43dd8448eb211c80319c")
    exemplar.labels.add(name="user", value="7")
    request.metadata.add(type=1, metric_family_name="up", help="Up.", unit="seconds")
    return request


def good_v2() -> Any:
    symbols = SymbolTable()
    request = request_v2(*SERIES, symbols=symbols)
    _fill(request.timeseries[3])
    request.timeseries[3].exemplars.add(value=0.5, timestamp=NOW_MS, labels_refs=symbols.refs({"user": "7"}))
    for series in request.timeseries[:2]:
        series.metadata.type, series.metadata.help_ref = 3, symbols.ref("Help.")
    del request.symbols[:]
    request.symbols.extend(symbols.numbers)
    return request


VERSIONS = {"1": (good_v1, WriteRequest, decode_v1), "2": (good_v2, RequestV2, decode_v2)}


class Verdicts:
    """Checks mutants, with a memory as a receiver has it."""

    def __init__(self, decode: Any) -> None:
        self.refused: list[str] = []
        self.taken: list[CheckedSamples] = []
        self._decode = decode
        self._check = SampleCheck(100)

    def on(self, body: bytes) -> None:
        """The verdict is consistent with itself."""
        try:
            verdict = self._check.check(partial(self._decode, body), BOUNDS)
        except RefusedError as error:
            self.refused.append(str(error))
            return
        verdict.remember()
        batch = batch_of(verdict)
        assert len(batch.metric) == len(batch.id) == len(batch.time) == len(batch.value) == verdict.samples
        assert (verdict.rejected == 0) or verdict.message
        assert all(0 <= time <= BOUNDS.newest for time in batch.time)
        self.taken.append(verdict)


@pytest.mark.parametrize("version", VERSIONS)
def test_mutated_bytes_get_a_verdict_and_what_is_taken_is_stored(
    version: str, store: Store, engine: Engine, tmp_path: Path
) -> None:
    good, _, decode = VERSIONS[version]
    chance, body, verdicts = random.Random(version), good().SerializeToString(), Verdicts(decode)
    for _ in range(ROUNDS):
        verdicts.on(mutate_bytes(body, chance))
    assert min(len(verdicts.taken), len(verdicts.refused)) > ROUNDS / 50
    assert all(10 < len(message) <= 1001 for message in verdicts.refused)
    _store(store, engine, tmp_path, verdicts)


@pytest.mark.parametrize("version", VERSIONS)
def test_mutated_fields_get_a_verdict_and_what_is_taken_is_stored(
    version: str, store: Store, engine: Engine, tmp_path: Path
) -> None:
    good, message, decode = VERSIONS[version]
    chance, body, verdicts = random.Random(version), good().SerializeToString(), Verdicts(decode)
    for _ in range(ROUNDS):
        mutant = message.FromString(body)
        mutate_fields(mutant, chance)
        verdicts.on(mutant.SerializeToString())
    assert len(verdicts.taken) > ROUNDS / 2
    _store(store, engine, tmp_path, verdicts)


def _store(store: Store, engine: Engine, folder: Path, verdicts: Verdicts) -> None:
    path = folder / "1.segment"
    write_segment(path, [verdict.payload for verdict in verdicts.taken])
    store.load(Kind.SAMPLES, path, (1,), replayed=False)
    for table, kind in {"samples": "samples", "native_histograms": "histograms", "exemplars": "exemplars"}.items():
        (row,) = engine.query("SELECT count() AS stored FROM {table:Identifier}", {"table": table}).to_pylist()
        assert row == {"stored": sum(getattr(verdict, kind) for verdict in verdicts.taken)}
