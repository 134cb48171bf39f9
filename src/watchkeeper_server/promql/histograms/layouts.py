"""One layout for histograms that are to be added: the coarsest schema, the widest zero bucket, the bounds all share.

Source: https://prometheus.io/docs/specs/native_histograms/. Prometheus adds one histogram after the other;
here the layout is found for all at once, so that it does not depend on their order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from watchkeeper_server.promql.histograms.bounds import bound, first_from
from watchkeeper_server.promql.histograms.columns import CUSTOM, UNKNOWN, concat, entries, splits_of
from watchkeeper_server.promql.histograms.custom_bounds import BoundSets
from watchkeeper_server.promql.histograms.members import Members
from watchkeeper_server.promql.histograms.sums import summed, summed_exactly
from watchkeeper_server.promql.values import Bools, Floats, Histograms, Ints


class Combined(NamedTuple):
    """Histograms by group, and in which of them custom bounds differed."""

    histograms: Histograms
    reconciled: Bools


def combine(h: Histograms, members: Members, *, exactly: bool = False) -> Combined:
    """The weighted sum of each group's members; no group mixes exponential and custom buckets.

    `exactly` rounds only at the end. What is known of counter resets is left to the caller.
    """
    sizes = np.diff(h.positive_splits)[members.rows] + np.diff(h.negative_splits)[members.rows] + 1
    parts, reconciled = [], []
    for chunk in members.chunks(sizes):
        layout = Layout(h, chunk)
        parts.append(layout.sum(chunk.weight, exactly=exactly))
        reconciled.append(layout.reconciled)
    return Combined(concat(parts), np.concatenate(reconciled))


class _Side(NamedTuple):
    """The negative or the positive buckets of all groups, and of all members the places they come from and go to."""

    offset: Ints
    splits: Ints
    lengths: Ints
    sources: Ints
    places: Ints


class Layout:
    """The common layout of each group's members, and where their buckets are in it.

    `zero_threshold` is each group's; `reconciled` tells which groups had different custom bounds.
    """

    def __init__(self, h: Histograms, members: Members) -> None:
        """Find it; no group mixes exponential and custom buckets."""
        self._h, self._members = h, members
        rows, group = members.rows, members.group
        self.schema, _ = members.extremes(h.schema[rows], h.schema[rows])
        self.zero_threshold = members.largest(h.zero_threshold[rows])
        self.reconciled = np.zeros(members.groups, np.bool_)
        self._sets = BoundSets()
        self._member_set = self._group_set = np.full(0, -1)
        custom = h.schema[rows] == CUSTOM
        if custom.any():
            self._share_bounds(custom)
        self._halvings = np.where(custom, 0, h.schema[rows] - self.schema[group])
        self._zero_count = h.zero_count[rows]
        self._within_zero = self._widen_zero()
        self._positive = self._side(h.positive_offset, h.positive_splits, h.positive_counts)
        self._negative = self._side(h.negative_offset, h.negative_splits, h.negative_counts)

    def sum(self, weight: Floats, *, exactly: bool = False) -> Histograms:
        """The members' weighted sum for each group."""
        h, members, add = self._h, self._members, summed_exactly if exactly else summed
        weighted = not (weight == 1).all()

        def scalars(values: Floats) -> Floats:
            return add(members.group, values * weight if weighted else values, members.groups)

        def buckets(side: _Side, counts: Floats) -> Floats:
            values = counts[side.sources]
            if weighted:
                values *= np.repeat(weight, side.lengths)
            return add(side.places, values, int(side.splits[-1]))

        custom_splits, custom_values = self._custom_columns()
        return Histograms(
            count=scalars(h.count[members.rows]),
            sum=scalars(h.sum[members.rows]),
            schema=self.schema,
            zero_threshold=self.zero_threshold,
            zero_count=scalars(self._zero_count),
            positive_offset=self._positive.offset,
            positive_splits=self._positive.splits,
            positive_counts=buckets(self._positive, h.positive_counts),
            negative_offset=self._negative.offset,
            negative_splits=self._negative.splits,
            negative_counts=buckets(self._negative, h.negative_counts),
            custom_splits=custom_splits,
            custom_values=custom_values,
            counter_reset=np.full(members.groups, UNKNOWN),
        )

    def _share_bounds(self, custom: Bools) -> None:
        """Find the bounds of each group with custom buckets."""
        rows, group = self._members.rows[custom], self._members.group[custom]
        numbers = self._sets.numbers(self._h, rows)
        self._group_set = self._sets.shared_by_all(numbers, group, self._members.groups)
        self._member_set = np.full(len(custom), -1)
        self._member_set[custom] = numbers
        first = np.full(self._members.groups, -1)
        first[group[::-1]] = numbers[::-1]
        self.reconciled[group[numbers != first[group]]] = True

    def _custom_columns(self) -> tuple[Ints, Floats]:
        lists = self._sets.lists
        if not lists:
            return np.zeros(self._members.groups + 1, np.int64), np.zeros(0)
        known = splits_of(np.array([*map(len, lists), 0], np.int64))  # the last is of groups with exponential buckets
        lengths = np.diff(known)[self._group_set]
        return splits_of(lengths), np.concatenate(lists)[entries(known[:-1][self._group_set], lengths)]

    def _widen_zero(self) -> Ints:
        """Widen each group's zero bucket until it cuts no filled bucket; the members that it was widened for."""
        h, rows, group = self._h, self._members.rows, self._members.group
        own = h.zero_threshold[rows]
        while True:
            narrow = np.flatnonzero(own < self.zero_threshold[group])
            if not len(narrow):
                return narrow
            at, schema = rows[narrow], h.schema[rows[narrow]]
            threshold = self.zero_threshold[group[narrow]]
            cut = first_from(threshold, schema) - 1
            filled = np.zeros(len(narrow), np.bool_)
            for offset, splits, counts in (
                (h.positive_offset, h.positive_splits, h.positive_counts),
                (h.negative_offset, h.negative_splits, h.negative_counts),
            ):
                place = splits[at] + cut - offset[at]
                held = (cut >= offset[at]) & (place < splits[at + 1])
                filled[held] |= counts[place[held]] != 0
            reach = np.where(filled, np.maximum(bound(cut, schema), threshold), threshold)
            if (reach == threshold).all():
                return narrow
            np.maximum.at(self.zero_threshold, group[narrow], reach)

    def _side(self, offset: Ints, splits: Ints, counts: Floats) -> _Side:
        members = self._members
        start, first = splits[members.rows], offset[members.rows]
        lengths = splits[members.rows + 1] - start
        self._move_into_zero(start, first, lengths, counts)
        index = self._merged_index(first, lengths)
        if index is None:
            low, high = first, first + lengths - 1
        else:
            ends = np.append(index, 0)
            low, high = ends[np.cumsum(lengths) - lengths], ends[np.cumsum(lengths) - 1]
        some = lengths > 0
        kept = Members(members.rows[some], members.group[some], members.groups, members.weight[some])
        least, greatest = kept.extremes(low[some], high[some])
        result = splits_of(greatest - least + 1)
        base = (result[:-1] - least)[members.group]
        places = entries(base + first, lengths) if index is None else np.repeat(base, lengths) + index
        return _Side(least, result, lengths, entries(start, lengths), places)

    def _move_into_zero(self, start: Ints, first: Ints, lengths: Ints, counts: Floats) -> None:
        """Leave out the buckets within a widened zero bucket and count them there; changes the first three in place."""
        within = self._within_zero
        if not len(within):
            return
        threshold = self.zero_threshold[self._members.group[within]]
        outside = first_from(threshold, self._h.schema[self._members.rows[within]])
        moved = np.clip(outside - first[within], 0, lengths[within])
        owners = np.repeat(np.arange(len(within)), moved)
        self._zero_count[within] += summed(owners, counts[entries(start[within], moved)], len(within))
        start[within] += moved
        first[within] += moved
        lengths[within] -= moved

    def _merged_index(self, first: Ints, lengths: Ints) -> Ints | None:
        """For each bucket its index in the common layout; None if it is its own."""
        coarser = self._halvings.any()
        if not coarser and not self.reconciled.any():
            return None
        index = entries(first, lengths)
        if coarser:
            index = ((index - 1) >> np.repeat(self._halvings, lengths)) + 1
        if self.reconciled.any():
            own, common = self._member_set, self._group_set[self._members.group]
            for fine, coarse in set(zip(own[own != common].tolist(), common[own != common].tolist(), strict=True)):
                these = np.repeat((own == fine) & (common == coarse), lengths)
                index[these] = self._sets.merged(fine, coarse)[index[these]]
        return index
