"""Where buckets begin and end.

Exponential bucket k of schema s ends at 2^(k 2^-s). All schemas agree bit by bit where their bounds meet, since each is
looked up in the finest one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from watchkeeper_server.promql.histograms.columns import CUSTOM, entries, splits_of
from watchkeeper_server.promql.values import Bools, Floats, Histograms, Ints

_FINEST = 8
_MANTISSAS = np.exp2(np.arange(1 << _FINEST) / (1 << _FINEST))
# The bucket that ends at 2^1024 holds the largest numbers, the one after it infinity.
_LARGEST = np.finfo(np.float64).max


def bound(index: Ints, schema: Ints) -> Floats:
    """Where exponential buckets end: 2^(index 2^-schema), the largest float where that is 2^1024."""
    fine = index << (_FINEST - schema)
    if not fine.size:
        return np.zeros(fine.shape)
    lowest, highest = int(fine.min()), int(fine.max())
    if highest - lowest < fine.size:  # few different ones: look them up
        return np.asarray(_power(np.arange(lowest, highest + 1))[fine - lowest])
    return _power(fine)


@np.errstate(over="ignore", under="ignore")
def _power(fine: Ints) -> Floats:
    """Where buckets of the finest schema end."""
    exponent = np.clip(fine >> _FINEST, -5000, 5000)
    ends = np.ldexp(_MANTISSAS[fine & ((1 << _FINEST) - 1)], exponent)
    return np.where(fine == 1024 << _FINEST, _LARGEST, ends)


def first_from(value: Floats, schema: Ints) -> Ints:
    """The lowest exponential bucket that begins at a value or above it; the value is positive and finite."""
    guess = np.ceil(np.ldexp(np.log2(value), schema)).astype(np.int64)
    guess += bound(guess, schema) < value
    guess -= bound(guess - 1, schema) >= value
    return guess + 1


# Cells worked on at once: few enough for the processor's caches, enough to outweigh the work per call.
_CHUNK = 1 << 17


@dataclass(frozen=True, slots=True)
class Ladder:
    """All buckets of each row from the lowest to the highest; those of row i are `splits[i]` to `splits[i + 1]`.

    The zero bucket is one of them where it holds anything. Buckets that reach into the zero bucket begin at its end.
    """

    of: Histograms
    splits: Ints
    counts: Floats

    def dense(self, rows: Ints) -> Iterator[tuple[Ints, Floats]]:
        """Some of these rows at a time and their counts by step, zeros after the last; rows come in any order."""
        lengths = np.diff(self.splits)
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        while len(rows):
            narrow = rows[: max(1, _CHUNK // max(1, lengths[rows[0]]))]
            chunk = narrow[: max(1, _CHUNK // max(1, lengths[narrow[-1]]))]
            width = max(1, int(lengths[chunk[-1]]))
            counts = np.zeros((len(chunk), width))
            cells = entries(np.arange(len(chunk)) * width, lengths[chunk])
            counts.ravel()[cells] = self.counts[entries(self.splits[chunk], lengths[chunk])]
            yield chunk, counts
            rows = rows[len(chunk) :]

    def bounds(self, rows: Ints, steps: Ints) -> tuple[Floats, Floats, Bools]:
        """Of buckets by row and step: lower bound, upper bound, and whether it is the zero bucket."""
        h = self.of
        negative = np.diff(h.negative_splits)[rows]
        is_zero = (steps == negative) & _has_zero(h)[rows]
        is_negative = steps < negative
        index = np.where(
            is_negative,
            h.negative_offset[rows] + negative - 1 - steps,
            h.positive_offset[rows] + steps - negative - _has_zero(h)[rows],
        )
        custom = h.schema[rows] == CUSTOM
        schema = np.where(custom, 0, h.schema[rows])
        threshold = h.zero_threshold[rows]
        near = np.maximum(bound(np.where(custom, 0, index - 1), schema), threshold)
        far = bound(np.where(custom, 0, index), schema)
        lower = np.where(is_zero, -threshold, np.where(is_negative, -far, near))
        upper = np.where(is_zero, threshold, np.where(is_negative, -near, far))
        if custom.any():
            lower[custom], upper[custom] = _custom_bounds(h, rows[custom], index[custom])
        return lower, upper, is_zero


def side_bounds(h: Histograms, *, positive: bool) -> tuple[Floats, Floats]:
    """Lower and upper bounds of all positive or of all negative buckets, whatever the zero bucket."""
    offset, splits = (h.positive_offset, h.positive_splits) if positive else (h.negative_offset, h.negative_splits)
    lengths = np.diff(splits)
    rows, index = np.repeat(np.arange(len(h)), lengths), entries(offset, lengths)
    custom = h.schema[rows] == CUSTOM
    schema = np.where(custom, 0, h.schema[rows])
    near, far = bound(np.where(custom, 0, index - 1), schema), bound(np.where(custom, 0, index), schema)
    if not positive:
        return -far, -near
    if custom.any():
        near[custom], far[custom] = _custom_bounds(h, rows[custom], index[custom])
    return near, far


def _has_zero(h: Histograms) -> Bools:
    return np.asarray((h.zero_count > 0) & (h.schema != CUSTOM))


def _custom_bounds(h: Histograms, rows: Ints, index: Ints) -> tuple[Floats, Floats]:
    start, bounds = h.custom_splits[rows], h.custom_splits[rows + 1] - h.custom_splits[rows]
    padded = np.append(h.custom_values, np.nan)
    lower = padded[np.where((index > 0) & (index <= bounds), start + index - 1, -1)]
    upper = padded[np.where((index >= 0) & (index < bounds), start + index, -1)]
    return (
        np.where(index <= 0, -np.inf, np.where(index <= bounds, lower, np.inf)),
        np.where(index < 0, -np.inf, np.where(index < bounds, upper, np.inf)),
    )


def ladder(h: Histograms) -> Ladder:
    """The buckets of each row in order."""
    negative, positive, has_zero = np.diff(h.negative_splits), np.diff(h.positive_splits), _has_zero(h)
    splits = splits_of(negative + has_zero + positive)
    counts = np.empty(splits[-1])
    if len(h.negative_counts):
        upwards = np.repeat(h.negative_splits[1:] + h.negative_splits[:-1] - 1, negative)
        counts[entries(splits[:-1], negative)] = h.negative_counts[upwards - np.arange(len(upwards))]
    counts[(splits[:-1] + negative)[has_zero]] = h.zero_count[has_zero]
    counts[entries(splits[1:] - positive, positive)] = h.positive_counts
    return Ladder(h, splits, counts)
