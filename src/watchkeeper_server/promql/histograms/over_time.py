"""Functions of windows that hold native histograms.

`rate` and its like answer as a `Matrix` does: `histogram_of[series, steps]`, the row of the histograms there, -1 for
nothing. A window that holds both floats and histograms has no answer, and a warning says so.
"""

from __future__ import annotations

from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.values import Floats, Histograms, Ints, Windows


def histogram_counts(windows: Windows) -> Ints:
    """How many histograms each window holds, int64[series, steps]; the rest are floats."""
    raise NotImplementedError


def rate(windows: Windows, context: Context) -> tuple[Ints, Histograms]:
    """`rate`."""
    raise NotImplementedError


def increase(windows: Windows, context: Context) -> tuple[Ints, Histograms]:
    """`increase`."""
    raise NotImplementedError


def delta(windows: Windows, context: Context) -> tuple[Ints, Histograms]:
    """`delta`."""
    raise NotImplementedError


def irate(windows: Windows, context: Context) -> tuple[Ints, Histograms]:
    """`irate`; windows whose last two samples are floats are left to the caller."""
    raise NotImplementedError


def idelta(windows: Windows, context: Context) -> tuple[Ints, Histograms]:
    """`idelta`; windows whose last two samples are floats are left to the caller."""
    raise NotImplementedError


def sum_over_time(windows: Windows, context: Context) -> tuple[Ints, Histograms]:
    """`sum_over_time`."""
    raise NotImplementedError


def avg_over_time(windows: Windows, context: Context) -> tuple[Ints, Histograms]:
    """`avg_over_time`."""
    raise NotImplementedError


def changes(windows: Windows) -> Floats:
    """`changes` of windows of floats, histograms or both, float64[series, steps]; 0 for an empty window."""
    raise NotImplementedError


def resets(windows: Windows) -> Floats:
    """`resets` of windows of floats, histograms or both, float64[series, steps]; 0 for an empty window."""
    raise NotImplementedError
