"""Lists of custom bounds, numbered, and what two of them share."""

from __future__ import annotations

import numpy as np

from watchkeeper_server.promql.histograms.columns import entries
from watchkeeper_server.promql.values import Floats, Histograms, Ints


class BoundSets:
    """Lists of custom bounds; equal lists have the same number."""

    def __init__(self) -> None:
        """None yet."""
        self.lists: list[Floats] = []
        self._number_of: dict[bytes, int] = {}
        self._shared: dict[tuple[int, int], int] = {}

    def _number(self, bounds: Floats) -> int:
        number = self._number_of.setdefault(bounds.tobytes(), len(self.lists))
        if number == len(self.lists):
            self.lists.append(bounds)
        return number

    def numbers(self, h: Histograms, rows: Ints) -> Ints:
        """The number of each row's list."""
        distinct, back = np.unique(rows, return_inverse=True)
        start = h.custom_splits[distinct]
        lengths = h.custom_splits[distinct + 1] - start
        # Rows that lie together mostly have the same bounds: a list is looked at only where it is not the one before.
        changed = np.diff(lengths, prepend=-1) != 0
        again = np.flatnonzero(~changed)
        values, before = (h.custom_values[entries(start[rows_], lengths[again])] for rows_ in (again, again - 1))
        changed[np.repeat(again, lengths[again])[values != before]] = True
        heads = np.flatnonzero(changed)
        numbers = [
            self._number(h.custom_values[first : first + length])
            for first, length in zip(start[heads].tolist(), lengths[heads].tolist(), strict=True)
        ]
        return np.asarray(np.array(numbers, np.int64)[np.cumsum(changed) - 1][back])

    def shared(self, a: Ints, b: Ints) -> Ints:
        """The number of the list of bounds that both have, pair by pair."""
        result = a.copy()
        differ = a != b
        for left, right in set(zip(a[differ].tolist(), b[differ].tolist(), strict=True)):
            if (left, right) not in self._shared:
                kept = self.lists[left][np.isin(self.lists[left], self.lists[right])]
                self._shared[left, right] = self._number(kept)
            result[(a == left) & (b == right)] = self._shared[left, right]
        return result

    def shared_by_all(self, numbers: Ints, group: Ints, groups: int) -> Ints:
        """For each group the number of the list of bounds that all its members have, -1 without members."""
        result = np.full(groups, -1)
        result[group[::-1]] = numbers[::-1]
        differ = numbers != result[group]
        while differ.any():
            some, first = np.unique(group[differ], return_index=True)
            also = np.full(groups, -1)
            also[some] = numbers[differ][first]
            result[some] = self.shared(result[some], also[some])
            differ &= numbers != also[group]
        return result

    def merged(self, number: int, into: int) -> Ints:
        """For each bucket of a list, the bucket of another that holds it; the other has only bounds of the list."""
        bounds, kept = self.lists[number], self.lists[into]
        return np.append(np.searchsorted(kept, bounds), len(kept))
