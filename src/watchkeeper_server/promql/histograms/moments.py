"""Mean and spread of the observations of native histograms."""

from __future__ import annotations

from watchkeeper_server.promql.values import Floats, Histograms


def avg(h: Histograms) -> Floats:
    """Row by row the mean of the observations."""
    raise NotImplementedError


def stddev(h: Histograms) -> Floats:
    """Row by row the estimated standard deviation of the observations."""
    raise NotImplementedError


def stdvar(h: Histograms) -> Floats:
    """Row by row the estimated variance of the observations."""
    raise NotImplementedError
