from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from watchkeeper_server.journal.journal import Journal
from watchkeeper_server.journal.options import JournalOptions
from watchkeeper_server.journal.segment import (
    OPEN,
    SEALED,
    Segment,
    framed,
    payloads,
    segment_path,
    write_segment,
)
from watchkeeper_server.model.errors import BacklogFullError
from watchkeeper_server.model.kinds import Kind

SPANS, LOGS = Kind.SPANS, Kind.LOGS


class Clock:
    """A monotonic clock that stands still unless told."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Disk:
    """Stands between the journal and the disk: holds syncs up, counts them, and fails them when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free, self.busy = threading.Event(), threading.Event()
        self.free.set()
        self.syncs = 0
        self.failures: list[int] = []
        self._sync, self._write = os.fdatasync, os.pwritev
        monkeypatch.setattr(os, "fdatasync", self.fdatasync)
        monkeypatch.setattr(os, "pwritev", self.pwritev)
        self.short_writes: list[int] = []

    def fdatasync(self, handle: int) -> None:
        self.syncs += 1
        self.busy.set()
        assert self.free.wait(10)
        if self.failures:
            raise OSError(self.failures.pop(0), "the disk says no")
        self._sync(handle)

    def pwritev(self, handle: int, buffers: list[bytes], position: int) -> int:
        if self.short_writes:
            return os.pwrite(handle, b"".join(buffers)[: self.short_writes.pop(0)], position)
        return self._write(handle, buffers, position)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journals(tmp_path: Path, clock: Clock) -> Iterator[Any]:
    """Opens journals on one folder, one after another, and closes the last."""
    opened: list[Journal] = []

    def open_journal(**options: Any) -> Journal:
        for journal in opened:
            journal.close()
        opened.append(Journal(tmp_path, JournalOptions(**options), clock))
        return opened[-1]

    yield open_journal
    for journal in opened:
        journal.close()


def take(journal: Journal, clock: Clock, kind: Kind = SPANS) -> Segment | None:
    """The next segment, once everything has lingered."""
    clock.seconds += 60
    return journal.next_segment(kind, 0)


def contents(segment: Segment | None) -> list[bytes]:
    assert segment is not None
    assert segment.size_bytes == segment.path.stat().st_size
    return list(payloads(segment.path))


def drain(journal: Journal, clock: Clock, kind: Kind = SPANS) -> list[bytes]:
    """All payloads, in the order in which they are handed out."""
    found: list[bytes] = []
    while (segment := take(journal, clock, kind)) is not None:
        found += contents(segment)
        journal.discard(kind, segment)
    assert journal.backlog()[kind] == (0, 0.0)
    return found


def crash(folder: Path, name: str = "crashed") -> Path:
    """What is on the disk right now, as a process that died would leave it."""
    copy = folder.with_name(name)
    for path in folder.rglob("*"):
        if path.is_file():
            target = copy / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return copy


async def test_payloads_are_handed_out_in_order_and_once(journals: Any, clock: Clock) -> None:
    journal = journals()
    sent = [f"payload {i}".encode() for i in range(50)]
    for payload in sent:
        await journal.append(SPANS, payload)
    segment = take(journal, clock)
    assert contents(segment) == sent
    assert take(journal, clock) is None
    journal.discard(SPANS, segment)
    assert take(journal, clock) is None
    assert journal.backlog_bytes == 0


async def test_each_kind_has_its_own_segments(journals: Any, clock: Clock) -> None:
    journal = journals()
    await asyncio.gather(*(journal.append(kind, kind.encode()) for kind in Kind for _ in range(3)))
    assert {kind: drain(journal, clock, kind) for kind in Kind} == {kind: [kind.encode()] * 3 for kind in Kind}


async def test_a_segment_waits_for_company_but_not_for_long(journals: Any, clock: Clock) -> None:
    journal = journals(linger_seconds=0.25)
    await journal.append(SPANS, b"first")
    assert journal.next_segment(SPANS, 0) is None
    clock.seconds += 0.2
    await journal.append(SPANS, b"second")
    assert journal.next_segment(SPANS, 0) is None
    clock.seconds += 0.05
    assert contents(journal.next_segment(SPANS, 0)) == [b"first", b"second"]


async def test_a_full_segment_waits_for_nobody(journals: Any) -> None:
    journal = journals(segment_bytes=1000)
    for _ in range(4):
        await journal.append(SPANS, bytes(600))
    first, second = journal.next_segment(SPANS, 0), journal.next_segment(SPANS, 0)
    assert [contents(first), contents(second)] == [[bytes(600)] * 2] * 2
    assert first.number < second.number
    assert journal.next_segment(SPANS, 0) is None


async def test_one_sync_serves_all_that_gathered_while_the_last_one_ran(
    journals: Any, clock: Clock, disk: Disk
) -> None:
    journal = journals()
    disk.free.clear()
    first = asyncio.create_task(journal.append(SPANS, b"0"))
    await asyncio.to_thread(disk.busy.wait, 10)
    others = [asyncio.create_task(journal.append(SPANS, f"{i}".encode())) for i in range(1, 100)]
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in (first, *others))  # nothing is acknowledged before it is durable
    disk.free.set()
    await asyncio.gather(first, *others)
    assert disk.syncs == 2
    assert drain(journal, clock) == [f"{i}".encode() for i in range(100)]


async def test_more_payloads_than_one_write_takes_are_all_written(journals: Any, clock: Clock, disk: Disk) -> None:
    journal = journals()
    disk.free.clear()
    tasks = [asyncio.create_task(journal.append(SPANS, f"{i}".encode())) for i in range(2000)]
    await asyncio.sleep(0.05)
    disk.free.set()
    await asyncio.gather(*tasks)
    assert drain(journal, clock) == [f"{i}".encode() for i in range(2000)]


async def test_a_write_that_comes_up_short_is_continued(journals: Any, clock: Clock, disk: Disk) -> None:
    journal = journals()
    disk.short_writes = [1, 1, 3, 0, 7, 100]
    await journal.append(SPANS, b"first" * 100)
    disk.short_writes = [2, 500]
    await journal.append(SPANS, b"second" * 100)
    assert drain(journal, clock) == [b"first" * 100, b"second" * 100]


async def test_what_an_earlier_process_left_comes_first_and_as_a_replay(journals: Any, clock: Clock) -> None:
    journal = journals()
    await journal.append(SPANS, b"sealed")
    sealed = take(journal, clock)
    await journal.append(SPANS, b"open")
    journal = journals()
    assert journal.backlog_bytes == sum(len(part) for p in (b"sealed", b"open") for part in framed(p))
    await journal.append(SPANS, b"new")
    found = [take(journal, clock) for _ in range(3)]
    assert [contents(segment) for segment in found] == [[b"sealed"], [b"open"], [b"new"]]
    assert [segment.replayed for segment in found] == [True, True, False]
    assert found[0].number == sealed.number


async def test_a_torn_tail_is_cut_off(tmp_path: Path, clock: Clock) -> None:
    whole = b"".join(part for payload in (b"one", b"two", b"three") for part in framed(payload))
    for cut in range(len(whole) + 1):
        folder = tmp_path / str(cut)
        path = segment_path(folder / SPANS, (7,), OPEN)
        path.parent.mkdir(parents=True)
        path.write_bytes(whole[:cut])
        journal = Journal(folder, JournalOptions(), clock)
        found = drain(journal, clock)
        journal.close()
        assert found == [b"one", b"two", b"three"][: len(found)]
        assert len(found) == sum(end <= cut for end in (10, 20, 32))
        assert list(path.parent.iterdir()) == []


async def test_what_is_acknowledged_is_on_disk_at_once(journals: Any, clock: Clock, tmp_path: Path) -> None:
    journal = journals()
    for i in range(5):
        await journal.append(SPANS, f"{i}".encode())
        survivor = Journal(crash(tmp_path, f"{tmp_path.name}-{i}"), JournalOptions(), clock)
        assert drain(survivor, clock) == [f"{n}".encode() for n in range(i + 1)]
        survivor.close()


async def test_numbers_grow_although_the_clock_goes_back(
    journals: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = journals(segment_bytes=1)
    await journal.append(SPANS, b"first")
    monkeypatch.setattr(time, "time_ns", lambda: 5)
    await journal.append(SPANS, b"second")
    journal = journals(segment_bytes=1)
    await journal.append(SPANS, b"third")
    found = [take(journal, clock) for _ in range(3)]
    assert [contents(segment) for segment in found] == [[b"first"], [b"second"], [b"third"]]
    assert found[0].number < found[1].number < found[2].number


async def test_a_segment_has_one_taker_until_it_is_put_back(journals: Any, clock: Clock) -> None:
    journal = journals(segment_bytes=1)
    await journal.append(SPANS, b"first")
    await journal.append(SPANS, b"second")
    first, second = take(journal, clock), take(journal, clock)
    assert take(journal, clock) is None
    journal.put_back(SPANS, first)
    again = take(journal, clock)
    assert (again.path, first.replayed, again.replayed) == (first.path, False, True)
    journal.discard(SPANS, again)
    journal.put_back(SPANS, second)
    assert drain(journal, clock) == [b"second"]


async def test_a_split_puts_halves_in_the_segments_place(journals: Any, clock: Clock) -> None:
    journal = journals()
    for payload in (b"1", b"2", b"3"):
        await journal.append(SPANS, payload)
    segment = take(journal, clock)
    await journal.append(SPANS, b"later")
    assert journal.split(SPANS, segment)
    one, two, later = (take(journal, clock) for _ in range(3))
    assert [contents(found) for found in (one, two, later)] == [[b"1"], [b"2", b"3"], [b"later"]]
    assert one.lineage == (one.number, segment.number)
    assert two.lineage == (two.number, segment.number)
    assert (one.replayed, two.replayed) == (True, True)
    assert not journal.split(SPANS, one)
    assert journal.backlog()[SPANS][0] == journal.backlog_bytes == sum(s.size_bytes for s in (one, two, later))
    for found in (one, two, later):
        journal.put_back(SPANS, found)
    assert drain(journal, clock) == [b"1", b"2", b"3", b"later"]
    assert journal.backlog_bytes == 0


async def test_halves_of_halves_keep_their_place_after_a_restart(journals: Any, clock: Clock) -> None:
    journal = journals(segment_bytes=1000)
    for payload in (b"1", b"2", b"3", b"4", bytes(1000), b"5"):
        await journal.append(SPANS, payload)
    whole = take(journal, clock)
    assert journal.split(SPANS, whole)
    left, right = take(journal, clock), take(journal, clock)
    assert journal.split(SPANS, right)
    assert journal.split(SPANS, left)
    assert drain(journals(), clock) == [b"1", b"2", b"3", b"4", bytes(1000), b"5"]


@pytest.mark.parametrize("step", ["one half", "both halves", "parent removed", "half a draft"])
async def test_a_crash_during_a_split_neither_loses_nor_doubles(tmp_path: Path, clock: Clock, step: str) -> None:
    folder = tmp_path / SPANS
    folder.mkdir()
    parent, left, right = (5,), (8, 5), (9, 5)
    if step != "parent removed":
        write_segment(segment_path(folder, parent, SEALED), [b"1", b"2", b"3"])
    if step != "half a draft":
        write_segment(segment_path(folder, left, SEALED), [b"1"])
    else:
        segment_path(folder, left, ".draft").write_bytes(b"".join(framed(b"1"))[:-1])
    if step in ("both halves", "parent removed"):
        write_segment(segment_path(folder, right, SEALED), [b"2", b"3"])
    write_segment(segment_path(folder, (6,), SEALED), [b"4"])
    journal = Journal(tmp_path, JournalOptions(), clock)
    found = drain(journal, clock)
    journal.close()
    assert found == [b"1", b"2", b"3", b"4"]
    assert list(folder.iterdir()) == []


async def test_the_backlog_is_bounded_and_freed_by_what_is_stored(journals: Any, clock: Clock) -> None:
    journal = journals(backlog_bytes=1000)
    await journal.append(SPANS, bytes(400))
    await journal.append(LOGS, bytes(400))
    with pytest.raises(BacklogFullError, match="bytes are waiting to be stored") as raised:
        await journal.append(SPANS, bytes(400))
    assert raised.value.retry_seconds == 5
    await journal.append(SPANS, bytes(100))
    assert drain(journal, clock) == [bytes(400), bytes(100)]
    await journal.append(SPANS, bytes(400))
    assert drain(journal, clock, LOGS) == [bytes(400)]


async def test_what_is_on_its_way_counts_for_the_backlog(journals: Any, disk: Disk) -> None:
    journal = journals(backlog_bytes=1000)
    disk.free.clear()
    waiting = [asyncio.create_task(journal.append(SPANS, bytes(500))) for _ in range(5)]
    done, _ = await asyncio.wait(waiting, timeout=0.2)
    assert [type(task.exception()) for task in done] == [BacklogFullError] * 3
    disk.free.set()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_the_backlog_tells_bytes_and_age(journals: Any, clock: Clock) -> None:
    journal = journals()
    assert journal.backlog() == dict.fromkeys(Kind, (0, 0.0))
    await journal.append(LOGS, bytes(100))
    size, age = journal.backlog()[LOGS]
    assert size == sum(map(len, framed(bytes(100))))
    await asyncio.sleep(0.01)
    assert age < journal.backlog()[LOGS][1] < 60
    take(journal, clock, LOGS)
    assert journal.backlog()[LOGS][0] == size  # taken is not yet stored


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EFBIG])
async def test_a_disk_error_is_answered_and_later_appends_work(
    journals: Any, clock: Clock, disk: Disk, code: int
) -> None:
    journal = journals()
    await journal.append(SPANS, b"before")
    disk.failures = [code]
    with pytest.raises(
        BacklogFullError, match="cannot write to the journal: the disk says no; free some space"
    ) as raised:
        await journal.append(SPANS, b"refused" * 100)
    assert raised.value.retry_seconds == 5
    await journal.append(SPANS, b"after")
    segment = take(journal, clock)
    assert contents(segment) == [b"before", b"after"]  # to the end of the file
    journal.discard(SPANS, segment)
    assert journal.backlog_bytes == 0


async def test_a_failed_write_leaves_nothing_that_recovery_takes_for_acknowledged(
    journals: Any, clock: Clock, disk: Disk, tmp_path: Path
) -> None:
    journal = journals()
    await journal.append(SPANS, b"before")
    disk.failures = [errno.ENOSPC]
    with pytest.raises(BacklogFullError):
        await journal.append(SPANS, b"refused")
    survivor = Journal(crash(tmp_path), JournalOptions(), clock)
    found = drain(survivor, clock)
    survivor.close()
    assert found == [b"before"]


async def test_a_segment_that_cannot_be_opened_is_tried_again(
    journals: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = journals()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", _no_space)
        with pytest.raises(BacklogFullError):
            await journal.append(SPANS, b"refused")
    await journal.append(SPANS, b"taken")
    assert drain(journal, clock) == [b"taken"]


def _no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


async def test_a_sender_that_has_gone_does_not_stop_the_others(journals: Any, clock: Clock, disk: Disk) -> None:
    journal = journals()
    disk.free.clear()
    gone = asyncio.create_task(journal.append(SPANS, b"gone"))
    await asyncio.to_thread(disk.busy.wait, 10)
    stays = asyncio.create_task(journal.append(SPANS, b"stays"))
    await asyncio.sleep(0)
    gone.cancel()
    disk.free.set()
    await stays
    assert drain(journal, clock) == [b"gone", b"stays"]


async def test_closing_commits_what_was_appended_and_takes_no_more(journals: Any, clock: Clock, disk: Disk) -> None:
    journal = journals()
    disk.free.clear()
    pending = [asyncio.create_task(journal.append(SPANS, f"{i}".encode())) for i in range(3)]
    await asyncio.sleep(0.01)
    closing = asyncio.create_task(asyncio.to_thread(journal.close))
    await asyncio.sleep(0.01)
    with pytest.raises(BacklogFullError, match="shutting down; send this again"):
        await journal.append(SPANS, b"late")
    disk.free.set()
    await asyncio.gather(*pending, closing)
    journal.close()
    assert drain(journals(), clock) == [b"0", b"1", b"2"]
