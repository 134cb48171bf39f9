"""The newest samples, in memory: what dashboards and rules ask for again and again.

A statement costs the store several milliseconds before it reads a sample, more than a rule's whole query should take.
So whatever the store has just loaded is kept here too, as sorted blocks of columns that are merged as they age. It is a
cache and nothing depends on it: a question is answered from here only if all samples that it could mean are here, and
whoever asks goes to the store otherwise.

What is here is complete from a time on: samples are told by their own time, not by when they came. After a start, and
whenever it had to begin anew, `restore` fills it with what the store has from before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from watchkeeper_server.model.times import LATEST_NS
from watchkeeper_server.promql.errors import TooManySamplesError
from watchkeeper_server.promql.values import Bools, Floats, Ints
from watchkeeper_server.query.columns import Columns
from watchkeeper_server.query.options import RecentOptions

Ids: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
# How much time is restored at once.
_RESTORED_MS = 15 * 60 * 1000
_LATEST_MS = LATEST_NS // 1_000_000
_NEVER = np.iinfo(np.int64).min
# Series' ids, times in Unix milliseconds, values.
Loaded: TypeAlias = tuple[Ids, Ints, Floats]

# A block grows no more once it has this share of all samples, or of the time: blocks go one at a time.
_SHARE = 16
# This share of all samples may be ahead of their time.
_AHEAD = 4
# So many blocks are merged, if the largest is no more times as large as the smallest.
_ALIKE = 4


@dataclass(frozen=True, slots=True)
class _Block:
    """Samples by series and time; those of series `ids[i]`, ascending, are `offsets[i]` to `offsets[i + 1]`."""

    ids: Ids
    offsets: Ints
    times: Ints
    values: Floats
    # when the first of its samples came, Unix milliseconds
    begun: int
    oldest: int = field(init=False)
    newest: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "oldest", int(self.times.min()))
        object.__setattr__(self, "newest", int(self.times.max()))

    def __len__(self) -> int:
        return len(self.times)

    def extents(self, ids: Ids, start: int, end: int) -> tuple[Ints, Ints]:
        """Where each series' samples later than `start`, and not later than `end`, begin and end."""
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        known = self.ids[places] == ids
        first, last = self.offsets[places], np.where(known, self.offsets[places + 1], self.offsets[places])
        if self.oldest <= start:
            first = _later_than(start, self.times, first, last)
        if self.newest > end:
            last = _later_than(end, self.times, first, last)
        return first, last

    def since(self, time: int) -> _Block | None:
        """Its samples of a time and later."""
        if self.newest < time:
            return None
        later = self.times >= time
        ids = np.repeat(self.ids, np.diff(self.offsets))
        return _sorted(ids[later], self.times[later], self.values[later], self.begun)

    def newest_before(self, time: int) -> int:
        """The time of the newest of those that are older."""
        return self.newest if self.newest < time else int(self.times[self.times < time].max(initial=_NEVER))


@dataclass(frozen=True, slots=True)
class _State:
    """What a question sees, all of one moment.

    From `complete_from` on all samples are here; of what comes from `kept_from` on nothing is left out, so that once
    what was stored before is restored too, they are complete from then on.
    """

    blocks: tuple[_Block, ...]
    complete_from: int
    kept_from: int

    def raised(self, time: int) -> _State:
        """The same without the promise of anything older than a time."""
        return _State(self.blocks, max(self.complete_from, time), max(self.kept_from, time))

    def trimmed(self, most: int) -> _State:
        """The newest blocks, with so many samples at most, and none that is too old.

        The oldest block goes once the next is so old too, or where there are too many samples. What it has of the next
        one's time stays: else a single sample of a clock that is ahead would, when it goes, end the promise of all that
        is older than itself. Not so if too many are ahead: they would fill the memory.
        """
        blocks = [block for block in self.blocks if block.newest >= self.kept_from]
        dropped = self.kept_from
        while blocks and (sum(map(len, blocks)) > most or (len(blocks) > 1 and blocks[1].begun <= self.kept_from)):
            oldest = blocks.pop(0)
            until = max(self.kept_from, blocks[0].begun if blocks else oldest.begun + 1)
            later = oldest.since(until)
            if later is not None and len(later) * _AHEAD > most:
                until, later = later.newest + 1, None
            dropped = max(dropped, oldest.newest_before(until) + 1)
            if later is not None:
                blocks[:1] = [_together([later, blocks[0]], blocks[0].begun) if blocks else later]
        kept = _State(tuple(block for block in blocks if block.newest >= dropped), self.complete_from, self.kept_from)
        return kept.raised(dropped) if dropped > self.kept_from else kept


class RecentSamples:
    """Samples by series. Any thread may ask; those that load add."""

    def __init__(self, options: RecentOptions, clock_ms: Callable[[], int], stored_until: int | None) -> None:
        """Begin empty.

        Args:
            options: how much to keep.
            clock_ms: tells the time, Unix milliseconds.
            stored_until: the time of the newest sample in the store, None if it has none.
        """
        self._options = options
        self._clock_ms = clock_ms
        self._lock = threading.Lock()
        self._deletions = self._beginnings = 0
        self._restored_since = _NEVER
        complete_from = _NEVER if stored_until is None else stored_until + 1
        self._state = _State((), complete_from, min(complete_from, clock_ms() - options.span_ms))

    def __len__(self) -> int:
        return sum(map(len, self._state.blocks))

    @property
    def kept_from(self) -> int:
        """Samples of this time, Unix milliseconds, and later are to be added when they are loaded."""
        return self._state.kept_from

    @property
    def restorable(self) -> bool:
        """Whether it could be complete from an earlier time on."""
        return self._oldest_restored(self._clock_ms()) < self._state.complete_from

    def covers(self, start: int) -> bool:
        """Whether all samples later than `start`, Unix milliseconds, are here."""
        return start + 1 >= self._state.complete_from

    def loading(self) -> int:
        """To be called before samples are loaded, and to be given to `add` with them."""
        return self._deletions

    def add(self, loading: int, ids: Ids, times: Ints, values: Floats) -> None:
        """Keep samples that have just been loaded, in any order; times are Unix milliseconds."""
        with self._lock:
            now = self._clock_ms()
            state = self._state.raised(now - self._options.span_ms)
            wanted = times >= state.kept_from
            if not wanted.all():
                ids, times, values = ids[wanted], times[wanted], values[wanted]
            if len(ids) and loading != self._deletions:  # some of it may have been deleted as soon as it was there
                self._begin_anew(int(times.max()))
                return
            if len(ids):
                blocks = self._merged([*state.blocks, _sorted(ids, times, values, now)], now)
                state = replace(state, blocks=tuple(blocks))
            self._state = state.trimmed(self._options.samples)

    def forget(self, *, deleted: bool = True) -> None:
        """Begin anew, because samples were deleted from the store.

        If they are not yet `deleted`, but may be so at any time, nothing is restored that is older than this moment.
        """
        with self._lock:
            self._deletions += 1
            if not deleted:
                self._restored_since = self._clock_ms()
            self._begin_anew(_NEVER)

    def miss(self) -> None:
        """Begin anew, because samples were loaded that cannot be added, of whatever time they are."""
        with self._lock:
            self._begin_anew(_LATEST_MS)

    def _begin_anew(self, newest: int) -> None:
        """Promise nothing of what was here, or was loaded up to a time; what is loaded from now on is kept as ever."""
        self._beginnings += 1
        state = self._state
        complete_from = max([state.complete_from, newest + 1, *(block.newest + 1 for block in state.blocks)])
        self._state = _State((), complete_from, min(complete_from, self._clock_ms() - self._options.span_ms))

    def restore(self, read: Callable[[int, int], Loaded], since: int, stopping: Callable[[], bool]) -> None:
        """Fill up with what was loaded before, the newest first, as far as there is room.

        Args:
            read: what the store has of a time and later but before another, Unix milliseconds, in any order.
            since: how far back, Unix milliseconds.
            stopping: whether to leave off.
        """
        while not stopping() and self._restore_some(read, since):
            pass

    def _restore_some(self, read: Callable[[int, int], Loaded], since: int) -> bool:
        """Whether it may go on."""
        now = self._clock_ms()
        beginnings, until = self._beginnings, self._state.complete_from
        # what is ahead of its time is little, however far it is ahead
        start = max(min(until, now) - _RESTORED_MS, since, self._oldest_restored(now))
        if start >= until:
            return False
        ids, times, values = read(start, until)
        with self._lock:
            state = self._state
            if beginnings != self._beginnings or state.complete_from != until:
                return False
            start = max(start, state.kept_from)  # what was loaded meanwhile may have gone again
            blocks = state.blocks
            if len(ids):
                blocks = (_sorted(ids, times, values, begun=min(start, now)), *blocks)
            self._state = _State(blocks, start, state.kept_from).trimmed(self._options.samples)
            return self._state.complete_from == start

    def _oldest_restored(self, now: int) -> int:
        return max(self._restored_since, self._state.kept_from, now - self._options.span_ms)

    def select(self, ids: Ids, start: int, end: int, most: int) -> Columns | None:
        """The samples of these series, by id ascending, later than `start` and not later than `end`.

        None if some may not be here, or if there are different ones of one instant: the store knows which counts.

        Raises:
            TooManySamplesError: there are more than `most`.
        """
        state = self._state
        if start + 1 < state.complete_from:
            return None
        blocks = [block for block in state.blocks if block.newest > start and block.oldest <= end]
        offsets, times, values, clear = _gathered(blocks, ids, start, end, most)
        if not clear:
            return None
        return Columns(np.repeat(ids, np.diff(offsets)), times, values)

    def _merged(self, blocks: list[_Block], now: int) -> list[_Block]:
        """Blocks of about one size are merged once there are a few, so that a sample is copied a few times only."""
        while True:
            alike = 0
            for block in reversed(blocks):
                if self._grown(block, now) or len(block) > _ALIKE * len(blocks[-1]):
                    break
                alike += 1
            if alike < _ALIKE:
                return blocks
            blocks[-alike:] = [_together(blocks[-alike:], blocks[-alike].begun)]

    def _grown(self, block: _Block, now: int) -> bool:
        return len(block) * _SHARE >= self._options.samples or (now - block.begun) * _SHARE >= self._options.span_ms


def _sorted(ids: Ids, times: Ints, values: Floats, begun: int) -> _Block:
    order = np.lexsort((times, ids))
    ids = ids[order]
    begins = np.concatenate([[0], np.flatnonzero(ids[1:] != ids[:-1]) + 1])
    return _Block(ids[begins], np.append(begins, len(ids)), times[order], values[order], begun)


def _together(blocks: Sequence[_Block], begun: int) -> _Block:
    ids = np.sort(np.concatenate([block.ids for block in blocks]))
    ids = ids[np.append(True, ids[1:] != ids[:-1])]  # as np.unique does, at a quarter of its time
    limits = np.iinfo(np.int64)
    offsets, times, values, _ = _gathered(blocks, ids, limits.min, limits.max, limits.max)
    return _Block(ids, offsets, times, values, begun)


def _gathered(blocks: Sequence[_Block], ids: Ids, start: int, end: int, most: int) -> tuple[Ints, Ints, Floats, bool]:
    """The series' samples out of all blocks: offsets by series, times, values; whether each instant has one only."""
    extents = [block.extents(ids, start, end) for block in blocks]
    lengths = sum((last - first for first, last in extents), np.zeros(len(ids), np.int64))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    if offsets[-1] > most:
        raise TooManySamplesError
    times, values = np.empty(offsets[-1], np.int64), np.empty(offsets[-1])
    nexts = offsets[:-1]
    for block, (first, last) in zip(blocks, extents, strict=True):
        length = last - first
        count = np.arange(length.sum())
        before = np.cumsum(length) - length
        places = count + np.repeat(first - before, length)
        targets = count + np.repeat(nexts - before, length)
        times[targets], values[targets] = block.times[places], block.values[places]
        nexts = nexts + length
    if _ascending(offsets, times).all():  # nearly always
        return offsets, times, values, True
    order = np.lexsort((times, np.repeat(np.arange(len(ids)), np.diff(offsets))))
    return _once(offsets, times[order], values[order])


def _once(offsets: Ints, times: Ints, values: Floats) -> tuple[Ints, Ints, Floats, bool]:
    """Without what is there twice, and whether that makes each instant have one sample only."""
    repeated = ~_ascending(offsets, times)
    same = values.view(np.uint64)[1:] == values.view(np.uint64)[:-1]
    kept = np.append(True, ~(repeated & same))
    kept_offsets = np.concatenate([[0], np.cumsum(kept)])[offsets]
    return kept_offsets, times[kept], values[kept], bool(same[repeated].all())


def _ascending(offsets: Ints, times: Ints) -> Bools:
    """Whether each sample but the first is later than the one before, or of another series."""
    ascending: Bools = times[1:] > times[:-1]
    borders = offsets[1:-1]
    ascending[borders[(borders > 0) & (borders < len(times))] - 1] = True
    return ascending


def _later_than(time: int, times: Ints, first: Ints, last: Ints) -> Ints:
    """The first place in each of the extents whose time is later; a binary search in all of them at once."""
    low, high = first, last
    while (searching := low < high).any():
        middle = (low + high) // 2
        earlier = searching & (times[np.minimum(middle, len(times) - 1)] <= time)
        low, high = np.where(earlier, middle + 1, low), np.where(searching & ~earlier, middle, high)
    return low
