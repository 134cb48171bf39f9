"""The evaluation of one query: its tree once, for all steps together.

What does not depend on the step (everything under `@`) is evaluated at the first one and repeated. Samples that more
than one selector asks for are read once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from watchkeeper_server.promql import selectors
from watchkeeper_server.promql.aggregations import aggregate
from watchkeeper_server.promql.annotations import Annotations
from watchkeeper_server.promql.binary import binary
from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.counter_resets import of_statistics, with_resets
from watchkeeper_server.promql.durations import resolve
from watchkeeper_server.promql.errors import ExecutionError, TooManySamplesError
from watchkeeper_server.promql.extended import extended_windows, smoothed_vector
from watchkeeper_server.promql.functions import INSTANT, OVER_RANGE, remarks
from watchkeeper_server.promql.histograms import scale
from watchkeeper_server.promql.info import info
from watchkeeper_server.promql.labels import drop_name
from watchkeeper_server.promql.matrices import marked, merged, repeated, require_different, with_names, without_names
from watchkeeper_server.promql.reader import Reader
from watchkeeper_server.promql.tree import (
    Aggregation,
    AtModifier,
    Binary,
    Call,
    Duration,
    Expr,
    Matcher,
    MatchOp,
    MatrixSelector,
    Number,
    Paren,
    String,
    Subquery,
    Unary,
    VectorSelector,
)
from watchkeeper_server.promql.values import (
    METRIC_NAME,
    Bools,
    Ints,
    Labels,
    Matrix,
    Samples,
    Scalar,
    Steps,
    Text,
    Value,
    Windows,
)

# Their answers change with the step even where their arguments do not.
_OF_THE_STEP = frozenset(
    {
        *("days_in_month", "day_of_month", "day_of_week", "day_of_year", "hour", "minute", "month", "year"),
        *("predict_linear", "time", "timestamp"),
    }
)


@dataclass(slots=True)
class Evaluation:
    """One query's evaluation; `steps` are the query's own, `check_time` raises once it has taken too long."""

    reader: Reader
    steps: Steps
    annotations: Annotations
    check_time: Callable[[], None]
    lookback_ms: int
    most_samples: int
    most_cells: int
    default_subquery_step_ms: int
    delayed_names: bool
    # nodes whose value is the same at each step, by their id
    _constant: set[int] = field(default_factory=set)
    # selectors of whose histograms only counts and sums are asked, by their id
    _of_statistics: frozenset[int] = frozenset()
    _read: dict[tuple[tuple[Matcher, ...], int, int], Samples] = field(default_factory=dict)
    _loaded: int = 0
    _held: int = 0

    def value(self, tree: Expr) -> Value:
        """The value of a query's whole tree.

        Raises:
            QueryError: it has none.
        """
        self._mark_constant(tree)
        self._of_statistics = of_statistics(tree)
        return self._value(tree, self.steps)

    def window(self, tree: MatrixSelector | Subquery) -> Windows:
        """The windows of a query that is a range vector.

        Raises:
            QueryError: there are none.
        """
        self._mark_constant(tree)
        return self._windows(tree, self.steps, None)

    def _mark_constant(self, node: Expr) -> bool:
        """Find the nodes whose value is the same at each step; whether this is one."""
        match node:
            case Number() | String():
                return True
            case VectorSelector():
                constant = node.at is not None
            case MatrixSelector():
                constant = node.selector.at is not None
            case Subquery():
                self._mark_constant(node.expr)
                constant = node.at is not None
            case Call():
                parts = [self._mark_constant(arg) for arg in node.args]
                constant = all(parts) and node.function not in _OF_THE_STEP
            case Aggregation():
                parts = [self._mark_constant(part) for part in (node.expr, node.param) if part is not None]
                constant = all(parts)
            case Binary():
                parts = [self._mark_constant(side) for side in (node.left, node.right)]
                constant = all(parts)
            case Unary() | Paren():
                constant = self._mark_constant(node.expr)
        if constant:
            self._constant.add(id(node))
        return constant

    def _value(self, node: Expr, steps: Steps) -> Value:
        self.check_time()
        node = unwrapped(node)
        if id(node) in self._constant and steps.count > 1:
            return _repeated(self._value(node, Steps(steps.start, steps.start, steps.step)), steps.count)
        held = self._held
        value = self._evaluated(node, steps)
        self.check_time()
        # the operands are gone, the value stays
        self._held = held
        self._hold(value.present if isinstance(value, Matrix) else np.ones(steps.count, np.bool_))
        return value

    def _evaluated(self, node: Expr, steps: Steps) -> Value:  # noqa: PLR0911  one for each kind of node
        match node:
            case Number():
                return Scalar(np.full(steps.count, node.value))
            case String():
                return Text(node.value)
            case VectorSelector():
                if (grid := self._grid("last", node, self.lookback_ms, steps)) is not None:
                    return grid
                return self._selected(node, steps)
            case Unary():
                return self._unary(node, steps)
            case Binary():
                return self._binary(node, steps)
            case Aggregation():
                return self._aggregation(node, steps)
            case Call():
                return self._call(node, steps)
            case MatrixSelector() | Subquery() | Paren():
                raise AssertionError("windows have a way of their own, parentheses are taken off")

    def _selected(self, node: VectorSelector, steps: Steps) -> Matrix:
        times, lookback = self._times(node, steps), self.lookback_ms
        if node.smoothed:
            samples = self._samples(node, times, lookback, after=lookback)
            context = Context(steps, self.annotations, node.span, (), self.most_cells)
            return smoothed_vector(samples, times, lookback, context)
        return selectors.vector(self._samples(node, times, lookback), times, lookback)

    def _matrix(self, node: Expr, steps: Steps) -> Matrix:
        value = self._value(node, steps)
        assert isinstance(value, Matrix)  # noqa: S101  the parser saw to it
        return value

    def _hold(self, present: Bools) -> None:
        self._held += int(np.count_nonzero(present))
        self._require(self._loaded + self._held)

    def _require(self, samples: int) -> None:
        if samples > self.most_samples:
            raise TooManySamplesError

    def _require_cells(self, cells: int) -> None:
        if cells > self.most_cells:
            raise TooManySamplesError

    def _unary(self, node: Unary, steps: Steps) -> Value:
        value = self._value(node.expr, steps)
        if node.op == "+":
            return value
        if isinstance(value, Scalar):
            return Scalar(-value.values)
        assert isinstance(value, Matrix)  # noqa: S101  the parser saw to it
        histograms = value.histograms
        if histograms is not None:
            histograms = scale(histograms, np.full(len(histograms), -1.0))
        negative = replace(value, values=-value.values, histograms=histograms)
        return without_names(negative, delayed=self.delayed_names)

    def _binary(self, node: Binary, steps: Steps) -> Value:
        left, right = self._value(node.left, steps), self._value(node.right, steps)
        assert not isinstance(left, Text)  # noqa: S101  the parser saw to it
        assert not isinstance(right, Text)  # noqa: S101  likewise
        context = Context(steps, self.annotations, node.span, (), self.most_cells)
        return binary(node, left, right, context, delayed_names=self.delayed_names)

    def _aggregation(self, node: Aggregation, steps: Steps) -> Value:
        parts = [unwrapped(part) for part in (node.expr, node.param) if part is not None]
        param = None if node.param is None else self._value(parts[1], steps)
        assert not isinstance(param, Matrix)  # noqa: S101  the parser saw to it
        context = Context(steps, self.annotations, node.span, tuple(part.span for part in parts), self.most_cells)
        return aggregate(node, self._matrix(parts[0], steps), param, context)

    def _call(self, node: Call, steps: Steps) -> Value:
        args = [unwrapped(arg) for arg in node.args]
        special = self._special(node.function, args, steps)
        if special is not None:
            return special
        context = Context(steps, self.annotations, node.span, tuple(arg.span for arg in args), self.most_cells)
        over = [arg for arg in args if isinstance(arg, MatrixSelector | Subquery)]
        rest = [self._value(arg, steps) for arg in args if not isinstance(arg, MatrixSelector | Subquery)]
        if not over:
            value: Value = INSTANT[node.function](context, rest)
            return merged(self._renamed(node.function, value, rest)) if isinstance(value, Matrix) else value
        numbers = [value for value in rest if not isinstance(value, Matrix)]
        matrix = None if numbers else self._of_grid(node.function, over[0], steps, context)
        if matrix is None:
            windows = self._windows(over[0], steps, node.function)
            matrix = OVER_RANGE[node.function](context, windows, numbers)
            if self.delayed_names:
                samples = windows.samples
                dropped = np.zeros(len(samples.labels), np.bool_) if samples.drop_name is None else samples.drop_name
                matrix = with_names(matrix, samples.labels, dropped)
        require_different(matrix)
        return matrix

    def _renamed(self, function: str, made: Matrix, args: Sequence[Value]) -> Matrix:
        """What a function made of its arguments; if names are to be dropped at the end, with those it has dropped."""
        vector = next((arg for arg in args if isinstance(arg, Matrix)), None)
        if not self.delayed_names or vector is None:
            return made
        if function not in {"label_replace", "label_join"}:
            return with_names(made, vector.labels, marked(vector))
        if args[1] != Text(METRIC_NAME):
            return made
        # a name given on purpose stays
        untouched = [new is old for new, old in zip(made.labels, vector.labels, strict=True)]
        return replace(made, drop_name=marked(vector) & np.array(untouched, np.bool_))

    def _of_grid(self, function: str, arg: Expr, steps: Steps, context: Context) -> Matrix | None:
        """What the reader itself makes of a function over a range, as the function would."""
        if not isinstance(arg, MatrixSelector):
            return None
        matrix = self._grid(function, arg.selector, self._positive(arg.range), steps)
        if matrix is None or function == "last_over_time":
            return matrix
        if function in ("rate", "increase"):
            remarks.maybe_no_counter(context, matrix.labels, matrix.present)
        if self.delayed_names:
            return replace(matrix, drop_name=np.ones(len(matrix.labels), np.bool_))
        return replace(matrix, labels=[*map(drop_name, matrix.labels)])

    def _grid(self, function: str, node: VectorSelector, window: int, steps: Steps) -> Matrix | None:
        if node.at is not None or node.anchored or node.smoothed:
            return None
        offset = self._resolve(node.offset)
        there = Steps(steps.start - offset, steps.end - offset, steps.step)
        self.check_time()
        return self.reader.grid(function, node.matchers, there, window)

    def _special(self, function: str, args: Sequence[Expr], steps: Steps) -> Value | None:
        """The value of a call that needs more than the values of its arguments; None if this is not one."""
        match function, args:
            case "timestamp", [VectorSelector() as selector]:
                return self._sample_times(selector, steps)
            case "absent", [vector]:
                return _where_absent(vector, self._matrix(vector, steps).present)
            case "absent_over_time", [(MatrixSelector() | Subquery()) as range_]:
                windows = self._windows(range_, steps, function)
                return _where_absent(range_, windows.last > windows.first)
            case "info", _:
                return self._info(args, steps)
            case (("start" | "end" | "range" | "step"), _):
                whole = self.steps
                milliseconds = {"start": whole.start, "end": whole.end, "range": whole.end - whole.start}
                return Scalar(np.full(steps.count, milliseconds.get(function, whole.step) / 1000))
        return None

    def _sample_times(self, selector: VectorSelector, steps: Steps) -> Matrix:
        times = self._times(selector, steps)
        samples = self._select(selector.matchers, times, self.lookback_ms)
        place, present = selectors.last_samples(samples, times, self.lookback_ms)
        values = samples.times[place] / 1000 if len(samples.times) else np.zeros(place.shape)
        return without_names(Matrix(samples.labels, values, present), delayed=self.delayed_names)

    def _info(self, args: Sequence[Expr], steps: Steps) -> Value:
        matchers = args[1].matchers if len(args) > 1 and isinstance(args[1], VectorSelector) else ()

        def select(wanted: Sequence[Matcher]) -> Samples:
            return self._select(tuple(wanted), steps.times, self.lookback_ms)

        return merged(info(self._matrix(args[0], steps), matchers, steps.times, self.lookback_ms, select))

    def _windows(self, node: MatrixSelector | Subquery, steps: Steps, function: str | None) -> Windows:
        """What a range vector is at each step, for this function or as the answer."""
        self.check_time()
        length = self._positive(node.range)
        if isinstance(node, MatrixSelector):
            return self._ranged(node, length, steps, function)
        times = self._times(node, steps)
        step = self._positive(node.step) if node.step is not None else self.default_subquery_step_ms
        start = ((int(times[0]) - length) // step + 1) * step
        inner = Steps(start, int(times[-1]), step)
        self._require_cells(inner.count)
        if inner.count <= 0:
            return selectors.windows(selectors.NO_SAMPLES, times, length)
        return selectors.windows(selectors.as_samples(self._matrix(node.expr, inner), inner.times), times, length)

    def _ranged(self, node: MatrixSelector, length: int, steps: Steps, function: str | None) -> Windows:
        selector, lookback = node.selector, self.lookback_ms
        times = self._times(selector, steps)
        if not selector.anchored and not selector.smoothed:
            return selectors.windows(self._samples(selector, times, length), times, length)
        after = lookback if selector.smoothed else 0
        samples = self._samples(selector, times, length + lookback, after=after)
        context = Context(steps, self.annotations, node.span, (), self.most_cells)
        windows = extended_windows(selector, function, samples, times, length, lookback, context)
        self._require(self._loaded + self._held + len(windows.samples.times))
        return windows

    def _times(self, node: VectorSelector | Subquery, steps: Steps) -> Ints:
        """The instants that the steps are for a selector, after `@` and offset."""
        offset = self._resolve(node.offset)
        if node.at is None:
            return steps.times - offset
        named = {AtModifier.START: self.steps.start, AtModifier.END: self.steps.end}
        at = named[node.at] if isinstance(node.at, AtModifier) else node.at
        return np.full(steps.count, at - offset)

    def _resolve(self, duration: Duration) -> int:
        return resolve(duration, step_ms=self.steps.step, range_ms=self.steps.end - self.steps.start)

    def _positive(self, duration: Duration) -> int:
        milliseconds = self._resolve(duration)
        if milliseconds <= 0:
            raise ExecutionError("duration must be greater than 0")
        return milliseconds

    def _samples(self, node: VectorSelector, times: Ints, before: int, after: int = 0) -> Samples:
        samples = self._select(node.matchers, times, before, after)
        return with_resets(samples) if id(node) in self._of_statistics else samples

    def _select(self, matchers: tuple[Matcher, ...], times: Ints, before: int, after: int = 0) -> Samples:
        """The samples from `before` milliseconds before the first time to `after` milliseconds after the last."""
        asked = (matchers, int(times[0]) - before, int(times[-1]) + after)
        if asked not in self._read:
            samples = self.reader.select(*asked, self.most_samples - self._loaded - self._held)
            self.check_time()
            self._loaded += len(samples.times)
            self._read[asked] = samples
        samples = self._read[asked]
        self._require_cells(len(samples.labels) * len(times))
        return samples


def unwrapped(node: Expr) -> Expr:
    """The node without the parentheses around it."""
    while isinstance(node, Paren):
        node = node.expr
    return node


def _repeated(value: Value, count: int) -> Value:
    """The value of a single step at each of `count` steps."""
    if isinstance(value, Scalar):
        return Scalar(np.repeat(value.values, count))
    return repeated(value, count) if isinstance(value, Matrix) else value


def _where_absent(node: Expr, present: Bools) -> Matrix:
    """One where nothing is present, with the labels that the selector says they would have."""
    missing = np.logical_not(present.any(axis=0))[None, :]
    return Matrix([_labels_of(node)], np.ones(missing.shape), missing)


def _labels_of(node: Expr) -> Labels:
    if isinstance(node, MatrixSelector):
        node = node.selector
    if not isinstance(node, VectorSelector):
        return {}
    named = [matcher.name for matcher in node.matchers]
    return {
        matcher.name: matcher.value
        for matcher in node.matchers
        if matcher.op == MatchOp.EQUAL
        and matcher.value
        and matcher.name != METRIC_NAME
        and named.count(matcher.name) == 1
    }
