"""The metrics that integrations share, one class a subject; `database()` and its like give the one object of each.

A set is declared when it is first asked for: a process without a queue exposes nothing of queues. `status` is `ok` or
`error` (or more exact: an HTTP status), durations are in seconds. Nothing here raises into the application.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from watchkeeper.metrics.batches import Batches
from watchkeeper.metrics.computed import PerMinute, Ratios
from watchkeeper.metrics.declare import Counter, Histogram, declarations
from watchkeeper.metrics.exemplars import moment
from watchkeeper.metrics.standard import standard_counter, standard_gauge, standard_histogram

QUERY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CALL_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
MOST_SERIES = 1_000  # kept at hand, of those that are counted often
LONG_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)


_Query = tuple[str, str, str]  # operation, table, status


class ExternalApis:
    """Calls of other services. `operation` is of bounded variety: a method and a template, or a name."""

    def __init__(self) -> None:
        self._calls = standard_counter(
            "external_api_calls_total", "Calls of other services", ["service", "operation", "status"]
        )
        self._seconds = standard_histogram(
            "external_api_duration_seconds", "Time such a call took", ["service", "operation"], CALL_BUCKETS
        )
        self._series: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}

    def call(self, service: str, operation: str, status: str, seconds: float) -> None:
        """Counts a call that ended."""
        key = (service, operation, status)
        found = self._series.get(key)
        if found is None:
            found = self._calls.labels(*key), self._seconds.labels(service, operation)
            if len(self._series) < MOST_SERIES:
                self._series[key] = found
        calls, durations = found
        calls.inc()
        durations.observe(seconds)


class Llms:
    """Calls of language models."""

    def __init__(self) -> None:
        kind = ["provider", "model", "operation"]
        self._calls = standard_counter("llm_calls_total", "Calls of language models", [*kind, "status"])
        self._seconds = standard_histogram("llm_call_duration_seconds", "Time such a call took", kind, LONG_BUCKETS)
        self._tokens = standard_counter(
            "llm_tokens_total", "Tokens read (input) and written (output)", ["model", "type"]
        )
        self._cost = standard_counter("llm_cost_usd_total", "What the calls cost, in US dollars", ["model"])

    def call(self, provider: str, model: str, operation: str, status: str, seconds: float) -> None:
        """Counts a call that ended."""
        self._calls.labels(provider, model, operation, status).inc()
        self._seconds.labels(provider, model, operation).observe(seconds)

    def tokens(self, model: str, kind: str, count: int) -> None:
        """Counts tokens; `kind` is `input` or `output`, or a provider's further one such as `cached`."""
        self._tokens.labels(model, kind).inc(count)

    def cost(self, model: str, dollars: float) -> None:
        """Adds to the bill."""
        self._cost.labels(model).inc(dollars)


class McpTools:
    """Tools of an MCP server."""

    def __init__(self) -> None:
        self._invocations = standard_counter("mcp_tool_invocations_total", "Invocations of tools", ["tool", "status"])
        self._seconds = standard_histogram("mcp_tool_duration_seconds", "Time a tool took", ["tool"], LONG_BUCKETS)
        self._errors = standard_counter("mcp_tool_errors_total", "Invocations that failed", ["tool", "type"])
        self._hits = standard_counter("mcp_tool_cache_hits_total", "Answers from the tool's cache", ["tool"])
        self._misses = standard_counter("mcp_tool_cache_misses_total", "Answers the cache did not have", ["tool"])

    def invocation(self, tool: str, seconds: float, error_type: str = "") -> None:
        """Counts an invocation that ended; an error's type makes it a failed one."""
        self._invocations.labels(tool, "error" if error_type else "ok").inc()
        self._seconds.labels(tool).observe(seconds)
        if error_type:
            self._errors.labels(tool, error_type).inc()

    def cached(self, tool: str, *, hit: bool) -> None:
        """Counts a look into the tool's cache."""
        (self._hits if hit else self._misses).labels(tool).inc()


class Database:
    """Queries. `operation` is the statement's verb, `table` the first it names, or empty.

    Pools of connections are `watchkeeper.databases.pools`, which reads them when it is asked.
    """

    def __init__(self) -> None:
        self._series: dict[_Query, tuple[Counter, Histogram]] = {}
        self._batches: Batches[_Query] = Batches(declarations.standard, self._count)
        what = ["operation", "table"]
        self._queries = standard_counter("db_queries_total", "Queries", [*what, "status"])
        self._seconds = standard_histogram("db_query_duration_seconds", "Time a query took", what, QUERY_BUCKETS)
        self._errors = standard_counter("db_query_errors_total", "Queries that failed", [*what, "type"])
        self._slow = standard_counter("db_slow_queries_total", "Queries slower than the threshold", what)
        self._n_plus_one = standard_counter(
            "db_n_plus_one_total", "Requests that repeated one query for each of many rows", ["route"]
        )

    def query(
        self,
        operation: str,
        table: str,
        seconds: float,
        *,
        error_type: str = "",
        cancelled: bool = False,
        slow: bool = False,
        span: Any = None,
    ) -> None:
        """Counts a query that ended, in a span; an error's type makes it a failed one, a cancellation does not."""
        status = "error" if error_type else "cancelled" if cancelled else "ok"
        self._batches.add((operation, table, status), seconds, span)
        if error_type:
            self._errors.labels(operation, table, error_type).inc()
        if slow:
            self._slow.labels(operation, table).inc()

    def _count(self, kind: _Query, seconds: Sequence[float], spans: Sequence[Any]) -> None:
        found = self._series.get(kind)
        if found is None:
            found = self._queries.labels(*kind), self._seconds.labels(*kind[:2])
            if len(self._series) < MOST_SERIES:
                self._series[kind] = found
        queries, durations = found
        queries.inner.inc(len(seconds))
        queries.inner.exemplar = moment(spans[-1], len(seconds)) or queries.inner.exemplar
        durations.inner.observe_many(seconds, spans)

    def n_plus_one(self, route: str) -> None:
        """Counts a request that repeated a query for each row."""
        self._n_plus_one.labels(route).inc()


class Cache:
    """Caches, each by a name of its own."""

    def __init__(self) -> None:
        self._operations = standard_counter("cache_operations_total", "Operations", ["operation", "result"])
        self._hits = standard_counter("cache_hits_total", "Values that were there", ["cache"])
        self._misses = standard_counter("cache_misses_total", "Values that were not there", ["cache"])
        self._size = standard_gauge("cache_size_entries", "Values in the cache", ["cache"])
        self._memory = standard_gauge("cache_memory_usage_bytes", "Memory the cache takes", ["cache"])
        self._evictions = standard_counter("cache_evictions_total", "Values that had to make room", ["cache"])
        declarations.computed("cache_hit_ratio", self._ratio)

    def _ratio(self) -> Ratios:
        doc = "Hits among all look-ups since the process started"
        return Ratios("cache_hit_ratio", doc, self._hits, self._misses)

    def operation(self, operation: str, result: str, cache: str = "default", count: int = 1) -> None:
        """Counts an operation; of a look-up the result is `hit` or `miss`, else `ok` or `error`.

        `count` is how many keys were looked up at once, or how many operations were alike.
        """
        self._operations.labels(operation, result).inc(count)
        if result == "hit":
            self._hits.labels(cache).inc(count)
        elif result == "miss":
            self._misses.labels(cache).inc(count)

    def state(self, cache: str, *, entries: int | None = None, memory_bytes: int | None = None) -> None:
        """Says what a cache is like now, as far as it is known."""
        if entries is not None:
            self._size.labels(cache).set(entries)
        if memory_bytes is not None:
            self._memory.labels(cache).set(memory_bytes)

    def evicted(self, count: int, cache: str = "default") -> None:
        """Counts values that had to make room."""
        self._evictions.labels(cache).inc(count)


class Queues:
    """Message queues and those who work for them. `action` is `publish`, `receive` or `process`."""

    def __init__(self) -> None:
        self._messages = standard_counter("queue_messages_total", "Messages", ["queue", "action", "status"])
        self._seconds = standard_histogram(
            "queue_processing_duration_seconds", "Time a message's processing took", ["queue"], LONG_BUCKETS
        )
        self._depth = standard_gauge("queue_depth", "Messages that wait", ["queue"], shared=True)
        self._dead = standard_gauge("queue_dead_letters", "Messages that were given up", ["queue"], shared=True)
        self._workers = standard_gauge("queue_workers", "Workers by state", ["state"])
        self._retries = standard_counter("queue_retries_total", "Messages that were tried again", ["queue"])

    def message(self, queue: str, action: str, status: str, seconds: float | None = None, count: int = 1) -> None:
        """Counts a message, with the time its processing took; or `count` of them that came or went together."""
        self._messages.labels(queue, action, status).inc(count)
        if seconds is not None:
            self._seconds.labels(queue).observe(seconds)

    def state(self, queue: str, *, depth: float | None = None, dead_letters: float | None = None) -> None:
        """Says what a queue is like now, as far as it is known; NaN where it was and is no longer."""
        if depth is not None:
            self._depth.labels(queue).set(depth)
        if dead_letters is not None:
            self._dead.labels(queue).set(dead_letters)

    def workers(self, state: str, count: int) -> None:
        """Says how many workers are in a state now, such as `busy` or `idle`."""
        self._workers.labels(state).set(count)

    def retried(self, queue: str) -> None:
        """Counts a message that is tried again."""
        self._retries.labels(queue).inc()


class Errors:
    """Errors that were captured, by category and severity."""

    def __init__(self) -> None:
        self._errors = standard_counter("errors_total", "Errors", ["category", "severity"])
        name = "error_rate_per_minute"
        self._rate = declarations.computed(name, lambda: PerMinute(name, "Errors of the last minute"))

    def error(self, category: str, severity: str) -> None:
        """Counts an error."""
        self._errors.labels(category, severity).inc()
        self._rate.count()


external_apis = functools.cache(ExternalApis)
llms = functools.cache(Llms)
mcp_tools = functools.cache(McpTools)
database = functools.cache(Database)
cache = functools.cache(Cache)
queues = functools.cache(Queues)
errors = functools.cache(Errors)
