"""What OpenTelemetry's instruments have counted, as families of the registry.

Unlike a metric of Prometheus, an instrument has no fixed labels: each set of attributes is a series with the labels it
comes to. So these are rendered here, and not by prometheus_client's metrics. The limit of label sets holds here too.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from typing import Any, Generic, TypeVar

from prometheus_client import Metric
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from watchkeeper.context import SPAN_KEY, get_current
from watchkeeper.export.boundary import DROPPED, boundary
from watchkeeper.metrics.declare import OTHER, declarations
from watchkeeper.metrics.exemplars import Moment, exemplar_of, moment
from watchkeeper.metrics.otel_names import family_name, labels_of
from watchkeeper.metrics.restart import Restarting

Labels = tuple[tuple[str, str], ...]
_NONE: Mapping[str, Any] = {}
_INFINITY = float("inf")


class Number:
    """A series with one value."""

    __slots__ = ("exemplar", "value")

    def __init__(self) -> None:
        self.value: float = 0
        self.exemplar: Moment | None = None


class Buckets:
    """A series of a histogram."""

    __slots__ = ("counts", "exemplars", "total")

    def __init__(self, size: int) -> None:
        self.counts = [0] * size
        self.total: float = 0
        self.exemplars: dict[int, Moment] = {}


Series = TypeVar("Series", Number, Buckets)


class Stream(Generic[Series]):
    """One instrument's series, by their labels."""

    kind = "gauge"
    begins_anew = False  # in a forked child: what counts does, what says how things are does not

    def __init__(self, name: str, unit: str, doc: str, scope: Labels) -> None:
        self.name = family_name(name, unit, self.kind)
        self.doc = doc or name
        self._scope = dict(scope)  # labels that tell whose instrument it is
        self.restart()

    def restart(self) -> None:
        """Has counted nothing."""
        self.lock = threading.RLock()  # a finalizer that counts may run in a thread that holds it
        self._known: dict[tuple[Any, ...], Series] = {}  # by attributes as they come, to find them fast
        self._series: dict[Labels, Series] = {}
        self._other: Series | None = None

    def new(self) -> Series:
        """A series at zero."""
        raise NotImplementedError

    def samples_of(self, labels: dict[str, str], series: Series) -> list[Sample]:
        """The samples of one series."""
        raise NotImplementedError

    def series(self, attributes: Mapping[str, Any] | None) -> Series:
        """The series of these attributes; of those beyond the limit, the one that stands for all."""
        attributes = attributes or _NONE
        try:
            found = self._known.get(tuple(attributes.items()))
        except TypeError:  # a list has no hash
            return self._of(labels_of(attributes))
        if found is None:
            found = self._of(labels_of(attributes))
            if len(self._known) < declarations.label_limit:
                self._known[tuple(attributes.items())] = found
        return found

    def _of(self, labels: Labels) -> Series:
        limit = declarations.label_limit
        with self.lock:
            found = self._series.get(labels)
            if found is not None:
                return found
            if len(self._series) < limit:
                found = self._series[labels] = self.new()
                return found
            if self._other is None:
                self._other = self._series[tuple([(name, OTHER) for name, _ in labels])] = self.new()
            found = self._other
        # Said without the lock: a handler of log lines may count in this very metric.
        DROPPED.labels("metrics", "label_limit").inc()
        boundary.say_once(self.name, f"metric {self.name} has more than {limit} label sets: the rest is {OTHER}")
        return found

    def family(self) -> Metric:
        """As the registry has it."""
        family = Metric(self.name, self.doc, self.kind)
        with self.lock:
            for labels, series in self._series.items():
                for sample in self.samples_of({**dict(labels), **self._scope}, series):
                    family.samples.append(sample)
        return family


class Gauge(Stream[Number]):
    """A value that is set, or goes up and down."""

    def new(self) -> Number:
        """Zero."""
        return Number()

    def set(self, value: float, attributes: Mapping[str, Any] | None) -> None:
        """Makes it `value`."""
        series = self.series(attributes)
        with self.lock:
            series.value = float(value)

    def add(self, amount: float, attributes: Mapping[str, Any] | None, _context: Any = None) -> None:
        """Adds `amount`, which must be finite: nothing could be taken from infinity."""
        if not math.isfinite(amount):
            raise ValueError(f"{self.name} cannot be changed by {amount}")
        series = self.series(attributes)
        with self.lock:
            series.value += amount

    def samples_of(self, labels: dict[str, str], series: Number) -> list[Sample]:
        """The value."""
        return [Sample(self.name, labels, series.value)]


class Counter(Gauge):
    """A count that only grows."""

    kind = "counter"
    begins_anew = True

    def add(self, amount: float, attributes: Mapping[str, Any] | None, context: Any = None) -> None:
        """Adds `amount`."""
        if not 0 <= amount < _INFINITY:
            raise ValueError(f"{self.name} is a counter: it cannot be incremented by {amount}")
        span = (get_current() if context is None else context).get(SPAN_KEY)
        series = self.series(attributes)
        with self.lock:
            series.value += amount
            if span is not None:
                series.exemplar = moment(span, amount) or series.exemplar

    def samples_of(self, labels: dict[str, str], series: Number) -> list[Sample]:
        """The count, with the trace it was last incremented in."""
        exemplar = series.exemplar and exemplar_of(series.exemplar)
        return [Sample(f"{self.name}_total", labels, series.value, exemplar=exemplar)]


class Histogram(Stream[Buckets]):
    """A distribution, counted in buckets."""

    kind = "histogram"
    begins_anew = True

    def __init__(self, name: str, unit: str, doc: str, scope: Labels, bounds: Iterable[float]) -> None:
        found = sorted({float(bound) for bound in bounds} - {_INFINITY})
        if any(bound != bound for bound in found):  # noqa: PLR0124  # NaN
            raise ValueError(f"bounds of {name} have a NaN among them: nothing is less than that")
        self._bounds = found
        self._texts = [floatToGoString(bound) for bound in [*found, _INFINITY]]  # type: ignore[no-untyped-call]
        super().__init__(name, unit, doc, scope)

    def new(self) -> Buckets:
        """Nothing in any bucket."""
        return Buckets(len(self._texts))

    def observe(self, value: float, attributes: Mapping[str, Any] | None, context: Any = None) -> None:
        """Takes a value in. What is below zero would make of the sum no counter, which Prometheus takes it for."""
        if not 0 <= value < _INFINITY:
            raise ValueError(f"{self.name} cannot observe {value}")
        span = (get_current() if context is None else context).get(SPAN_KEY)
        bucket = bisect_left(self._bounds, value)
        series = self.series(attributes)
        with self.lock:
            series.counts[bucket] += 1
            series.total += value
            if span is not None:
                remembered = moment(span, value)
                if remembered is not None:
                    series.exemplars[bucket] = remembered

    def samples_of(self, labels: dict[str, str], series: Buckets) -> list[Sample]:
        """The buckets, their sum and their count."""
        counts = list(accumulate(series.counts))
        found = []
        for at, (bound, count) in enumerate(zip(self._texts, counts, strict=True)):
            remembered = series.exemplars.get(at)
            exemplar = exemplar_of(remembered) if remembered is not None else None
            found.append(Sample(f"{self.name}_bucket", {**labels, "le": bound}, count, exemplar=exemplar))
        found.append(Sample(f"{self.name}_count", labels, counts[-1]))
        found.append(Sample(f"{self.name}_sum", labels, series.total))
        return found


class Observed:
    """An instrument that is asked when somebody looks, so that nothing is kept of it in between."""

    def __init__(
        self, make: Callable[[], Gauge], ask: Callable[[], Iterable[tuple[float, Mapping[str, Any] | None]]]
    ) -> None:
        self._make = make
        self._ask = ask

    def look(self) -> Gauge:
        """What it says now."""
        stream = self._make()
        for value, attributes in self._ask():
            try:
                stream.set(value, attributes)
            except Exception as error:  # noqa: BLE001  # what is no number, or a label whose __str__ fails
                boundary.failed_in_background(f"metric {stream.name}", error)
        return stream


class Streams(Restarting):
    """All of them, as one collector."""

    def __init__(self) -> None:
        self.streams: list[Stream[Any]] = []
        self.observed: list[Observed] = []

    def restart(self) -> None:
        """In a forked child: counts begin at zero, and no lock is found taken."""
        for stream in self.streams:
            if stream.begins_anew:
                stream.restart()
            else:
                stream.lock = threading.RLock()

    def collect(self) -> Iterable[Metric]:
        """A family for each name; where the registry has that name already, what is there is shown."""
        taken = declarations.taken()
        found: dict[str, Metric] = {}
        for stream in [*self.streams, *[observed.look() for observed in list(self.observed)]]:
            family = stream.family()
            if not family.samples:
                continue
            first = found.setdefault(family.name, family)
            if family.name in taken or first.type != family.type:
                boundary.say_once(
                    f"metric {stream.name}",
                    f"OpenTelemetry's {family.type} {stream.name} is not shown: a metric of that name exists already",
                )
            elif first is not family:
                first.samples.extend(family.samples)
        return [family for name, family in found.items() if name not in taken]
