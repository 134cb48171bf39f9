"""What a query is evaluated to: columns of samples come in, matrices over steps go around, results come out.

Everything is columnar, so that evaluation is numpy over whole columns; only what is done once a series is a loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Ints: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Bools: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]

# Never changed in place. No label has an empty value: that is the same as its absence.
Labels: TypeAlias = Mapping[str, str]

METRIC_NAME = "__name__"
# The value that says a series has ended, told from other NaNs by its bits.
STALE_BITS = 0x7FF0000000000002
STALE: float = np.array([STALE_BITS], np.uint64).view(np.float64)[0]


@dataclass(frozen=True, slots=True)
class Steps:
    """The instants a query is evaluated at, Unix milliseconds: `start`, then every `step` up to `end`; one if equal."""

    start: int
    end: int
    step: int

    @property
    def count(self) -> int:
        """How many there are."""
        return (self.end - self.start) // self.step + 1 if self.step else 1

    @property
    def times(self) -> Ints:
        """All of them, int64[count]."""
        return self.start + np.arange(self.count, dtype=np.int64) * self.step


@dataclass(frozen=True, slots=True)
class Histograms:
    """Native histograms as columns, one row each; n rows.

    The buckets of row i are `counts[splits[i]:splits[i + 1]]`, absolute counts; the first has index `offset[i]` in
    Prometheus' numbering: bucket k of schema s is of (2^(2^-s (k-1)), 2^(2^-s k)]. With custom bounds (schema -53)
    there are no negative buckets, and the k-th bucket, from 0, ends at the row's k-th custom value.
    `counter_reset` is 0 unknown, 1 a reset, 2 none, 3 a gauge.
    """

    count: Floats
    sum: Floats
    schema: Ints
    zero_threshold: Floats
    zero_count: Floats
    positive_offset: Ints
    positive_splits: Ints
    positive_counts: Floats
    negative_offset: Ints
    negative_splits: Ints
    negative_counts: Floats
    custom_splits: Ints
    custom_values: Floats
    counter_reset: Ints

    def __len__(self) -> int:
        return len(self.count)


@dataclass(frozen=True, slots=True)
class Samples:
    """Raw samples of series: those of series i are `offsets[i]` to `offsets[i + 1]`, oldest first, no time twice.

    `histogram_of` tells for each sample the row of `histograms` it is, -1 for a float; None where all are floats. Stale
    markers are among the values, also for histograms. `drop_name` is that of the matrix that a subquery's samples are
    of.
    """

    labels: list[Labels]
    offsets: Ints
    times: Ints
    values: Floats
    histogram_of: Ints | None = None
    histograms: Histograms | None = None
    drop_name: Bools | None = None


@dataclass(frozen=True, slots=True)
class Windows:
    """The samples a range function sees: those of series i at step k are `first[i, k]` to `last[i, k]`, int64.

    `samples` hold no stale markers. A window is later than `starts[k]` and not later than `ends[k]`, milliseconds in
    the samples' own time: offset and `@` are applied already. `range` is their length.
    """

    samples: Samples
    first: Ints
    last: Ints
    starts: Ints
    ends: Ints
    range: int


@dataclass(frozen=True, slots=True)
class Matrix:
    """A vector at every step: series by steps. Where `present` is false nothing is said.

    `histogram_of[i, k]` is the row of `histograms` that series i is at step k, -1 for a float; None if all are floats.
    `drop_name` marks series whose metric name goes away at the end (Prometheus 3's delayed removal of names).
    """

    labels: list[Labels]
    values: Floats
    present: Bools
    histogram_of: Ints | None = None
    histograms: Histograms | None = None
    drop_name: Bools | None = None


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number at every step, float64[steps]."""

    values: Floats


@dataclass(frozen=True, slots=True)
class Text:
    """A string."""

    value: str


Value: TypeAlias = Matrix | Scalar | Text


@dataclass(frozen=True, slots=True)
class Result:
    """What a query came to, at `steps`, and what its author should know.

    `value` is `Samples` where an instant query asks for a range vector (`up[5m]`).
    """

    value: Value | Samples
    steps: Steps
    warnings: list[str] = field(default_factory=list)
    infos: list[str] = field(default_factory=list)
