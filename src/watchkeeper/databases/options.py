"""Options of databases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from watchkeeper.environment import ConfigurationError, check_within, number_in


@dataclass(frozen=True)
class DatabaseOptions:
    """When a statement is slow, and when a request that repeats one is said to do so. 0 switches either off.

    Example:
        >>> DatabaseOptions(slow_query_seconds=0.2, n_plus_one=20)
    """

    slow_query_seconds: float = 0.5
    n_plus_one: int = 10  # executions of one statement within one request

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> DatabaseOptions:
        """Options for a deployment."""
        milliseconds = number_in(environ, "WATCHKEEPER_SLOW_QUERY", cls.slow_query_seconds * 1e3, float)
        return cls(milliseconds / 1e3, number_in(environ, "WATCHKEEPER_N_PLUS_ONE", cls.n_plus_one, int))

    def validate(self) -> None:
        """Raises ConfigurationError for the first option that cannot work."""
        check_within("databases.slow_query_seconds (WATCHKEEPER_SLOW_QUERY)", self.slow_query_seconds, 0.0, 86_400)
        if self.n_plus_one == 1:
            raise ConfigurationError(
                "databases.n_plus_one (WATCHKEEPER_N_PLUS_ONE) is 1, which every statement reaches: use 2 or more, or 0"
                " for none"
            )
        check_within("databases.n_plus_one (WATCHKEEPER_N_PLUS_ONE)", self.n_plus_one, 0, 1_000_000)
