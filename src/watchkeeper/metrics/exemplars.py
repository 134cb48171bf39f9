"""Exemplars: which trace a value was counted in, the newest per bucket and counter.

They are kept as ids and numbers, and become text when somebody reads: outside of a sampled span the price is a look
at the context, inside one less than half a microsecond.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from time import time
from typing import Any

import prometheus_client as prometheus
from opentelemetry.trace import NonRecordingSpan, TraceFlags
from opentelemetry.trace import Span as ApiSpan
from prometheus_client.samples import Exemplar, Sample

from watchkeeper.context import SPAN_KEY, get_current
from watchkeeper.tracing.span import Span

_SAMPLED = int(TraceFlags.SAMPLED)


# Trace id, span id, the value that was counted in that span, and when, in seconds since 1970.
Moment = tuple[int, int, float, float]


def moment(span: Any, value: float) -> Moment | None:
    """`value` in `span`, None if there is no span or it is not sampled."""
    if type(span) is Span:
        return (span.trace_id, span.span_id, value, time()) if span.trace_flags & _SAMPLED else None
    if not isinstance(span, ApiSpan):
        return None
    context = span.get_span_context()
    return (context.trace_id, context.span_id, value, time()) if context.trace_flags.sampled else None


def exemplar_of(remembered: Moment) -> Exemplar:
    """As the exposition has it."""
    trace_id, span_id, value, seconds = remembered
    return Exemplar({"trace_id": f"{trace_id:032x}", "span_id": f"{span_id:016x}"}, value, seconds)


class ExemplarCounter(prometheus.Counter):
    """prometheus_client's counter, with the trace it was last incremented in."""

    exemplar: Moment | None = None

    def _metric_init(self) -> None:
        super()._metric_init()
        self.exemplar = None

    def _child_samples(self) -> Iterable[Sample]:
        samples = super()._child_samples()
        if self.exemplar is None:
            return samples
        exemplar = exemplar_of(self.exemplar)
        return [sample._replace(exemplar=exemplar) if sample.name == "_total" else sample for sample in samples]


class BatchHistogram(prometheus.Histogram):
    """prometheus_client's histogram, with a trace per bucket.

    It can also count many values at once, for a tenth of the price each.
    """

    _exemplars: dict[int, Moment] | None = None  # by bucket; most histograms never have any

    def _metric_init(self) -> None:
        super()._metric_init()
        self._exemplars = None

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Counts `amount` in its bucket, and remembers the current span if that is sampled."""
        if exemplar is not None:
            super().observe(amount, exemplar)
            if self._exemplars is not None:
                self._exemplars.pop(self._bucket(amount), None)  # which would be shown in its place
            return
        bucket = self._bucket(amount)
        self._sum.inc(amount)
        self._buckets[bucket].inc(1)
        span = get_current().get(SPAN_KEY)
        if span is not None:
            self._remember(bucket, span, amount)

    def observe_many(self, values: Sequence[float], spans: Sequence[Any] = ()) -> None:
        """The same for each of them; `spans` are those of the values, in the same order."""
        total = sum(values)
        self._sum.inc(total)
        if not spans:  # sizes, most of which are alike
            for value, count in Tally(values).items():
                self._buckets[self._bucket(value)].inc(count)
            return
        if total == total:  # noqa: PLR0124  # none is NaN
            bounds = self._upper_bounds
            buckets = [bisect_left(bounds, value) for value in values]
        else:
            buckets = [self._bucket(value) for value in values]
        for bucket, count in Tally(buckets).items():
            self._buckets[bucket].inc(count)
        newest = {
            bucket: (span, value)
            for bucket, span, value in zip(buckets, spans, values, strict=False)
            if span is not None and type(span) is not NonRecordingSpan
        }
        for bucket, (span, value) in newest.items():
            self._remember(bucket, span, value)

    def _bucket(self, value: float) -> int:
        # No bound is less than what is no number, so that it would be the first bucket's; it is the last's.
        return bisect_left(self._upper_bounds, value) if value == value else len(self._upper_bounds) - 1  # noqa: PLR0124

    def _remember(self, bucket: int, span: Any, value: float) -> None:
        remembered = moment(span, value)
        if remembered is None:
            return
        if self._exemplars is None:
            self._exemplars = {}
        self._exemplars[bucket] = remembered

    def _child_samples(self) -> Iterable[Sample]:
        samples = super()._child_samples()
        exemplars = self._exemplars
        if exemplars is None:
            return samples
        # The buckets come first, in the order of their bounds.
        return [
            sample._replace(exemplar=exemplar_of(exemplars[at])) if at in exemplars else sample
            for at, sample in enumerate(samples)
        ]
