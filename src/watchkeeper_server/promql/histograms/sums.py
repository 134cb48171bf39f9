"""Sums of many numbers into many places at once."""

from __future__ import annotations

import numpy as np

from watchkeeper_server.promql.values import Floats, Ints


def summed(places: Ints, values: Floats, size: int) -> Floats:
    """The sum of the values of each place, added in their order, float64[size]."""
    return np.bincount(places, values, size)


@np.errstate(all="ignore")
def summed_exactly(places: Ints, values: Floats, size: int) -> Floats:
    """The sum of the values of each place as if added with twice the precision, float64[size].

    Each value is cut into a leading part, of which a whole place's can be added without rounding, and the rest: the
    error-free extraction of Rump, Ogita and Oishi, "Accurate floating-point summation" (2008).
    """
    total = np.bincount(places, values, size)
    magnitudes = np.bincount(places, np.abs(values), size)
    _, exponents = np.frexp(magnitudes)
    unit = np.ldexp(1.0, exponents + 1)
    if not np.isfinite(unit).all():  # infinity, NaN or an overflow: there is nothing to be more exact about
        unit[~np.isfinite(unit)] = 0.0
    cut = unit[places]
    leading = (cut + values) - cut
    exact = np.bincount(places, leading, size) + np.bincount(places, values - leading, size)
    return np.where((magnitudes < np.inf) & (unit > 0), exact, total)
