"""Sums of many numbers into many places at once."""

from __future__ import annotations

import numpy as np

from watchkeeper_server.promql.values import Floats, Ints


def summed(places: Ints, values: Floats, size: int) -> Floats:
    """The sum of the values of each place, added in their order, float64[size]."""
    return np.asarray(np.bincount(places, values, size), np.float64)  # of nothing it makes integers


@np.errstate(all="ignore")
def summed_exactly(places: Ints, values: Floats, size: int) -> Floats:
    """The sum of the values of each place, rounded only at the end, float64[size].

    From all values of a place their leading bits are taken, as many as can be added without rounding, again and again
    until nothing is left: the extraction of Rump, Ogita and Oishi, "Accurate floating-point summation" (2008).
    """
    total = summed(places, values, size)
    exact = np.isfinite(_unit(places, values, size))
    rest = values if exact.all() else np.where(exact[places], values, 0.0)
    parts = []
    while rest.any():
        unit = _unit(places, rest, size)[places]
        leading = (unit + rest) - unit
        parts.append(summed(places, leading, size))
        rest = rest - leading
    return np.where(exact, sum(reversed(parts), np.zeros(size)), total)


def _unit(places: Ints, values: Floats, size: int) -> Floats:
    """What cuts the values of each place: so far above their sum that signs do not matter. NaN if there is none."""
    reach = summed(places, np.abs(values), size)
    return np.where(np.isfinite(reach), np.ldexp(1.5, np.frexp(reach)[1] + 1), np.nan)
