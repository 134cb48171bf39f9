"""What is kept of the newest samples, against a plain list of all that were added."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper_server.promql.errors import TooManySamplesError
from watchkeeper_server.query.options import RecentOptions
from watchkeeper_server.query.recent_samples import Loaded, RecentSamples

NOW = 1_795_240_800_000
Sample = tuple[int, int]  # series, time
MANY = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def recent(clock: Clock, samples: int = 1_000, span_ms: int = 1_000, stored_until: int | None = None) -> RecentSamples:
    return RecentSamples(RecentOptions(samples, span_ms), clock, stored_until)


def columns(samples: Sequence[Sample]) -> Loaded:
    ids, times = (np.array([sample[i] for sample in samples], kind) for i, kind in ((0, np.uint64), (1, np.int64)))
    return ids, times, times * 0.5


def add(kept: RecentSamples, samples: Sequence[Sample], loading: int | None = None) -> None:
    kept.add(kept.loading() if loading is None else loading, *columns(samples))


def restore(kept: RecentSamples, read: Callable[[int, int], Loaded], since: int = 0) -> None:
    kept.restore(read, since, lambda: False)


def of(stored: Sequence[Sample]) -> Callable[[int, int], Loaded]:
    """Reads a store with these samples."""
    return lambda start, until: columns([sample for sample in stored if start <= sample[1] < until])


def select(kept: RecentSamples, ids: Sequence[int], start: int, end: int, most: int = MANY) -> list[Sample] | None:
    found = kept.select(np.array(sorted(ids), np.uint64), start, end, most)
    if found is None:
        return None
    assert found.values.tolist() == (found.times * 0.5).tolist()
    return list(zip(found.ids.tolist(), found.times.tolist(), strict=True))


@given(
    batches=st.lists(
        st.lists(st.tuples(st.integers(1, 6), st.integers(-200, 400)), min_size=1, max_size=30, unique=True),
        max_size=30,
    ),
    ids=st.sets(st.integers(1, 8)),
    limits=st.tuples(st.integers(-5, 405), st.integers(-5, 405)),
    most=st.integers(1, 300),
    step=st.integers(0, 30),
)
def test_what_is_answered_is_what_was_added_or_nothing_is_answered(
    batches: list[list[Sample]], ids: set[int], limits: tuple[int, int], most: int, step: int
) -> None:
    clock = Clock()
    kept = recent(clock, samples=most, span_ms=300)
    added: list[Sample] = []
    for batch in batches:
        now = [(id_, clock.now - time) for id_, time in batch]
        add(kept, now)
        added += now
        clock.now += step
    start, end = clock.now - max(limits), clock.now - min(limits)
    expected = sorted({(id_, time) for id_, time in added if id_ in ids and start < time <= end})
    answer = select(kept, list(ids), start, end)
    assert answer is None or answer == expected
    assert len(kept) <= most
    if kept.covers(start):
        assert answer is not None


class Course:
    """A memory beside a store that is loaded, deleted from and restored from, in whatever order that may happen."""

    def __init__(self, samples: int) -> None:
        self.clock = Clock()
        self.kept = recent(self.clock, samples, span_ms=300)
        self.stored: set[Sample] = set()
        self.loads: list[tuple[int, Sequence[Sample], int | None]] = []

    def run(self, steps: Iterator[tuple[str, Sequence[Sample]]]) -> None:
        for step, samples in steps:
            now = self.clock.now
            if step == "insert":
                loading = self.kept.loading()
                self.stored.update((id_, now - age) for id_, age in samples)
                self.loads.append((loading, [(id_, now - age) for id_, age in samples], None))
            elif step == "look" and self.loads:
                loading, loaded, _ = self.loads.pop(0)
                self.loads.append((loading, loaded, self.kept.kept_from))
            elif step == "add" and self.loads:
                loading, loaded, since = self.loads.pop(0)
                since = self.kept.kept_from if since is None else since
                add(self.kept, [sample for sample in loaded if sample[1] >= since], loading)
            elif step == "delete":
                self.stored -= {sample for sample in self.stored if sample[0] == samples[0][0]}
                self.kept.forget()
            elif step == "miss" and self.loads:
                self.loads.pop(0)
                self.kept.miss()
            elif step == "restore":
                self.kept.restore(lambda start, until: self.read(start, until, steps), 0, iter([False, True]).__next__)
            self.clock.now += len(samples)
            self.check()

    def read(self, start: int, until: int, steps: Iterator[tuple[str, Sequence[Sample]]]) -> Loaded:
        found = of(sorted(self.stored))(start, until)
        self.run(islice(steps, 3))
        return found

    def check(self) -> None:
        pending = {sample for _, samples, _ in self.loads for sample in samples}
        for start in (self.clock.now - 250, self.clock.now - 40, self.clock.now + 1):
            answer = select(self.kept, range(4), start, self.clock.now + 90)
            there = {sample for sample in self.stored if start < sample[1] <= self.clock.now + 90}
            assert answer is None or there - pending <= set(answer) <= there


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["insert", "insert", "insert", "look", "add", "add", "add", "restore", "delete", "miss"]),
            st.lists(st.tuples(st.integers(0, 3), st.integers(-100, 250)), min_size=1, max_size=12, unique=True),
        ),
        max_size=60,
    ),
    samples=st.integers(0, 60),
)
def test_whatever_happens_meanwhile_an_answer_is_what_the_store_would_say(
    steps: list[tuple[str, list[Sample]]], samples: int
) -> None:
    Course(samples).run(iter(steps))


def test_all_that_fits_is_answered(clock: Clock) -> None:
    kept = recent(clock)
    for time in range(NOW - 500, NOW, 5):
        add(kept, [(3, time), (1, time), (2, time)])
    assert select(kept, [1, 3], NOW - 501, NOW) == [(id_, time) for id_ in (1, 3) for time in range(NOW - 500, NOW, 5)]


def test_what_the_store_had_before_is_not_claimed_to_be_here(clock: Clock) -> None:
    kept = recent(clock, stored_until=NOW)
    add(kept, [(1, NOW - 10), (1, NOW + 5)])
    assert select(kept, [1], NOW - 1, NOW + 10) is None
    assert select(kept, [1], NOW, NOW + 10) == [(1, NOW + 5)]


def test_a_deletion_leaves_nothing_behind(clock: Clock) -> None:
    kept = recent(clock)
    add(kept, [(1, NOW - 10), (1, NOW)])
    kept.forget()
    assert select(kept, [1], NOW - 5, NOW) is None
    add(kept, [(1, NOW + 1)])
    assert select(kept, [1], NOW, NOW + 1) == [(1, NOW + 1)]


def test_what_was_being_loaded_while_something_was_deleted_is_asked_of_the_store(clock: Clock) -> None:
    kept = recent(clock)
    loading = kept.loading()
    kept.forget()
    add(kept, [(1, NOW)], loading)
    assert select(kept, [1], NOW - 1, NOW) is None
    assert select(kept, [1], NOW, NOW + 1) == []


def test_too_many_samples_are_refused(clock: Clock) -> None:
    kept = recent(clock)
    add(kept, [(1, NOW - i) for i in range(20)])
    assert select(kept, [1], NOW - 20, NOW, most=20)
    with pytest.raises(TooManySamplesError):
        select(kept, [1], NOW - 20, NOW, most=19)


def test_samples_that_come_late_are_put_in_order(clock: Clock) -> None:
    kept = recent(clock)
    add(kept, [(1, NOW), (2, NOW)])
    add(kept, [(1, NOW - 20)])
    assert select(kept, [1, 2], NOW - 30, NOW) == [(1, NOW - 20), (1, NOW), (2, NOW)]


MINUTE = 60_000


def test_what_was_stored_before_is_restored_while_more_comes(clock: Clock) -> None:
    kept = recent(clock, span_ms=60 * MINUTE, stored_until=NOW)
    stored = [(id_, NOW - i * MINUTE) for id_ in (1, 2) for i in range(100)]

    def read(start: int, until: int) -> Loaded:
        add(kept, [(1, until - 1)])  # comes late, and is not there yet
        add(kept, stored[:2])  # is there already
        return columns([sample for sample in stored if start <= sample[1] < until])

    restore(kept, read)
    assert select(kept, [2], NOW - 59 * MINUTE, NOW) == sorted((2, NOW - i * MINUTE) for i in range(59))
    assert select(kept, [1], NOW - 1, NOW + 1) == [(1, NOW)]
    assert (1, NOW + 1 - 15 * MINUTE - 1) in (select(kept, [1], NOW - 59 * MINUTE, NOW) or [])
    assert select(kept, [2], NOW - 61 * MINUTE, NOW) is None


def test_only_as_much_is_restored_as_there_is_room_for(clock: Clock) -> None:
    kept = recent(clock, samples=40, span_ms=60 * MINUTE, stored_until=NOW)
    restore(kept, lambda start, until: columns([(1, time) for time in range(start, until, MINUTE)]))
    assert 0 < len(kept) <= 40
    assert kept.covers(NOW - 29 * MINUTE)
    assert not kept.covers(NOW - 32 * MINUTE)


def test_a_deletion_ends_restoring(clock: Clock) -> None:
    kept = recent(clock, span_ms=60 * MINUTE, stored_until=NOW)

    def read(start: int, until: int) -> Loaded:
        kept.forget()
        return columns([(1, start)])

    restore(kept, read)
    assert len(kept) == 0
    assert not kept.covers(NOW - 1)


def test_what_was_not_deleted_is_restored_after_a_deletion(clock: Clock) -> None:
    kept = recent(clock, span_ms=60 * MINUTE)
    add(kept, [(1, NOW - MINUTE), (2, NOW - MINUTE), (2, NOW + 1000 * MINUTE)])
    assert not kept.restorable
    kept.forget()
    assert kept.restorable
    restore(kept, of([(2, NOW - MINUTE), (2, NOW + 1000 * MINUTE)]))
    assert not kept.restorable
    assert select(kept, [1, 2], NOW - 50 * MINUTE, NOW) == [(2, NOW - MINUTE)]
    assert select(kept, [2], NOW, NOW + 1000 * MINUTE) == [(2, NOW + 1000 * MINUTE)]


def test_what_may_still_be_deleted_is_not_restored(clock: Clock) -> None:
    kept = recent(clock, span_ms=60 * MINUTE)
    add(kept, [(1, NOW - MINUTE)])
    kept.forget(deleted=False)
    add(kept, [(1, NOW + 1)])
    restore(kept, of([(1, NOW - MINUTE), (1, NOW + 1)]))
    assert select(kept, [1], NOW - 2 * MINUTE, NOW) is None
    assert select(kept, [1], NOW, NOW + 1) == [(1, NOW + 1)]


def test_what_a_deletion_overtook_is_restored_from_the_store(clock: Clock) -> None:
    kept = recent(clock, span_ms=60 * MINUTE)
    loading = kept.loading()
    kept.forget()
    restore(kept, of([]))
    add(kept, [(1, NOW - MINUTE), (2, NOW + 1000 * MINUTE)], loading)
    assert kept.restorable
    restore(kept, of([(1, NOW - MINUTE)]))
    assert select(kept, [1], NOW - 50 * MINUTE, NOW) == [(1, NOW - MINUTE)]


def test_what_a_deletion_overtook_while_the_store_was_read_is_not_promised(clock: Clock) -> None:
    kept = recent(clock, span_ms=60 * MINUTE, stored_until=NOW)
    loading = kept.loading()
    kept.forget()

    def read(start: int, until: int) -> Loaded:
        if kept.kept_from < start:  # it was not there yet when the answer was made
            add(kept, [(1, NOW - MINUTE)], loading)
        return columns([])

    kept.restore(read, 0, iter([False, True]).__next__)
    assert select(kept, [1], NOW - 2 * MINUTE, NOW) is None


def test_what_could_not_be_added_is_asked_of_the_store_until_it_is_restored(clock: Clock) -> None:
    kept = recent(clock, span_ms=60 * MINUTE)
    add(kept, [(1, NOW)])
    kept.miss()
    add(kept, [(1, NOW + 2)])
    assert select(kept, [1], NOW, NOW + 2) is None
    restore(kept, of([(1, NOW), (1, NOW + 1), (1, NOW + 2)]))
    assert select(kept, [1], NOW - 1, NOW + 2) == [(1, NOW), (1, NOW + 1), (1, NOW + 2)]


def test_what_is_loaded_while_the_store_is_read_is_taken_from_as_far_back_as_is_restored(clock: Clock) -> None:
    kept = recent(clock, span_ms=60 * MINUTE, stored_until=NOW)
    late = [(2, NOW - 5), (2, NOW - 70 * MINUTE)]
    wanted_from: list[int] = []

    def read(start: int, until: int) -> Loaded:
        wanted_from.append(kept.kept_from)  # when it is stored: just after the first answer was made
        return columns([])

    restore(kept, read)
    add(kept, [sample for sample in late if sample[1] >= wanted_from[0]])
    assert select(kept, [2], NOW - 50 * MINUTE, NOW) == [(2, NOW - 5)]


def test_what_goes_again_while_the_store_is_read_is_not_promised(clock: Clock) -> None:
    kept = recent(clock, samples=100, span_ms=60 * MINUTE, stored_until=NOW - 1000)
    late = NOW - 10 * MINUTE
    reads: list[int] = []

    def read(start: int, until: int) -> Loaded:
        if not reads:  # stored just after the answer was made: late samples, then so many that their block goes
            add(kept, [(1, late)])
            add(kept, [(id_, NOW) for id_ in range(100)])
        reads.append(start)
        return columns([])

    restore(kept, read)
    assert select(kept, [1], late - 1, late) is None
    assert select(kept, [1], late, NOW) == [(1, NOW)]


def test_a_clock_that_is_ahead_does_not_end_the_promise_of_everybody_else(clock: Clock) -> None:
    kept = recent(clock, samples=1000, span_ms=1000 * MINUTE)
    ahead = [(0, NOW + 1440 * MINUTE), (1, NOW + 7 * MINUTE)]
    add(kept, ahead)
    for _ in range(100):
        clock.now += MINUTE // 4
        add(kept, [(id_, clock.now) for id_ in range(50)])
        assert len(kept) <= 1000
    assert kept.covers(clock.now - 4 * MINUTE)
    assert select(kept, [0], clock.now, NOW + 1440 * MINUTE) == [ahead[0]]
    for _ in range(100):
        clock.now += MINUTE // 4
        add(kept, [(id_, clock.now) for id_ in range(49)] + [(49, clock.now + 60 * MINUTE)])
    assert kept.covers(clock.now - 2 * MINUTE)


def test_old_samples_go_although_some_with_them_were_ahead(clock: Clock) -> None:
    kept = recent(clock, span_ms=16 * MINUTE)
    for _ in range(60):
        add(kept, [(1, clock.now), (2, clock.now + 1440 * MINUTE)])
        clock.now += MINUTE
    found = select(kept, [1, 2], clock.now - 15 * MINUTE, clock.now + 1440 * MINUTE) or []
    assert len(found) == 14 + 60
    assert len(kept) < 60 + 20


def test_more_than_fits_ahead_of_its_time_ends_the_promise(clock: Clock) -> None:
    kept = recent(clock, samples=100, span_ms=1000 * MINUTE)
    for _ in range(100):
        clock.now += MINUTE
        add(kept, [(1, clock.now), (2, clock.now + 1440 * MINUTE)])
    assert len(kept) <= 100
    assert not kept.covers(clock.now)
    assert not kept.restorable


def test_only_what_is_ahead_is_restored_if_the_rest_takes_too_long(clock: Clock) -> None:
    kept = recent(clock, span_ms=60 * MINUTE, stored_until=NOW + 100 * MINUTE)
    asked: list[tuple[int, int]] = []

    def read(start: int, until: int) -> Loaded:
        asked.append((start, until))
        return columns([(1, NOW + 100 * MINUTE)])

    restore(kept, read, since=NOW)
    assert asked == [(NOW, NOW + 100 * MINUTE + 1)]
    assert kept.covers(NOW)


def test_the_same_sample_twice_is_one(clock: Clock) -> None:
    kept = recent(clock)
    add(kept, [(1, NOW), (2, NOW)])
    add(kept, [(1, NOW), (1, NOW + 1)])
    assert select(kept, [1, 2], NOW - 1, NOW + 1) == [(1, NOW), (1, NOW + 1), (2, NOW)]


def test_of_two_values_of_one_instant_the_store_decides(clock: Clock) -> None:
    kept = recent(clock)
    add(kept, [(1, NOW)])
    kept.add(kept.loading(), np.array([1], np.uint64), np.array([NOW]), np.array([7.0]))
    assert select(kept, [1], NOW - 1, NOW) is None
