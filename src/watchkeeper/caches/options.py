"""Options of caches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from watchkeeper.environment import ConfigurationError, check_within, number_in

SHORTEST = 15.0


@dataclass(frozen=True)
class CacheOptions:
    """How often each Redis that is used is asked for its entries, memory and evictions. 0: never.

    Example:
        >>> CacheOptions(state_seconds=30)
    """

    state_seconds: float = 0.0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> CacheOptions:
        """Options for a deployment."""
        return cls(number_in(environ, "WATCHKEEPER_CACHE_STATE", cls.state_seconds * 1e3, float) / 1e3)

    def validate(self) -> None:
        """Raises ConfigurationError for the first option that cannot work."""
        name = "caches.state_seconds (WATCHKEEPER_CACHE_STATE, in ms)"
        if 0 < self.state_seconds < SHORTEST:
            raise ConfigurationError(
                f"{name} is {self.state_seconds:g} s: every process asks, so use {SHORTEST:g} s or more, or 0 for never"
            )
        check_within(name, self.state_seconds, 0.0, 86_400)
