"""Routes that take PromQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import TypeAlias

import orjson
from typing_extensions import TypedDict

from watchkeeper_server.api.prometheus.answering import Answer
from watchkeeper_server.api.prometheus.errors import RequestError, invalid_parameter, naming
from watchkeeper_server.api.prometheus.parameters import Parameters, parse_seconds
from watchkeeper_server.api.prometheus.queries import PrometheusQueries
from watchkeeper_server.api.prometheus.results import exemplars_json, instant_json, range_json
from watchkeeper_server.promql import printer, tree_json
from watchkeeper_server.promql.errors import QueryTimeoutError
from watchkeeper_server.promql.parser import parse
from watchkeeper_server.promql.tree import Expr, Node, VectorSelector
from watchkeeper_server.promql.values import Result

TRUNCATED = "results truncated due to limit"

_MOST_STEPS = 11_000
_NS_PER_MS = 1_000_000
_NS_PER_SECOND = 1_000_000_000

_Stats: TypeAlias = dict[str, dict[str, float]]


class QueryRoutes:
    """Evaluates queries, and says how they are read."""

    def __init__(
        self,
        queries: PrometheusQueries,
        now_ms: Callable[[], int],
        stopwatch: Callable[[], float],
        *,
        experimental: bool,
    ) -> None:
        """`stopwatch` measures seconds; `experimental` allows what Prometheus has behind feature flags."""
        self._queries = queries
        self._now_ms = now_ms
        self._stopwatch = stopwatch
        self._experimental = experimental

    def query(self, parameters: Parameters) -> Answer:
        """A query at one time, now if none is given."""
        limit = parameters.limit()
        time_ms = parameters.optional_time_ms("time", self._now_ms())
        limits = _limits(parameters)
        return self._evaluated(
            parameters,
            lambda query: self._queries.instant(query, time_ms, **limits),
            lambda result, stats: instant_json(result, limit, stats),
        )

    def query_range(self, parameters: Parameters) -> Answer:
        """A query at every step of a range."""
        limit = parameters.limit()
        start_ms, end_ms = parameters.time_ms("start"), parameters.time_ms("end")
        if end_ms < start_ms:
            raise invalid_parameter("end", "end timestamp must not be before start time")
        step_ms = parameters.duration_ns("step") // _NS_PER_MS
        if step_ms <= 0:
            message = "zero or negative query resolution step widths are not accepted. Try a positive integer"
            raise invalid_parameter("step", message)
        if (end_ms - start_ms) // step_ms > _MOST_STEPS:
            message = f"exceeded maximum resolution of {_MOST_STEPS:,} points per timeseries."
            raise RequestError(f"{message} Try decreasing the query resolution (?step=XX)")
        limits = _limits(parameters, step_ms)
        return self._evaluated(
            parameters,
            lambda query: self._queries.range(query, start_ms, end_ms, step_ms, **limits),
            lambda result, stats: range_json(result, limit, stats),
        )

    def query_exemplars(self, parameters: Parameters) -> Answer:
        """The exemplars of all series that a query selects; nothing where it selects none at all."""
        start_ms, end_ms = parameters.range_ms()
        if end_ms < start_ms:
            raise RequestError("end timestamp must not be before start timestamp")
        selectors = [selector.matchers for selector in _selectors(self._parse(parameters))]
        if not selectors:
            return Answer()
        return Answer(exemplars_json(self._queries.exemplars(selectors, start_ms, end_ms)))

    def format_query(self, parameters: Parameters) -> Answer:
        """The query, laid out well."""
        with naming("query"):
            return Answer(printer.pretty(self._parse(parameters)))

    def parse_query(self, parameters: Parameters) -> Answer:
        """The query as a tree."""
        with naming("query"):
            return Answer(tree_json.to_json(self._parse(parameters)))

    def _parse(self, parameters: Parameters) -> Expr:
        return parse(parameters.text("query"), experimental=self._experimental)

    def _evaluated(
        self,
        parameters: Parameters,
        evaluate: Callable[[str], Result],
        encode: Callable[[Result, _Stats | None], tuple[bytes, bool]],
    ) -> Answer:
        started = self._stopwatch()
        with naming("query"):
            result = evaluate(parameters.text("query"))
        seconds = self._stopwatch() - started
        json, truncated = encode(result, _stats(seconds) if parameters.text("stats") else None)
        warnings = [*result.warnings, *([TRUNCATED] if truncated else [])]
        return Answer(orjson.Fragment(json), warnings, result.infos)


class _Limits(TypedDict):
    lookback_ms: int | None
    timeout_seconds: float | None
    coarsest_ms: int


def _limits(parameters: Parameters, step_ms: int = 0) -> _Limits:
    """What a query may ask for itself instead of what the server does by default."""
    timeout_seconds = None
    if parameters.text("timeout"):
        timeout_seconds = parameters.duration_ns("timeout") / _NS_PER_SECOND
        if timeout_seconds <= 0:
            raise QueryTimeoutError("query timed out in query queue")
    lookback_ms = 0
    if text := parameters.text("lookback_delta"):
        try:
            lookback_ms = parse_seconds(text) // _NS_PER_MS
        except ValueError as error:
            raise RequestError(f"error parsing lookback delta duration: {error}") from error
    return _Limits(
        lookback_ms=lookback_ms if lookback_ms > 0 else None,
        timeout_seconds=timeout_seconds,
        coarsest_ms=_coarsest_ms(parameters, step_ms),
    )


def _coarsest_ms(parameters: Parameters, step_ms: int) -> int:
    """How wide the buckets of rollups may be that stand for samples which are kept; the parameter is Thanos'."""
    text = parameters.text("max_source_resolution")
    if text == "auto":
        return step_ms // 5
    return parameters.duration_ns("max_source_resolution") // _NS_PER_MS if text else 0


def _stats(seconds: float) -> _Stats:
    """How long it took; in Prometheus more of what it took is told apart."""
    return {
        "timings": {
            "evalTotalTime": seconds,
            "resultSortTime": 0,
            "queryPreparationTime": 0,
            "innerEvalTime": seconds,
            "execQueueTime": 0,
            "execTotalTime": seconds,
        }
    }


def _selectors(part: object) -> Iterator[VectorSelector]:
    """All selectors in a part of a tree."""
    if isinstance(part, VectorSelector):
        yield part
    elif isinstance(part, Node):
        for field in fields(part):
            yield from _selectors(getattr(part, field.name))
    elif isinstance(part, tuple):
        for item in part:
            yield from _selectors(item)
