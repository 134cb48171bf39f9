"""What answers PromQL: a query's text in, its result out, within limits of time and of samples."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from watchkeeper_server.model import patience
from watchkeeper_server.promql import labels as label_sets
from watchkeeper_server.promql import selectors
from watchkeeper_server.promql.annotations import Annotations
from watchkeeper_server.promql.checks import type_of
from watchkeeper_server.promql.errors import InvalidQueryError, QueryCanceledError, QueryTimeoutError
from watchkeeper_server.promql.evaluation import Evaluation, unwrapped
from watchkeeper_server.promql.matrices import finished, rows_of
from watchkeeper_server.promql.options import EngineOptions
from watchkeeper_server.promql.parser import parse
from watchkeeper_server.promql.reader import Reader
from watchkeeper_server.promql.tree import Expr, MatrixSelector, Subquery, ValueType
from watchkeeper_server.promql.values import Matrix, Result, Samples, Steps, Value


class Engine:
    """Answers queries over what a reader holds; it keeps nothing between two queries."""

    def __init__(
        self, reader: Reader, options: EngineOptions | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock` is what measures the time a query takes, in seconds."""
        self._reader = reader
        self._options = options or EngineOptions()
        self._clock = clock

    def instant(
        self, query: str, time_ms: int, *, lookback_ms: int | None = None, timeout_seconds: float | None = None
    ) -> Result:
        """The query's value at one time; a vector is in the order that the query gives it.

        Raises:
            QueryError: it has none; the error's class says of which kind the reason is.
        """
        tree = parse(query, experimental=self._options.experimental)
        return self._result(query, tree, Steps(time_ms, time_ms, 0), lookback_ms, timeout_seconds)

    def range(
        self,
        query: str,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        *,
        lookback_ms: int | None = None,
        timeout_seconds: float | None = None,
    ) -> Result:
        """The query's values from start to end, a step apart; series are sorted by their labels.

        Raises:
            QueryError: it has none; the error's class says of which kind the reason is.
        """
        tree = parse(query, experimental=self._options.experimental)
        named = {ValueType.MATRIX: "range vector", ValueType.STRING: "string"}.get(type_of(tree))
        if named:
            message = f'invalid expression type "{named}" for range query, must be Scalar or instant Vector'
            raise InvalidQueryError(message)
        result = self._result(query, tree, Steps(start_ms, end_ms, step_ms), lookback_ms, timeout_seconds)
        if not isinstance(result.value, Matrix):
            return result
        order = np.array(label_sets.order(result.value.labels), np.int64)
        return Result(rows_of(result.value, order), result.steps, result.warnings, result.infos)

    def _result(
        self, query: str, tree: Expr, steps: Steps, lookback_ms: int | None, timeout_seconds: float | None
    ) -> Result:
        options = self._options
        seconds = options.timeout_seconds if timeout_seconds is None else min(timeout_seconds, options.timeout_seconds)
        who = patience.asker()
        if who is not None:
            seconds -= who.waited_seconds()
            if seconds <= 0:
                raise QueryTimeoutError("query timed out in query queue")
        end = self._clock() + seconds

        def check_time() -> None:
            if who is not None and who.gone:
                raise QueryCanceledError("query was canceled in expression evaluation")
            if self._clock() > end:
                raise QueryTimeoutError("query timed out in expression evaluation")

        annotations = Annotations(query)
        evaluation = Evaluation(
            self._reader,
            steps,
            annotations,
            check_time,
            options.lookback_ms if lookback_ms is None else lookback_ms,
            options.most_samples,
            options.most_cells,
            options.default_subquery_step_ms,
            options.delayed_names,
        )
        # division by zero and its like have the answers that IEEE 754 gives
        with np.errstate(all="ignore"), patience.limited_to(seconds):
            value = _answer(evaluation, unwrapped(tree))
        check_time()
        return Result(value, steps, annotations.warnings, annotations.infos)


def _answer(evaluation: Evaluation, tree: Expr) -> Value | Samples:
    if isinstance(tree, MatrixSelector | Subquery):
        return selectors.cut(evaluation.window(tree))
    value = evaluation.value(tree)
    if not isinstance(value, Matrix):
        return value
    value = finished(value)
    some = value.present.any(axis=1)
    return value if some.all() else rows_of(value, np.flatnonzero(some))
