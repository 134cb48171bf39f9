"""Declaring metrics in prometheus_client's registry, which stays the one truth.

What it adds: a second declaration gives the first metric again, label sets are bounded (the excess becomes one series
whose labels are all `__other__`, and is counted), and no mistake in a call raises into the application.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Self, TypeVar

import prometheus_client as prometheus
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from watchkeeper.context import SPAN_KEY, get_current
from watchkeeper.export.boundary import DROPPED, boundary
from watchkeeper.metrics.blocks import Exceptions, InProgress, Timing
from watchkeeper.metrics.declared import Shape, Unclaimed, declared_at, registered
from watchkeeper.metrics.exemplars import BatchHistogram, ExemplarCounter, moment
from watchkeeper.metrics.restart import restart
from watchkeeper.metrics.summary import QUANTILES, QuantileSummary
from watchkeeper.options import MetricOptions
from watchkeeper.values import text_of

OTHER = "__other__"
LONGEST_LABEL_VALUE = 1_024  # characters
_INFINITY = float("inf")
SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
BYTES_BUCKETS = (100.0, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8)

Inner = TypeVar("Inner", bound=MetricWrapperBase)
Observing = TypeVar("Observing", BatchHistogram, QuantileSummary)
Shown = TypeVar("Shown", bound=Collector)


_NO_SERIES: dict[tuple[str, ...], Any] = {}
_NO_LOCK = threading.Lock()


class Metric(Generic[Inner]):
    """A metric, or (made by `labels`) one series of it."""

    __slots__ = ("_limit", "_lock", "_series", "inner", "label_names", "name")

    def __init__(self, inner: Inner, name: str, label_names: tuple[str, ...], limit: Callable[[], int] | None) -> None:
        self.inner = inner
        self.name = name
        self.label_names = label_names
        self._limit = limit  # None: a metric that counts nowhere, whatever its labels
        # A series has none below it: ten thousand of them share what they never fill.
        self._series: dict[tuple[str, ...], Any] = {} if label_names else _NO_SERIES
        self._lock = threading.Lock() if label_names else _NO_LOCK

    def labels(self, *values: object, **named: object) -> Self:
        """The series with these label values, by position or by name. Keep it where it is used often."""
        if self._limit is None:
            return self
        try:
            if named:
                values = (*values, *(named.pop(name) for name in self.label_names[len(values) :]))
            key = tuple(map(str, values)) + tuple(named)  # a name that is left over makes the count wrong
            series = self._series.get(key)
            return self._add(key) if series is None else series
        except Exception as error:  # noqa: BLE001  # wrong labels, or a label whose __str__ fails
            boundary.failed(f"labels of {self.name}", error)
            return self._nowhere()

    def remove(self, *values: object, **named: object) -> None:
        """Forgets the series with these label values, such as those of a pod that is gone.

        What `labels` gave before counts nowhere from then on.
        """
        if self._limit is None:
            return
        try:
            if named:
                values = (*values, *(named.pop(name) for name in self.label_names[len(values) :]))
            key = tuple([label_value(str(value)) for value in values]) + tuple(named)
            with self._lock:
                self.inner.remove(*key)
                self._series.pop(key, None)
        except Exception as error:  # noqa: BLE001
            self._failed(error)

    def clear(self) -> None:
        """Forgets all series of a metric with labels."""
        try:
            if self.label_names:
                with self._lock:
                    self.inner.clear()
                    self._series.clear()
        except Exception as error:  # noqa: BLE001
            self._failed(error)

    def _add(self, key: tuple[str, ...]) -> Self:
        if len(key) != len(self.label_names) or not key:
            raise ValueError(f"{self.name} has {len(self.label_names)} labels {self.label_names}, not {len(key)}")
        limit = self._limit() if self._limit is not None else 0
        key = tuple(map(label_value, key))
        with self._lock:
            excess = len(self._series) >= limit and key not in self._series
            if excess:
                key = (OTHER,) * len(key)
            series = self._series.get(key)
            if series is None:
                series = self._series[key] = type(self)(self.inner.labels(*key), self.name, (), self._limit)
        if excess:  # said without the lock: a handler of log lines may count in this very metric
            DROPPED.labels("metrics", "label_limit").inc()
            boundary.say_once(self.name, f"metric {self.name} has more than {limit} label sets: the rest is {OTHER}")
        return series

    def _failed(self, error: Exception) -> None:
        if self.label_names and isinstance(error, (AttributeError, ValueError)):
            error = ValueError(f"{self.name} has labels {self.label_names}: say which series by labels(…) first")
        boundary.failed(f"metric {self.name}", error)

    def _nowhere(self) -> Self:
        return type(self)(type(self.inner)("nowhere", "", registry=None), self.name, (), None)


class Counter(Metric[ExemplarCounter]):
    """A count that only grows.

    Example:
        >>> wk.counter("jobs_done_total").inc()
    """

    __slots__ = ()

    def inc(self, amount: float = 1, exemplar: dict[str, str] | None = None) -> None:
        """Adds `amount`, which must be a number from 0 upwards: infinity would stay for ever, as NaN would.

        The current span is the exemplar, unless another one is given.
        """
        try:
            if not 0 <= amount < _INFINITY:
                raise ValueError(f"{self.name} is a counter: it cannot be incremented by {amount}")
            inner = self.inner
            if exemplar is not None:
                inner.inc(amount, exemplar)
                inner.exemplar = None  # which would be shown in its place
                return
            inner._value.inc(amount)  # noqa: SLF001  # what inner.inc does, without its checks: half of the price
            span = get_current().get(SPAN_KEY)
            if span is not None:
                remembered = moment(span, amount)
                if remembered is not None:
                    inner.exemplar = remembered
        except Exception as error:  # noqa: BLE001
            self._failed(error)

    def count_exceptions(
        self, exception: type[BaseException] | tuple[type[BaseException], ...] = Exception
    ) -> Exceptions:
        """Counts the exceptions that leave a `with` block, or (as a decorator) a function.

        Example:
            >>> with wk.counter("job_failures_total").count_exceptions(OSError):
            ...     pass
        """
        return Exceptions(self, exception)

    def values(self) -> dict[tuple[str, ...], float]:
        """The count of each series, by its label values."""
        if not self.label_names:
            return {(): self.inner._value.get()}  # noqa: SLF001  # as above
        return {labels: series.inner._value.get() for labels, series in list(self._series.items())}  # noqa: SLF001


def _set(gauge: Gauge, seconds: float) -> None:
    gauge.set(seconds)


def _observe(distribution: _Distribution[Any], seconds: float) -> None:
    distribution.observe(seconds)


class Gauge(Metric[prometheus.Gauge]):
    """A figure that goes up and down.

    Example:
        >>> wk.gauge("jobs_waiting").set(3)
    """

    __slots__ = ()

    def set(self, value: float) -> None:
        """Makes it `value`."""
        try:
            self.inner.set(value)
        except Exception as error:  # noqa: BLE001
            self._failed(error)

    def inc(self, amount: float = 1) -> None:
        """Adds `amount`."""
        try:
            self.inner.inc(amount)
        except Exception as error:  # noqa: BLE001
            self._failed(error)

    def dec(self, amount: float = 1) -> None:
        """Takes `amount` away."""
        try:
            self.inner.dec(amount)
        except Exception as error:  # noqa: BLE001
            self._failed(error)

    def set_to_current_time(self) -> None:
        """Makes it the seconds since 1970."""
        self.set(time.time())

    def track_inprogress(self) -> InProgress:
        """Counts those who are in a `with` block, or (as a decorator) in a function, now.

        Example:
            >>> with wk.gauge("jobs_running").track_inprogress():
            ...     pass
        """
        return InProgress(self)

    def time(self) -> Timing:
        """Makes it the seconds that a `with` block (or, as a decorator, a function) took the last time."""
        return Timing(self, _set)

    def set_function(self, function: Callable[[], float]) -> None:
        """Asks `function` at every collection; NaN stands for what it cannot tell.

        Not for metrics of several processes.
        """

        def ask() -> float:
            try:
                return float(function())
            except Exception as error:  # noqa: BLE001  # the page has other metrics as well
                boundary.failed_in_background(f"metric {self.name}", error)
                return math.nan

        try:
            self.inner.set_function(ask)
        except Exception as error:  # noqa: BLE001
            self._failed(error)


class _Distribution(Metric[Observing]):
    """What histograms and summaries share."""

    __slots__ = ()

    def observe(self, value: float) -> None:
        """Takes `value` in, which must be finite: the sum would stay infinite, or no number, for ever."""
        try:
            if not -_INFINITY < value < _INFINITY:
                raise ValueError(f"{self.name} cannot observe {value}")
            self.inner.observe(value)
        except Exception as error:  # noqa: BLE001
            self._failed(error)

    def time(self) -> Timing:
        """Observes the seconds that a `with` block (or, as a decorator, each call of a function) takes."""
        return Timing(self, _observe)


class Histogram(_Distribution[BatchHistogram]):
    """A distribution, counted in buckets.

    Example:
        >>> wk.histogram("job_duration_seconds").observe(0.25)
    """

    __slots__ = ()

    def observe(self, value: float, exemplar: dict[str, str] | None = None) -> None:
        """Takes `value` in; the current span is the exemplar of its bucket, unless another one is given."""
        if exemplar is None:
            super().observe(value)
            return
        try:
            if not -_INFINITY < value < _INFINITY:
                raise ValueError(f"{self.name} cannot observe {value}")
            self.inner.observe(value, exemplar)
        except Exception as error:  # noqa: BLE001
            self._failed(error)


class Summary(_Distribution[QuantileSummary]):
    """A distribution, told by its quantiles: each within one per cent, over the last ten minutes.

    Quantiles of several processes cannot be added up; a histogram's buckets can. Costs about 10 KB a series.

    Example:
        >>> wk.summary("batch_rows").observe(1200)
    """

    __slots__ = ()


class Declarations:
    """Every metric declared through us, by name."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.registry = registry
        # Our own metrics. They claim no names: an application may have an http_requests_total of its own.
        self.standard = CollectorRegistry()
        registry.register(Unclaimed(self.standard, registry))
        self.label_limit = MetricOptions.label_limit
        self.default_labels: Mapping[str, str] = {}
        # Held while the registry is read, so that no fork happens then: a child would find the metrics' locks taken.
        self.reading = threading.Lock()
        self._metrics: dict[tuple[CollectorRegistry, str], tuple[Shape, Metric[Any]]] = {}
        self._computed: dict[str, Collector] = {}
        self._lock = threading.Lock()

    def declare(
        self,
        kind: type[Metric[Any]],
        make: type[MetricWrapperBase],
        name: str,
        doc: str,
        labels: Sequence[str],
        *,
        standard: bool = False,
        **details: Any,
    ) -> Metric[Any]:
        """The metric of that name, made if need be; `standard` for the SDK's own.

        One declared otherwise before is left as it is: the answer then counts nowhere.
        """
        try:
            if isinstance(labels, str):
                raise ValueError(f"labels of metric {name} are {labels!r}: they must be a list of names")  # noqa: TRY004
            label_names = tuple(labels)
            details = {key: told if isinstance(told, str) else tuple(told) for key, told in details.items()}
            if any(bound != bound for bound in details.get("buckets", ())):  # noqa: PLR0124  # NaN
                raise ValueError(f"buckets of metric {name} have a NaN among them: nothing is less than that")
            shape = Shape(kind, label_names, details, declared_at())
            registry = self.standard if standard else self.registry
            with self._lock:
                known = self._metrics.get((registry, name))
                if known is None:
                    inner: Any = None if standard else registered(registry, make, name, label_names)
                    if inner is None:
                        inner = make(name, _printable(doc or name), label_names, registry=registry, **details)
                    metric = kind(inner, name, label_names, lambda: self.label_limit)
                    self._metrics[registry, name] = known = (shape, metric)
            known[0].check(name, shape)
            return known[1]
        except Exception as error:  # noqa: BLE001  # also what the registry says of a name that is bad or taken
            # Said without the lock: a handler of log lines may declare a metric.
            boundary.failed(f"declaration of metric {text_of(name)}", error)
            return kind(make("nowhere", "", registry=None), text_of(name), (), None)

    def computed(self, name: str, make: Callable[[], Shown]) -> Shown:
        """The collector of that name among the SDK's own metrics, made if need be."""
        with self._lock:
            found: Any = self._computed.get(name)
            if found is None:
                found = self._computed[name] = make()
                self.standard.register(found)
            return found  # type: ignore[no-any-return]

    def taken(self) -> frozenset[str]:
        """Names that metrics have claimed, the application's and the SDK's own."""
        names = (list(registry._names_to_collectors) for registry in (self.registry, self.standard))  # noqa: SLF001
        return frozenset().union(*names)

    def after_fork(self) -> None:
        """A child begins at zero, since its parent tells what was counted before, and finds no lock taken.

        So do the metrics that the application registered by itself. Gauges say what is, and stay.
        """
        self.reading, self._lock = threading.Lock(), threading.Lock()
        for _, metric in self._metrics.values():
            metric._lock = threading.Lock()  # noqa: SLF001
        for registry in (self.registry, self.standard):
            restart(registry)


def label_value(value: str) -> str:
    """A label's value of a bounded length, which can be written: a page of metrics is UTF-8, whole or not at all."""
    return _printable(value if len(value) <= LONGEST_LABEL_VALUE else f"{value[:LONGEST_LABEL_VALUE]}…")


def _printable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


declarations = Declarations()


def counter(name: str, doc: str = "", labels: Sequence[str] = ()) -> Counter:
    """Declares a counter; declaring it again gives the same one.

    Example:
        >>> import watchkeeper as wk
        >>> orders = wk.counter("orders_total", "Orders by how they ended", ["status"])
        >>> orders.labels("paid").inc()
    """
    return declarations.declare(Counter, ExemplarCounter, name, doc, labels)  # type: ignore[return-value]


def gauge(name: str, doc: str = "", labels: Sequence[str] = ()) -> Gauge:
    """Declares a gauge; declaring it again gives the same one.

    Example:
        >>> import watchkeeper as wk
        >>> waiting = wk.gauge("jobs_waiting", "Jobs that have not started")
        >>> waiting.set(3)
    """
    return declarations.declare(Gauge, prometheus.Gauge, name, doc, labels)  # type: ignore[return-value]


def histogram(
    name: str, doc: str = "", labels: Sequence[str] = (), *, buckets: Sequence[float] = SECONDS_BUCKETS
) -> Histogram:
    """Declares a histogram; declaring it again gives the same one. The default buckets suit seconds: 5 ms to 10 s.

    Example:
        >>> import watchkeeper as wk
        >>> durations = wk.histogram("job_duration_seconds", "How long jobs take", ["job"])
        >>> with durations.labels("report").time():
        ...     pass
    """
    return declarations.declare(Histogram, BatchHistogram, name, doc, labels, buckets=buckets)  # type: ignore[return-value]


def summary(name: str, doc: str = "", labels: Sequence[str] = (), *, quantiles: Sequence[float] = QUANTILES) -> Summary:
    """Declares a summary; declaring it again gives the same one. Each quantile (0 to 1) is a series of its own.

    Example:
        >>> import watchkeeper as wk
        >>> rows = wk.summary("batch_rows", "Rows in a batch", ["table"], quantiles=(0.5, 0.99))
        >>> rows.labels("orders").observe(1200)
    """
    return declarations.declare(Summary, QuantileSummary, name, doc, labels, quantiles=quantiles)  # type: ignore[return-value]
