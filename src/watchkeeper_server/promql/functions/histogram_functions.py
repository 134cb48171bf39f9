"""`histogram_…`: of classic histograms, whose buckets are series with a label `le`, and of native ones."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from watchkeeper_server.promql import histograms as native
from watchkeeper_server.promql import labels as label_sets
from watchkeeper_server.promql import numbers
from watchkeeper_server.promql.context import Context
from watchkeeper_server.promql.functions import classic_histograms as classic
from watchkeeper_server.promql.functions import remarks
from watchkeeper_server.promql.functions.arguments import Instant, number, text, vector
from watchkeeper_server.promql.functions.classic_histograms import Buckets, Fixes
from watchkeeper_server.promql.functions.maths import floats
from watchkeeper_server.promql.functions.windows import answer
from watchkeeper_server.promql.quoting import quote
from watchkeeper_server.promql.tree import Span
from watchkeeper_server.promql.values import METRIC_NAME, Bools, Floats, Histograms, Ints, Labels, Matrix, Value

_BOUND = "le"
_NUMBER = re.compile(r"[+-]?(inf|infinity|nan|(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class _Found:
    """The histograms of a vector: one row for each set of labels, those of buckets without `le`.

    Row `rows[i]` has a bucket with the upper bound `bounds[i]`, which is the matrix' series `series[i]`. Row
    `native_rows[i]` has at step `native_steps[i]` the native histogram `natives[i]`.
    """

    matrix: Matrix
    span: Span
    labels: list[Labels]
    rows: Ints
    bounds: Floats
    series: Ints
    native_rows: Ints
    native_steps: Ints
    natives: Histograms

    def classics(self) -> Iterator[tuple[Ints, Buckets]]:
        """Those with equally many buckets together, and which rows they are."""
        ascending = np.lexsort((self.bounds, self.rows))
        rows, bounds, series = self.rows[ascending], self.bounds[ascending], self.series[ascending]
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        sizes = np.diff(starts, append=len(rows))
        present = floats(self.matrix)
        for size in dict.fromkeys(sizes.tolist()):
            first = starts[sizes == size]
            places = first[:, None] + np.arange(size)
            buckets = Buckets(bounds[places], self.matrix.values[series[places]], present[series[places]])
            buckets.unite_equal_bounds()
            yield rows[first], buckets


def _find(context: Context, matrix: Matrix, span: Span) -> _Found:
    """Both kinds of histograms; floats that are no bucket, for want of a bound, are remarked."""
    is_float = floats(matrix)
    is_native = matrix.present & ~is_float
    series = np.flatnonzero(is_float.any(axis=1))
    written = [matrix.labels[each].get(_BOUND, "") for each in series.tolist()]
    bound_of = {each: float(each) if _NUMBER.fullmatch(each) else None for each in dict.fromkeys(written)}
    bounded = np.array([bound_of[each] is not None for each in written], np.bool_)
    for each in np.flatnonzero(~bounded).tolist():
        problem = f'PromQL warning: bucket label "le" is missing or has a malformed value of {quote(written[each])}'
        name = matrix.labels[series[each]].get(METRIC_NAME, "")
        context.annotations.warn(problem + remarks.of_metric(name), span)
    series = series[bounded]
    bounds = np.array([bound for each in written if (bound := bound_of[each]) is not None])
    native_series = np.flatnonzero(is_native.any(axis=1))
    named = [label_sets.without(matrix.labels[each], (_BOUND,)) for each in series.tolist()]
    named += [matrix.labels[each] for each in native_series.tolist()]
    number_of, _ = label_sets.numbered(label_sets.keys(named))
    row_of_series = np.zeros(len(matrix.labels), np.int64)
    row_of_series[native_series] = number_of[len(series) :]
    at, steps = np.nonzero(is_native)
    natives = native.EMPTY
    if matrix.histogram_of is not None and matrix.histograms is not None:
        natives = native.take(matrix.histograms, matrix.histogram_of[at, steps])
    labels = [named[first] for first in np.unique(number_of, return_index=True)[1].tolist()]
    return _Found(matrix, span, labels, number_of[: len(series)], bounds, series, row_of_series[at], steps, natives)


def _evaluate(
    context: Context,
    found: _Found,
    of_classic: Callable[[Ints, Buckets], Floats],
    of_native: Callable[[Ints, Ints, Histograms], Floats],
) -> Matrix:
    """A function of all histograms. Where one of each kind has the same labels there is no answer, and a remark."""
    shape = (len(found.labels), found.matrix.present.shape[1])
    values, present = np.zeros(shape), np.zeros(shape, np.bool_)
    for rows, buckets in found.classics():
        values[rows] = of_classic(rows, buckets)
        present[rows] = buckets.present.any(axis=1)
    rows, steps = found.native_rows, found.native_steps
    both = present[rows, steps]
    for name in dict.fromkeys(found.labels[row].get(METRIC_NAME, "") for row in np.unique(rows[both]).tolist()):
        problem = "PromQL warning: vector contains a mix of classic and native histograms"
        context.annotations.warn(problem + remarks.of_metric(name), found.span)
    if len(rows):
        alone = np.flatnonzero(~both)
        values[rows[alone], steps[alone]] = of_native(rows[alone], steps[alone], native.take(found.natives, alone))
    present[rows, steps] = ~both
    return answer(found.labels, values, present)


def _inform(context: Context, found: _Found, rows: Ints, problem: str, span: Span) -> None:
    """Remark upon the metrics of some rows."""
    for name in dict.fromkeys(found.labels[row].get(METRIC_NAME, "") for row in np.unique(rows).tolist()):
        context.annotations.inform(f"PromQL info: {problem}{remarks.of_metric(name)}", span)


def _quantile(context: Context, found: _Found, quantiles: Floats, fixed: Span, skewed: Span) -> Matrix:
    """One quantile for each step; `fixed` and `skewed` are where to remark on classic and on native histograms."""

    def of_classic(rows: Ints, buckets: Buckets) -> Floats:
        fixes = classic.fix_counts(buckets)
        _inform_of_fixes(context, found, rows, fixes, (quantiles >= 0) & (quantiles <= 1) & buckets.complete, fixed)
        return classic.quantile(buckets, quantiles)

    def of_native(rows: Ints, steps: Ints, histograms: Histograms) -> Floats:
        values, unknown, higher = native.quantile(quantiles[steps], histograms)
        problem = "input to histogram_quantile has NaN observations, result is"
        _inform(context, found, rows[unknown], f"{problem} NaN", skewed)
        _inform(context, found, rows[higher], f"{problem} skewed higher", skewed)
        return values

    return _evaluate(context, found, of_classic, of_native)


def _inform_of_fixes(context: Context, found: _Found, rows: Ints, fixes: Fixes, relevant: Bools, span: Span) -> None:
    """Say of each metric how many counts had to be made to rise, which and when."""
    where = fixes.where & relevant
    indices_of = defaultdict(list)
    for index in np.flatnonzero(where.any(axis=1)).tolist():
        indices_of[found.labels[rows[index]].get(METRIC_NAME, "")].append(index)
    for name, indices in indices_of.items():
        times = context.steps.times[where[indices].any(axis=0)].tolist()
        lowest, highest = fixes.lowest_bound[indices].min(), fixes.highest_bound[indices].max()
        context.annotations.inform(
            "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see "
            "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
            f"{remarks.of_metric(name)}, from buckets {numbers.general(float(lowest))} to "
            f"{numbers.general(float(highest))}, with a max diff of {fixes.greatest_drop[indices].max():.2g}, over "
            f"{np.count_nonzero(where[indices])} samples from {_when(times[0])} to {_when(times[-1])}",
            span,
        )


def _when(milliseconds: int) -> str:
    return datetime.fromtimestamp(int(milliseconds / 1000), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def histogram_quantile(context: Context, arguments: Sequence[Value]) -> Value:
    """The quantile of each histogram."""
    quantiles, (of_quantile, of_vector, *_) = number(arguments[0]), context.arguments
    remarks.quantiles_outside(context, quantiles, of_quantile)
    found = _find(context, vector(arguments[1]), of_vector)
    return _quantile(context, found, quantiles, of_vector, of_quantile)


def histogram_quantiles(context: Context, arguments: Sequence[Value]) -> Value:
    """Several quantiles of each histogram, told apart by a label."""
    matrix, label = vector(arguments[0]), text(arguments[1])
    of_vector, of_label, *of_quantiles = context.arguments
    found = _find(context, matrix, of_vector)
    results = []
    for argument, span in zip(arguments[2:], of_quantiles, strict=True):
        quantiles = number(argument)
        remarks.quantiles_outside(context, quantiles, span)
        result = _quantile(context, found, quantiles, of_label, of_vector)
        for quantile in np.unique(quantiles).tolist():
            labels: list[Labels] = [{**each, label: _open_metrics(quantile)} for each in result.labels]
            at = (quantiles == quantile) | np.isnan(quantiles) & np.isnan(quantile)
            results.append(Matrix(labels, result.values, result.present & at))
    return Matrix(
        [labels for result in results for labels in result.labels],
        np.concatenate([result.values for result in results]),
        np.concatenate([result.present for result in results]),
    )


def _open_metrics(value: float) -> str:
    """A number in a label: `0.5`, `1.0`, `+Inf`."""
    written = numbers.general(value)
    return written if set(written) & set(".eIN") else f"{written}.0"


def histogram_fraction(context: Context, arguments: Sequence[Value]) -> Value:
    """The part of each histogram's observations between two bounds."""
    lower, upper = number(arguments[0]), number(arguments[1])
    of_lower, _, of_vector, *_ = context.arguments
    found = _find(context, vector(arguments[2]), of_vector)

    def of_native(rows: Ints, steps: Ints, histograms: Histograms) -> Floats:
        values, partial = native.fraction(lower[steps], upper[steps], histograms)
        problem = "input to histogram_fraction has NaN observations, which are excluded from all fractions"
        _inform(context, found, rows[partial], problem, of_lower)
        return values

    return _evaluate(context, found, lambda _rows, buckets: classic.fraction(buckets, lower, upper), of_native)


def _of_natives(compute: Callable[[Histograms], Floats]) -> Instant:
    """A function of each native histogram; floats are left out."""

    def function(_context: Context, arguments: Sequence[Value]) -> Value:
        matrix = vector(arguments[0])
        present = matrix.present & ~floats(matrix)
        values = np.zeros(present.shape)
        if matrix.histogram_of is not None and matrix.histograms is not None:
            values[present] = compute(native.take(matrix.histograms, matrix.histogram_of[present]))
        return Matrix([label_sets.without(each, {METRIC_NAME}) for each in matrix.labels], values, present)

    return function


HISTOGRAMS: Mapping[str, Instant] = {
    "histogram_avg": _of_natives(native.avg),
    "histogram_count": _of_natives(lambda histograms: histograms.count),
    "histogram_fraction": histogram_fraction,
    "histogram_quantile": histogram_quantile,
    "histogram_quantiles": histogram_quantiles,
    "histogram_stddev": _of_natives(native.stddev),
    "histogram_stdvar": _of_natives(native.stdvar),
    "histogram_sum": _of_natives(lambda histograms: histograms.sum),
}
