"""Quantiles and fractions of native histograms."""

from __future__ import annotations

from watchkeeper_server.promql.values import Bools, Floats, Histograms


def quantile(q: Floats | float, h: Histograms) -> tuple[Floats, Bools, Bools]:
    """Row by row the q-quantile.

    The masks say of which rows an info is due: those whose result is NaN because of NaN observations, and those whose
    result is skewed higher by them.
    """
    raise NotImplementedError


def fraction(lower: Floats | float, upper: Floats | float, h: Histograms) -> tuple[Floats, Bools]:
    """Row by row the part of the observations between the bounds.

    The mask says of which rows an info is due: those with NaN observations, which are in no part.
    """
    raise NotImplementedError
