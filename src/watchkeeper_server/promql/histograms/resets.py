"""Where a counter that is a native histogram started again from zero."""

from __future__ import annotations

import numpy as np

from watchkeeper_server.promql.histograms.columns import CUSTOM, NOT_RESET, RESET, entries, same_bounds, take
from watchkeeper_server.promql.histograms.layouts import Layout
from watchkeeper_server.promql.histograms.members import Members
from watchkeeper_server.promql.values import Bools, Histograms, Ints


@np.errstate(all="ignore")
def is_reset(h: Histograms, before: Ints, after: Ints) -> Bools:
    """Pair by pair, whether the counter was reset between two rows.

    It was if the later row says so; unless that denies it, also if its count or that of any bucket is lower, its schema
    finer, its zero bucket narrower or ends within a filled bucket of the earlier one. Buckets are compared in the later
    row's layout, or by the custom bounds that both have.
    """
    hint = h.counter_reset[after]
    schema, old_schema = h.schema[after], h.schema[before]
    threshold, old_threshold = h.zero_threshold[after], h.zero_threshold[before]
    result = (h.count[after] < h.count[before]) | ((schema == CUSTOM) != (old_schema == CUSTOM)) | (schema > old_schema)
    open_ = np.flatnonzero(~result & (hint != RESET) & (hint != NOT_RESET))
    same = (schema[open_] == old_schema[open_]) & (threshold[open_] == old_threshold[open_])
    alike = open_[same & _same_custom(h, before[open_], after[open_])]
    result[alike] = _has_less(h, before[alike], after[alike])
    unlike = np.setdiff1d(open_, alike, assume_unique=True)
    if len(unlike):
        result[unlike] = _has_less_in_common(h, before[unlike], after[unlike])
    return np.where(hint == RESET, True, np.where(hint == NOT_RESET, False, result))


def _same_custom(h: Histograms, before: Ints, after: Ints) -> Bools:
    if not len(h.custom_values):
        return np.ones(len(after), np.bool_)
    return same_bounds(take(h, before), take(h, after))


def _has_less(h: Histograms, before: Ints, after: Ints) -> Bools:
    """Pair by pair, whether any bucket of the later row holds less than in the earlier row of the same layout."""
    result = h.zero_count[after] < h.zero_count[before]
    for offset, splits, counts in (
        (h.positive_offset, h.positive_splits, h.positive_counts),
        (h.negative_offset, h.negative_splits, h.negative_counts),
    ):
        lengths = splits[before + 1] - splits[before]
        old = entries(splits[before], lengths)
        shift = offset[before] - offset[after]
        new = np.repeat(splits[after] - splits[before] + shift, lengths) + old
        if ((shift < 0) | (shift + lengths > splits[after + 1] - splits[after])).any():
            held = (new >= np.repeat(splits[after], lengths)) & (new < np.repeat(splits[after + 1], lengths))
            now = np.where(held, np.append(counts, 0)[np.where(held, new, -1)], 0)
        else:
            now = counts[new]
        less = now < counts[old]
        if less.any():
            result[np.repeat(np.arange(len(before)), lengths)[less]] = True
    return result


def _has_less_in_common(h: Histograms, before: Ints, after: Ints) -> Bools:
    """As `_has_less`, for rows of different layouts."""
    n = len(before)
    rows, group = np.stack([before, after], axis=1).ravel(), np.repeat(np.arange(n), 2)
    layout = Layout(h, Members.of(rows, group, n))
    earlier, later = (layout.sum(np.tile(weight, n)) for weight in ([1.0, 0.0], [0.0, 1.0]))
    cut = layout.zero_threshold != h.zero_threshold[after]
    result: Bools = cut | (later.zero_count < earlier.zero_count)
    for splits, old, new in (
        (later.positive_splits, earlier.positive_counts, later.positive_counts),
        (later.negative_splits, earlier.negative_counts, later.negative_counts),
    ):
        result[np.repeat(np.arange(n), np.diff(splits))[new < old]] = True
    return result
