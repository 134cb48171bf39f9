"""A Redis or Valkey server: whether it answers, its memory, its hit rate and its evictions."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from watchkeeper.environment import ConfigurationError, check_number
from watchkeeper.health.checks.asking import settled
from watchkeeper.health.checks.urls import url_in
from watchkeeper.health.options import LONGEST_TIMEOUT
from watchkeeper.health.registry import checked, registry
from watchkeeper.health.results import HealthResult, worst

SLOW_SECONDS = 0.1
FULL = 0.9
_LIBRARIES = ("redis", "valkey")


class Cache:
    """Asks a client. Unhealthy if it does not answer; degraded if it is slow, misses too often, or will refuse writes.

    `open_client` gives the client; `close` says that it is closed again.
    """

    def __init__(
        self,
        open_client: Callable[[], Any],
        slow_seconds: float = SLOW_SECONDS,
        hit_rate: float = 0.0,
        *,
        close: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._open = open_client
        self._slow = slow_seconds
        self._hit_rate = hit_rate
        self._close = close
        self._clock = clock
        self._before: Mapping[str, Any] | None = None

    def __call__(self) -> Any:
        """A result, or an awaitable of one if the client is asyncio's."""
        client = self._open()
        try:
            started = self._clock()
            answer = client.ping()
            if hasattr(answer, "__await__"):
                return self._waited(client, answer, started)
            took = self._clock() - started
            try:
                info = client.info()
            except Exception as error:  # noqa: BLE001  # raised again, unless it is an answer
                info = _untold(error)
            return self._judged(took, info)
        finally:
            if self._close:
                client.close()

    async def _waited(self, client: Any, answer: Any, started: float) -> HealthResult:
        await settled(answer)
        took = self._clock() - started
        try:
            info = await settled(client.info())
        except Exception as error:  # noqa: BLE001  # likewise
            info = _untold(error)
        return self._judged(took, info)

    def _judged(self, took: float, info: Mapping[str, Any]) -> HealthResult:
        found = [HealthResult(details={"ping_seconds": round(took, 6)}), self._memory(info), self._use(info)]
        if took >= self._slow:
            found.append(HealthResult("degraded", f"PING took {took:.3f} s, the limit is {self._slow:g} s"))
        return worst(*found)

    def _memory(self, info: Mapping[str, Any]) -> HealthResult:
        if "used_memory" not in info:  # a cluster's answers, one a node
            return HealthResult()
        used, limit = int(info["used_memory"]), int(info.get("maxmemory", 0))
        details: dict[str, Any] = {"memory_bytes": used, "memory_limit_bytes": limit}
        if not limit:
            return HealthResult(details=details)
        details["memory"] = round(used / limit, 4)
        # A cache that evicts is meant to be full; one that does not refuses writes when it is.
        if used < FULL * limit or info.get("maxmemory_policy") != "noeviction":
            return HealthResult(details=details)
        return HealthResult("degraded", f"memory: {used / limit:.0%} used, and nothing is evicted", details)

    def _use(self, info: Mapping[str, Any]) -> HealthResult:
        """Hits, misses and evictions since the last look."""
        before, self._before = self._before, info
        if before is None or not {"keyspace_hits", "keyspace_misses", "evicted_keys"} <= info.keys() & before.keys():
            return HealthResult()
        hits, misses, evicted = (
            max(0, int(info[name]) - int(before[name])) for name in ("keyspace_hits", "keyspace_misses", "evicted_keys")
        )
        details: dict[str, Any] = {"evictions": evicted}
        if not hits + misses:
            return HealthResult(details=details)
        rate = hits / (hits + misses)
        details["hit_rate"] = round(rate, 4)
        if rate >= self._hit_rate:
            return HealthResult(details=details)
        return HealthResult("degraded", f"the hit rate is {rate:.0%}, the limit is {self._hit_rate:.0%}", details)


def _untold(error: Exception) -> Mapping[str, Any]:
    """Nothing, where the server has answered that it does not tell this user; else what went wrong is raised."""
    if any(base.__name__ == "ResponseError" for base in type(error).__mro__):  # of either library
        return {}
    raise error


def check_cache(
    client: Any,
    name: str = "cache",
    *,
    critical: bool = False,
    timeout: float = LONGEST_TIMEOUT,
    weight: float | None = None,
    interval: float | None = None,
    slow_seconds: float = SLOW_SECONDS,
    hit_rate: float = 0.0,
) -> None:
    """Checks Redis or Valkey by PING and INFO.

    `client` is one of redis-py or valkey-py, sync or asyncio's, or a URL (redis://…, rediss://…). A PING slower than
    `slow_seconds`, a share of hits below `hit_rate` (0 to 1) since the last check, and nine tenths of the memory where
    nothing is evicted are degraded. `critical`, `timeout`, `weight` and `interval` are those of `health_check`.

    Example:
        >>> import watchkeeper as wk
        >>> wk.check_cache(redis.Redis(), hit_rate=0.5)
    """
    secret = ""
    check_number(f"slow_seconds of health check {name!r}", slow_seconds)
    check_number(f"hit_rate of health check {name!r}", hit_rate)
    if isinstance(client, str):
        parts = url_in(client, "check_cache")
        if parts.scheme not in {"redis", "rediss", "valkey", "valkeys", "unix"}:
            raise ConfigurationError(
                f"check_cache got a URL that begins with {parts.scheme!r}: use redis://, rediss:// or unix://"
            )
        secret = unquote(parts.password or "")
        url = client
        function = Cache(lambda: _connected(url, timeout), slow_seconds, hit_rate, close=True)
    elif hasattr(client, "ping") and hasattr(client, "info"):
        function = Cache(lambda: client, slow_seconds, hit_rate)
    else:
        raise ConfigurationError(
            f"check_cache got a {type(client).__name__}: give it a client of redis or valkey, or a URL (redis://…)"
        )
    registry.add(
        checked(
            name,
            function,
            critical=critical,
            timeout=timeout,
            weight=weight,
            interval=interval,
            kind="datastore",
            secrets=(secret,),
        )
    )


def _connected(url: str, timeout_seconds: float) -> Any:
    """A client of its own, of the first library that the application has."""
    for name in _LIBRARIES:
        try:
            library = importlib.import_module(name)
        except ImportError:
            continue
        return library.from_url(url, socket_timeout=timeout_seconds, socket_connect_timeout=timeout_seconds)
    raise ImportError(f"no client is installed: install {' or '.join(_LIBRARIES)}")
