"""The options of Prometheus' HTTP API."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PrometheusApiOptions:
    """What the API allows: `admin` the routes that delete, `experimental` what Prometheus has behind feature flags."""

    admin: bool = False
    experimental: bool = False
