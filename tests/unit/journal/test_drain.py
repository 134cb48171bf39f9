from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.server import eventually
from watchkeeper_server.journal.drain import Drain
from watchkeeper_server.journal.journal import Journal
from watchkeeper_server.journal.options import JournalOptions
from watchkeeper_server.journal.segment import Segment, payloads
from watchkeeper_server.model.errors import StoreError, StoreUnavailableError
from watchkeeper_server.model.kinds import Kind

SPANS = Kind.SPANS


class FakeStore:
    """Stores a segment whole, unless a payload of it is bad; `faults` are raised first, one a call."""

    def __init__(self) -> None:
        self.stored: list[bytes] = []
        self.lineages: list[tuple[int, ...]] = []
        self.faults: list[Exception] = []
        self.gate, self.entered = threading.Event(), threading.Event()
        self.gate.set()

    def load(self, kind: Kind, segment: Segment) -> None:
        assert kind is SPANS
        self.entered.set()
        assert self.gate.wait(10)
        if self.faults:
            raise self.faults.pop(0)
        contents = list(payloads(segment.path))
        if bad := [payload for payload in contents if payload.startswith(b"bad")]:
            raise StoreError(f"cannot digest {bad[0].decode()}")
        self.lineages.append(segment.lineage)
        self.stored += contents


class Events:
    """Remembers what a drain told."""

    def __init__(self) -> None:
        self.loads = 0
        self.delays: list[Exception] = []
        self.quarantine: list[Path] = []

    def loaded(self, *_: object) -> None:
        self.loads += 1

    def delayed(self, _: Kind, error: Exception) -> None:
        self.delays.append(error)

    def quarantined(self, _: Kind, path: Path, __: StoreError) -> None:
        self.quarantine.append(path)


def mended(_: Kind, payload: bytes) -> bytes:
    return payload.removeprefix(b"bad, mendable: ")


class Bench:
    """A journal with a drain into a fake store."""

    def __init__(self, folder: Path, workers: int = 1) -> None:
        self.folder = folder
        self.store, self.events = FakeStore(), Events()
        self.journal = Journal(folder / "journal", JournalOptions(linger_seconds=0.01))
        self.drain = Drain(SPANS, self.journal, self.store.load, mended, folder / "quarantine", self.events, workers)

    def append(self, *contents: bytes) -> None:
        async def together() -> None:
            await asyncio.gather(*(self.journal.append(SPANS, payload) for payload in contents))

        asyncio.run(together())

    def finish(self) -> None:
        eventually(lambda: True if self.journal.backlog_bytes == 0 else None, 20)
        self.close()
        assert list((self.folder / "journal" / SPANS).iterdir()) == []

    def close(self) -> None:
        self.journal.close()
        self.drain.stop()
        self.drain.join()

    def quarantined(self) -> dict[bytes, str]:
        """Each payload that was set aside, with its error."""
        found = sorted((self.folder / "quarantine").glob("*.pb"))
        assert found == sorted(self.events.quarantine)
        return {path.read_bytes(): path.with_suffix(".error").read_text() for path in found}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def test_segments_are_stored_in_order_and_forgotten(bench: Bench) -> None:
    bench.drain.start()
    sent = [f"{i}".encode() for i in range(30)]
    for payload in sent:
        bench.append(payload)
    bench.finish()
    assert bench.store.stored == sent
    assert bench.events.loads == len(bench.store.lineages)


@pytest.mark.parametrize("fault", [StoreUnavailableError("no space"), OSError(28, "no space"), KeyError("a defect")])
def test_what_may_pass_is_tried_again_and_nothing_overtakes(bench: Bench, fault: Exception) -> None:
    bench.store.faults = [fault] * 3
    bench.append(b"first")
    bench.drain.start()
    eventually(lambda: bench.events.delays or None)
    bench.append(b"second")
    bench.finish()
    assert bench.store.stored == [b"first", b"second"]
    assert bench.events.delays == [fault] * 3
    assert bench.quarantined() == {}


def test_a_payload_that_can_be_mended_is_stored_in_its_place_and_once(bench: Bench) -> None:
    bench.append(b"1", b"2", b"bad, mendable: 3", b"4")
    bench.drain.start()
    bench.finish()
    assert bench.store.stored == [b"1", b"2", b"3", b"4"]
    assert bench.quarantined() == {}


def test_a_payload_that_mending_does_not_help_is_set_aside_as_mended(bench: Bench) -> None:
    bench.append(b"bad, mendable: bad 1", b"2")
    bench.drain.start()
    bench.finish()
    assert bench.store.stored == [b"2"]
    assert bench.quarantined() == {b"bad 1": "cannot digest bad 1\n"}


@settings(max_examples=25, deadline=None)
@given(bad=st.sets(st.integers(0, 19)), workers=st.integers(1, 3))
def test_exactly_the_bad_payloads_are_set_aside(
    tmp_path_factory: pytest.TempPathFactory, bad: set[int], workers: int
) -> None:
    bench = Bench(tmp_path_factory.mktemp("drain"), workers)
    sent = [f"{'bad' if i in bad else 'good'} {i}".encode() for i in range(20)]
    bench.append(*sent)
    bench.drain.start()
    bench.finish()
    good = [payload for payload in sent if payload.startswith(b"good")]
    assert (bench.store.stored if workers == 1 else sorted(bench.store.stored, key=sent.index)) == good
    assert bench.quarantined() == {
        payload: f"cannot digest {payload.decode()}\n" for payload in sent if payload.startswith(b"bad")
    }


def test_each_half_names_the_segments_it_came_from(bench: Bench) -> None:
    bench.append(*(f"good {i}".encode() for i in range(7)), b"bad")
    bench.drain.start()
    bench.finish()
    origins = {lineage[-1] for lineage in bench.store.lineages}
    assert len(origins) == 1
    assert sorted(len(lineage) for lineage in bench.store.lineages) == [2, 3, 4]


def test_a_disk_too_full_to_set_a_payload_aside_is_waited_for(bench: Bench) -> None:
    (bench.folder / "quarantine").write_text("in the way")
    bench.append(b"bad")
    bench.drain.start()
    eventually(lambda: bench.events.delays or None)
    (bench.folder / "quarantine").unlink()
    bench.finish()
    assert list(bench.quarantined()) == [b"bad"]


def test_stopping_leaves_the_rest_in_the_journal(bench: Bench, tmp_path: Path) -> None:
    bench.store.gate.clear()
    bench.append(b"in hand")
    bench.drain.start()
    assert bench.store.entered.wait(10)
    bench.append(b"left")
    bench.drain.stop()
    bench.store.gate.set()
    bench.drain.join()
    bench.close()
    again = Bench(tmp_path)
    again.drain.start()
    again.finish()
    assert bench.store.stored + again.store.stored == [b"in hand", b"left"]


def test_a_drain_that_never_started_can_be_stopped(bench: Bench) -> None:
    bench.drain.stop()
    bench.drain.stop()
    bench.drain.join()


def test_several_workers_load_side_by_side(tmp_path: Path) -> None:
    bench = Bench(tmp_path, workers=2)
    bench.store.gate.clear()
    bench.append(b"one")
    bench.drain.start()
    assert bench.store.entered.wait(10)
    bench.store.entered.clear()
    bench.append(b"two")
    assert bench.store.entered.wait(10)  # while the first is still at it
    bench.store.gate.set()
    bench.finish()
    assert sorted(bench.store.stored) == [b"one", b"two"]
