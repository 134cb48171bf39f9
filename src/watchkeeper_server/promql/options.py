"""The engine's options."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """The limits and habits of an engine.

    A vector selector sees samples at most `lookback_ms` old, and selects at most `most_series` series. A query may hold
    `most_samples` at once, those it has read among them, in matrices of `most_cells` (series times steps, whatever is
    there), and take `timeout_seconds`.
    Subqueries without a step have the default one. `experimental` allows what Prometheus allows by a feature flag;
    `delayed_names` keeps metrics' names until the end, which is a flag of its own.
    """

    lookback_ms: int = 300_000
    most_series: int = 500_000
    most_samples: int = 50_000_000
    most_cells: int = 20_000_000
    timeout_seconds: float = 120.0
    experimental: bool = False
    delayed_names: bool = False
    default_subquery_step_ms: int = 60_000
