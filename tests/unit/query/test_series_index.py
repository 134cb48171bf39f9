"""What is remembered of series is as new as the store's, whoever else asks at the same time."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest

from watchkeeper_server.model.errors import StoreBusyError, StoreTimeoutError
from watchkeeper_server.model.patience import limited_to
from watchkeeper_server.promql.parser import parse_selector
from watchkeeper_server.query import series_index
from watchkeeper_server.query.series_index import SeriesIndex, Version
from watchkeeper_server.store.engine import Engine
from watchkeeper_server.store.store import Store

AT = 1_795_240_800
MS = AT * 1000
_HISTOGRAM = """
INSERT INTO native_histograms (metric, id, time, count, schema, segment)
SELECT {metric:String}, 1, fromUnixTimestamp({at:UInt32}), 1, 0, {segment:UInt64}
"""


class Series:
    """A store of series of one label each, in whose own questions whoever asks may be held up."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.deletions = 0
        self.asked: list[str] = []
        self.held_up = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def version(self) -> Version:
        return Version(self.deletions, len(self.labels))

    def read(self, name: str, _: Mapping[str, Any]) -> pa.Table:
        assert name == "read_selected_series"
        return self._table(0)

    def read_own(self, name: str, parameters: Mapping[str, Any]) -> pa.Table:
        assert name == "read_new_series"
        self.asked.append(name)
        self.held_up.set()
        assert self.go_on.wait(10)
        return self._table(parameters["after"])

    def _table(self, after: int) -> pa.Table:
        ids = range(after, len(self.labels))
        return pa.table(
            {
                "metric": pa.array(["m" for _ in ids], pa.string()),
                "id": pa.array([1 + i for i in ids], pa.uint64()),
                "label_texts": pa.array([f'{{"l": "{self.labels[i]}"}}' for i in ids], pa.string()),
                "first": pa.array([AT for _ in ids], pa.uint32()),
                "last": pa.array([AT for _ in ids], pa.uint32()),
            }
        )


@pytest.fixture
def stored() -> Series:
    return Series()


@pytest.fixture
def index(stored: Series) -> SeriesIndex:
    return SeriesIndex(stored.read, stored.read_own, stored.version, lambda: Version(0, 0))


def found(index: SeriesIndex) -> list[str]:
    return [labels["l"] for labels in index.find(parse_selector("m"), MS, MS).labels]


def test_one_asks_what_is_new_and_the_others_wait_for_it(index: SeriesIndex, stored: Series) -> None:
    stored.labels = ["a"]
    assert found(index) == ["a"]
    index.find(parse_selector('m{l="a"}'), MS, MS)  # stays, whatever else there is
    stored.labels.append("b")
    stored.go_on.clear()
    answers: list[list[str]] = []
    threads = [threading.Thread(target=lambda: answers.append(found(index))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert stored.held_up.wait(10)
    assert not answers
    stored.go_on.set()
    for thread in threads:
        thread.join(10)
    assert answers == [["a", "b"]] * 3
    assert len(stored.asked) == 1


def test_who_waits_for_another_that_asks_does_not_wait_for_ever(
    index: SeriesIndex, stored: Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.labels = ["a"]
    assert found(index) == ["a"]
    stored.labels.append("b")
    stored.go_on.clear()
    asking = threading.Thread(target=found, args=(index,))
    asking.start()
    assert stored.held_up.wait(10)
    with limited_to(0), pytest.raises(StoreTimeoutError):
        found(index)
    monkeypatch.setattr(series_index, "_PATIENCE_SECONDS", 0)
    with pytest.raises(StoreBusyError, match="ask again"):
        found(index)
    stored.go_on.set()
    asking.join(10)
    assert found(index) == ["a", "b"]


def test_what_is_found_while_another_asks_what_is_new_is_as_new(index: SeriesIndex, stored: Series) -> None:
    stored.labels = ["a"]
    assert found(index) == ["a"]
    before = stored.version()
    reading, read = threading.Event(), threading.Event()
    looking = threading.Thread(target=lambda: index.find(parse_selector('m{l!="x"}'), MS, MS))
    real = stored.read

    def slowly(name: str, parameters: Mapping[str, Any]) -> pa.Table:
        table = real(name, parameters)
        reading.set()
        assert read.wait(10)
        return table

    index._read = slowly
    looking.start()
    assert reading.wait(10)
    index._read = real
    stored.labels.append("b")
    stored.go_on.clear()
    asking = threading.Thread(target=found, args=(index,))
    asking.start()
    assert stored.held_up.wait(10)
    assert stored.version() != before
    read.set()  # found before, and remembered while what is new is being read
    looking.join(10)
    stored.go_on.set()
    asking.join(10)
    assert [labels["l"] for labels in index.find(parse_selector('m{l!="x"}'), MS, MS).labels] == ["a", "b"]


def test_after_a_deletion_everything_is_looked_up_anew(index: SeriesIndex, stored: Series) -> None:
    stored.labels = ["a"]
    assert found(index) == ["a"]
    stored.labels[0] = "c"
    assert found(index) == ["a"]
    stored.deletions += 1
    assert found(index) == ["c"]
    assert not stored.asked


def test_histograms_are_known_whatever_the_order_in_which_their_segments_are_stored(
    store: Store, engine: Engine
) -> None:
    def add(metric: str, segment: int) -> None:
        engine.execute(_HISTOGRAM, {"metric": metric, "at": AT, "segment": segment})
        store._note_series()  # as a load does

    asked: list[int] = []

    def read_own(name: str, parameters: Mapping[str, Any]) -> pa.Table:
        table = store.read(name, parameters, own=True)
        asked.append(table.num_rows)
        return table

    index = SeriesIndex(
        store.read, read_own, lambda: Version(*store.series_version()), lambda: Version(*store.histograms_version())
    )
    add("new", 10_000 * 10**9)
    assert index.have_histograms(["new"])
    assert not index.have_histograms(["old"])
    add("old", 5_000 * 10**9)
    assert index.have_histograms(["x", "old"])
    assert index.have_histograms(["new"])
    assert asked == [1]
