"""Windows for numpy: many of them side by side in blocks, added up as Prometheus adds.

A function over windows is written once for a block, an array of [samples of a window, windows]: row j holds the j-th
sample of each. Windows of very different lengths do not share a block, so little is wasted on filling up the shorter
ones, and a block has a bounded size, so memory does not grow with the query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from watchkeeper_server.promql import labels as label_sets
from watchkeeper_server.promql.histograms import histogram_counts
from watchkeeper_server.promql.values import Bools, Floats, Histograms, Ints, Labels, Matrix, Windows

# 2 MB an array: larger blocks fall out of the processor's cache, smaller ones cost more calls.
BLOCK_ENTRIES = 1 << 18


@dataclass(frozen=True, slots=True)
class Block:
    """Windows side by side: their places among all [series, steps], first samples and lengths, int64[windows].

    None of them is empty.
    """

    cells: Ints | slice
    first: Ints
    lengths: Ints
    longest: int

    @property
    def places(self) -> Ints:
        """Where each window's samples are, int64[longest, windows]; behind its end others, or none at all."""
        return self.first + np.arange(self.longest)[:, None]

    def take(self, column: Floats, filler: float) -> Floats:
        """The samples' entries in a column, [longest, windows]; behind a window's end `filler`."""
        entries = column.take(self.places, mode="clip")
        shortest = int(self.lengths.min())
        if shortest < self.longest:
            np.copyto(entries[shortest:], filler, where=self.beyond(shortest))
        return entries

    def beyond(self, start: int = 0) -> Bools:
        """Which entries lie behind their window's end, bool[longest - start, windows]."""
        return np.arange(start, self.longest)[:, None] >= self.lengths


def blocks(first: Ints, lengths: Ints) -> Iterator[Block]:
    """All windows that are not empty, of flat `first` and `lengths`."""
    order = None
    if 2 * int(lengths.sum()) < len(lengths) * int(lengths.max(initial=0)):
        order = np.argsort(-lengths, kind="stable")
        order = order[: np.count_nonzero(lengths)]
        first, lengths = first[order], lengths[order]
    longest, start = int(lengths.max(initial=0)), 0
    while start < len(lengths):
        end = start + max(1, BLOCK_ENTRIES // max(1, longest if order is None else int(lengths[start])))
        here: Ints | slice = slice(start, end) if order is None else order[start:end]
        block = Block(here, first[start:end], lengths[start:end], int(lengths[start:end].max()))
        start = end
        if block.lengths.all():
            yield block
        elif block.longest:
            some = np.flatnonzero(block.lengths)
            cells = block.cells.start + some if isinstance(block.cells, slice) else block.cells[some]
            yield Block(cells, block.first[some], block.lengths[some], block.longest)


def per_window(windows: Windows, compute: Callable[[Block], Floats]) -> Floats:
    """What `compute` says of each window, float64[series, steps]; 0 for the empty ones."""
    result = np.zeros(windows.first.shape)
    flat = result.reshape(-1)
    for block in blocks(windows.first.reshape(-1), (windows.last - windows.first).reshape(-1)):
        flat[block.cells] = compute(block)
    return result


def sums(entries: Floats) -> tuple[Floats, Floats]:
    """Of each column of a block the sum from top to bottom, and what its roundings lost (Kahan and Neumaier's sum).

    The lost part means nothing where the sum is not finite: `total` adds the two.
    """
    if len(entries) > entries.shape[1]:
        # few long windows
        so_far = np.add.accumulate(entries, axis=0)
        lost = rounding(so_far[:-1], entries[1:], so_far[1:])
        return so_far[-1], np.add.accumulate(lost, axis=0)[-1] if len(lost) else np.zeros(entries.shape[1])
    total_, lost = np.zeros(entries.shape[1]), np.zeros(entries.shape[1])
    for row in entries:
        next_ = total_ + row
        lost += rounding(total_, row, next_)
        total_ = next_
    return total_, lost


def rounding(left: Floats, right: Floats, sum_: Floats) -> Floats:
    """What `sum_`, rounded, is short of the exact sum (Knuth's TwoSum: exact, whichever is the larger)."""
    of_right = sum_ - left
    lost = sum_ - of_right
    np.subtract(left, lost, out=lost)
    np.subtract(right, of_right, out=of_right)
    lost += of_right
    return lost


def total(entries: Floats) -> Floats:
    """The compensated sum of each column."""
    sum_, lost = sums(entries)
    return np.where(np.isinf(sum_), sum_, sum_ + lost)


@dataclass(frozen=True, slots=True)
class Kinds:
    """Windows of samples of both kinds: those of the floats alone, and how many of each kind a window holds."""

    floats: Windows
    float_counts: Ints
    histogram_counts: Ints | None

    @property
    def mixed(self) -> Bools:
        """Which windows hold both kinds, bool[series, steps]."""
        if self.histogram_counts is None:
            return np.zeros(self.float_counts.shape, np.bool_)
        return (self.float_counts > 0) & (self.histogram_counts > 0)


def kinds(windows: Windows) -> Kinds:
    """Take floats and histograms apart."""
    samples = windows.samples
    if samples.histogram_of is None:
        return Kinds(windows, windows.last - windows.first, None)
    is_float = samples.histogram_of < 0
    floats_before = np.concatenate([[0], np.cumsum(is_float)])
    only_floats = replace(
        samples,
        offsets=floats_before[samples.offsets],
        times=samples.times[is_float],
        values=samples.values[is_float],
        histogram_of=None,
        histograms=None,
    )
    floats = replace(windows, samples=only_floats, first=floats_before[windows.first], last=floats_before[windows.last])
    return Kinds(floats, floats.last - floats.first, histogram_counts(windows))


def answer(labels: list[Labels], values: Floats, present: Bools) -> Matrix:
    """Floats of a new quantity: the metric's name goes."""
    return Matrix([label_sets.drop_name(each) for each in labels], values, present)


def with_histograms(floats: Matrix, histogram_of: Ints, histograms: Histograms) -> Matrix:
    """The same, with histograms where there are any."""
    found = histogram_of >= 0
    if not found.any():
        return floats
    return replace(
        floats, present=floats.present | found, histogram_of=np.where(found, histogram_of, -1), histograms=histograms
    )
