"""`</` and `>/`: only the observations below or above a value."""

from __future__ import annotations

from watchkeeper_server.promql.values import Floats, Histograms


def trim_upper(h: Histograms, limits: Floats) -> Histograms:
    """Row by row `h </ limit`: the observations that are at most the limit."""
    raise NotImplementedError


def trim_lower(h: Histograms, limits: Floats) -> Histograms:
    """Row by row `h >/ limit`: the observations above the limit."""
    raise NotImplementedError
