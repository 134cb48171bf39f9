"""What is kept of the newest samples, against a plain list of all that were added."""

from __future__ import annotations

from collections.abc import Sequence

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


def select(kept: RecentSamples, ids: Sequence[int], start: int, end: int, most: int = MANY) -> list[Sample] | None:
    found = kept.select(np.array(sorted(ids), np.uint64), start, end, most)
    if found is None:
        return None
    assert found.values.tolist() == (found.times * 0.5).tolist()
    return list(zip(found.ids.tolist(), found.times.tolist(), strict=True))


@given(
    batches=st.lists(
        st.lists(st.tuples(st.integers(1, 6), st.integers(0, 400)), min_size=1, max_size=30, unique=True), max_size=30
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

    kept.restore(read, lambda: False)
    assert select(kept, [2], NOW - 59 * MINUTE, NOW) == sorted((2, NOW - i * MINUTE) for i in range(59))
    assert select(kept, [1], NOW - 1, NOW + 1) == [(1, NOW)]
    assert (1, NOW + 1 - 15 * MINUTE - 1) in (select(kept, [1], NOW - 59 * MINUTE, NOW) or [])
    assert select(kept, [2], NOW - 61 * MINUTE, NOW) is None


def test_only_as_much_is_restored_as_there_is_room_for(clock: Clock) -> None:
    kept = recent(clock, samples=40, span_ms=60 * MINUTE, stored_until=NOW)
    kept.restore(lambda start, until: columns([(1, time) for time in range(start, until, MINUTE)]), lambda: False)
    assert 0 < len(kept) <= 40
    assert kept.covers(NOW - 29 * MINUTE)
    assert not kept.covers(NOW - 31 * MINUTE)


def test_a_deletion_ends_restoring(clock: Clock) -> None:
    kept = recent(clock, span_ms=60 * MINUTE, stored_until=NOW)

    def read(start: int, until: int) -> Loaded:
        kept.forget()
        return columns([(1, start)])

    kept.restore(read, lambda: False)
    assert len(kept) == 0
    assert not kept.covers(NOW - 1)


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
