"""The series seen before: what their labels come to, looked up by a hash of the bytes or symbols they were sent as.

Taking labels apart costs twenty times what a sample does, and a series comes again every few seconds with the same
ones. So its labels are judged and its id is computed the first time; from then on one look-up in a dictionary gives its
slot here. Keys are 64-bit hashes with a secret of this process (Python's own), so nobody can make two collide.

A series is announced to the store, which needs its labels, in steps of ten minutes of its own time. `first` and
`last` tell what has been announced since this process started; what an announcement says again does no harm.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from itertools import repeat
from typing import Any, TypeAlias

import numpy as np

Ints: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Ids: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
Bools: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]
Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

_ROOM = 4096
_NEVER = np.iinfo(np.int64)


class KnownSeries:
    """Grows only; any thread may use it. About 200 bytes a series.

    `name_bytes` are those of all series' names, whether they share them or not, `longest_name` those of one.
    """

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._slots: dict[int, int] = {}
        self._adding = threading.Lock()
        self._ids: Ids = np.empty(_ROOM, np.uint64)
        self._first, self._last = _nothing_announced(_ROOM)
        self._names: list[bytes] = []
        self.name_bytes = self.longest_name = 0

    def __len__(self) -> int:
        return len(self._names)

    def find(self, keys: Iterable[int], count: int) -> Ints:
        """The slots of so many keys, -1 for a series not seen before."""
        return np.fromiter(map(self._slots.get, keys, repeat(-1)), np.int64, count)

    def add(self, key: int, id: int, name: bytes) -> int:  # noqa: A002  a series' own word
        """Remember a series' id and its metric's name, encoded as a batch's field; answers its slot."""
        with self._adding:
            if (found := self._slots.get(key)) is not None:  # twice in a request, or in two at once
                return found
            slot = len(self._names)
            if slot == len(self._ids):
                more = max(slot, _ROOM)
                self._ids = np.concatenate([self._ids, np.empty(more, np.uint64)])
                first, last = _nothing_announced(more)
                self._first, self._last = np.concatenate([self._first, first]), np.concatenate([self._last, last])
            self._ids[slot] = id
            self._names.append(name)
            self.name_bytes += len(name)
            self.longest_name = max(self.longest_name, len(name))
            self._slots[key] = slot  # last: who finds the slot finds all of it
        return slot

    def ids(self, slots: Ints) -> Ids:
        """Their ids."""
        return self._ids[slots]

    def names(self, slots: Ints) -> bytes:
        """Their metrics' encoded names, one after another."""
        return b"".join(map(self._names.__getitem__, slots.tolist()))

    def names_bytes(self, slots: Ints) -> int:
        """How many these are."""
        return sum(map(len, map(self._names.__getitem__, slots.tolist())))

    def name(self, slot: int) -> bytes:
        """One's metric's encoded name."""
        return self._names[slot]

    def announced(self, slots: Ints) -> tuple[Ints, Ints]:
        """From when up to when, Unix milliseconds, each has been announced; nothing, if that is empty."""
        return self._first[slots], self._last[slots]

    def announce(self, slots: Ints, first: Ints, last: Ints) -> None:
        """Remember that the store is going to know of these."""
        np.minimum.at(self._first, slots, first)
        np.maximum.at(self._last, slots, last)

    def reduced(self, most: int) -> KnownSeries:
        """A memory of at most so many of these: of those whose announcements reach farthest, so that ended ones go.

        Among equals their ids decide, every time alike. Were it the longest known that go, and more series live than
        fit, each would be forgotten just before it comes again.
        """
        with self._adding:
            keys, names = list(self._slots), list(self._names)
            count = len(keys)
            ids, first, last = self._ids[:count].copy(), self._first[:count].copy(), self._last[:count].copy()
        kept = np.sort(np.lexsort((ids, last))[max(0, count - most) :])
        reduced = KnownSeries()
        places = kept.tolist()
        reduced._ids, reduced._first, reduced._last = ids[kept], first[kept], last[kept]
        reduced._names = [names[place] for place in places]
        sizes = list(map(len, reduced._names))
        reduced.name_bytes, reduced.longest_name = sum(sizes), max(sizes, default=0)
        reduced._slots = dict(zip([keys[place] for place in places], range(len(places)), strict=True))
        return reduced


def _nothing_announced(count: int) -> tuple[Ints, Ints]:
    return np.full(count, _NEVER.max, np.int64), np.full(count, _NEVER.min, np.int64)
