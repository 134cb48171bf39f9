"""Which rows of histograms go into which group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from watchkeeper_server.promql.histograms.columns import CUSTOM, GAUGE, NOT_RESET, RESET, UNKNOWN
from watchkeeper_server.promql.values import Bools, Floats, Histograms, Ints

# Buckets worked on at once: few enough for the processor's caches, enough to outweigh the work per call.
_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class Members:
    """Rows of histograms that go into groups; `group` never falls. `weight` is what each is multiplied by."""

    rows: Ints
    group: Ints
    groups: int
    weight: Floats

    @staticmethod
    def of(rows: Ints, group: Ints, groups: int, weight: Floats | None = None) -> Members:
        """In the order of their groups; within a group as given."""
        weights = np.ones(len(rows)) if weight is None else weight
        if (np.diff(group) >= 0).all():
            return Members(rows, group, groups, weights)
        order = np.argsort(group, kind="stable")
        return Members(rows[order], group[order], groups, weights[order])

    @property
    def heads(self) -> Ints:
        """The first member of each group that has any."""
        return np.flatnonzero(np.diff(self.group, prepend=-1))

    def largest(self, values: Floats) -> Floats:
        """The largest of each group's values, 0 without members."""
        result = np.zeros(self.groups)
        if len(self.group):
            result[self.group[self.heads]] = np.maximum.reduceat(values, self.heads)
        return result

    def extremes(self, low: Ints, high: Ints) -> tuple[Ints, Ints]:
        """The least of each group's low values and the greatest of its high ones; without members 0 and -1."""
        least, greatest = np.zeros(self.groups, np.int64), np.full(self.groups, -1)
        if len(self.group):
            heads = self.heads
            least[self.group[heads]] = np.minimum.reduceat(low, heads)
            greatest[self.group[heads]] = np.maximum.reduceat(high, heads)
        return least, greatest

    def any(self, mask: Bools) -> Bools:
        """Which groups have a member that the mask marks."""
        return np.bincount(self.group[mask], minlength=self.groups) > 0

    def where(self, groups: Bools) -> Members:
        """Only the members of the groups that are marked."""
        mask = groups[self.group]
        return Members(self.rows[mask], self.group[mask], self.groups, self.weight[mask])

    def chunks(self, sizes: Ints) -> Iterator[Members]:
        """Whole groups at a time, of about `_CHUNK` buckets; `sizes` are the members' buckets."""
        ends = np.cumsum(sizes)
        if not len(ends) or ends[-1] <= _CHUNK:
            yield self
            return
        cuts = np.searchsorted(ends, np.arange(_CHUNK, ends[-1], _CHUNK))
        for low, high in pairwise(dict.fromkeys([0, *self.group[cuts].tolist(), self.groups])):
            start, end = np.searchsorted(self.group, [low, high])
            yield Members(self.rows[start:end], self.group[start:end] - low, high - low, self.weight[start:end])


def mixed_kinds(h: Histograms, members: Members) -> Bools:
    """Which groups have both exponential and custom buckets, and so nothing in common."""
    custom = h.schema[members.rows] == CUSTOM
    return members.any(custom) & members.any(~custom)


def joint_hints(h: Histograms, members: Members) -> tuple[Ints, Bools]:
    """What is known of counter resets in the sum of each group, and where members contradict each other."""
    hints = h.counter_reset[members.rows]
    unknown, reset, not_reset, gauge = (members.any(hints == hint) for hint in (UNKNOWN, RESET, NOT_RESET, GAUGE))
    collided = reset & not_reset
    known = np.where(reset, RESET, np.where(not_reset, NOT_RESET, UNKNOWN))
    return np.where(gauge, GAUGE, np.where(unknown | collided, UNKNOWN, known)), collided
