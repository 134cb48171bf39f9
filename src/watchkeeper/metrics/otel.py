"""OpenTelemetry's metrics API, counted in the registry: what any library's instruments tell is exposed and pushed.

Names and units become Prometheus's (`otel_names`), attributes become labels, and the instrumentation scope is
`otel_scope_name` and `otel_scope_version`. OpenTelemetry's own instrumentation of what Watchkeeper counts itself gets a
meter that does nothing, so that no request, call or statement is counted twice. No mistake in a call raises.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from opentelemetry import metrics
from opentelemetry.environment_variables import OTEL_PYTHON_METER_PROVIDER
from opentelemetry.metrics import CallbackOptions, CallbackT, NoOpMeter, _internal
from opentelemetry.metrics._internal import _ProxyMeterProvider

from watchkeeper.export.boundary import boundary
from watchkeeper.metrics import otel_series as series
from watchkeeper.metrics.declare import SECONDS_BUCKETS, declarations
from watchkeeper.values import text_of, told

MOST_INSTRUMENTS = 2_000  # names are written in code, so only a mistake gets here
DEFAULT_BUCKETS = (0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000)  # OpenTelemetry's
_CONTRIB = "opentelemetry.instrumentation."
COUNTED_BY_US = frozenset(
    f"{_CONTRIB}{name}"
    for name in (
        *("asgi", "wsgi", "fastapi", "starlette", "flask", "django"),
        *("httpx", "requests", "urllib3", "aiohttp_client"),
        *("sqlalchemy", "dbapi", "psycopg", "psycopg2", "asyncpg", "pymysql", "redis", "pymongo"),
        *("celery", "pika", "aio_pika", "confluent_kafka", "aiokafka", "botocore"),
        *("openai_v2", "anthropic"),
    )
)
_Attributes = Mapping[str, Any] | None
_Made = TypeVar("_Made")


class Counter(metrics.Counter):
    """A count that only grows."""

    def __init__(self, stream: series.Counter) -> None:
        self._stream = stream

    def add(self, amount: float, attributes: _Attributes = None, context: Any = None) -> None:
        """Adds `amount`."""
        try:
            self._stream.add(amount, attributes, context)
        except Exception as error:  # noqa: BLE001
            _failed(self._stream, error)


class UpDownCounter(metrics.UpDownCounter):
    """A count that also shrinks."""

    def __init__(self, stream: series.Gauge) -> None:
        self._stream = stream

    def add(self, amount: float, attributes: _Attributes = None, context: Any = None) -> None:  # noqa: ARG002
        """Adds `amount`."""
        try:
            self._stream.add(amount, attributes)
        except Exception as error:  # noqa: BLE001
            _failed(self._stream, error)


class Gauge(metrics._Gauge):  # noqa: SLF001  # published under no other name
    """A value."""

    def __init__(self, stream: series.Gauge) -> None:
        self._stream = stream

    def set(self, amount: float, attributes: _Attributes = None, context: Any = None) -> None:  # noqa: ARG002
        """Makes it `amount`."""
        try:
            self._stream.set(amount, attributes)
        except Exception as error:  # noqa: BLE001
            _failed(self._stream, error)


class Histogram(metrics.Histogram):
    """A distribution."""

    def __init__(self, stream: series.Histogram) -> None:
        self._stream = stream

    def record(self, amount: float, attributes: _Attributes = None, context: Any = None) -> None:
        """Takes a value in."""
        try:
            self._stream.observe(amount, attributes, context)
        except Exception as error:  # noqa: BLE001
            _failed(self._stream, error)


class _Observable:
    """What is asked when somebody looks."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._callbacks: list[Callable[[CallbackOptions], Iterable[metrics.Observation]]] = []

    def call(self, callbacks: Sequence[CallbackT] | None) -> None:
        """Asks these as well. A generator is told the options, and yields."""
        for callback in callbacks or ():
            if isinstance(callback, Generator):
                next(callback)
                self._callbacks.append(callback.send)
            elif callback not in self._callbacks:
                self._callbacks.append(callback)

    def ask(self) -> Iterable[tuple[float, _Attributes]]:
        """What they say now. One that fails takes no other with it."""
        for callback in self._callbacks:
            try:
                found = [(each.value, each.attributes) for each in callback(CallbackOptions())]
            except Exception as error:  # noqa: BLE001  # the application's
                boundary.failed_in_background(f"metric {self.name}", error)
            else:
                yield from found


class ObservableCounter(_Observable, metrics.ObservableCounter):
    """A count that somebody else keeps."""


class ObservableUpDownCounter(_Observable, metrics.ObservableUpDownCounter):
    """A count that somebody else keeps, and that also shrinks."""


class ObservableGauge(_Observable, metrics.ObservableGauge):
    """A value that somebody else keeps."""


class Meter(metrics.Meter):
    """Makes the instruments of one scope."""

    def __init__(self, provider: MeterProvider, name: str, version: str | None, schema_url: str | None) -> None:
        super().__init__(name, version, schema_url)
        self._provider = provider
        scope = {"otel_scope_name": name, "otel_scope_version": version or ""}
        self._scope = tuple([(label, value) for label, value in scope.items() if value])

    def create_counter(self, name: str, unit: str = "", description: str = "") -> metrics.Counter:
        """A counter, `<name>_<unit>_total`."""
        return self._make(
            metrics.Counter,
            (name, unit),
            lambda: Counter(self._provider.keep(series.Counter(name, unit or "", description, self._scope))),
            lambda: metrics.NoOpCounter(name),
        )

    def create_up_down_counter(self, name: str, unit: str = "", description: str = "") -> metrics.UpDownCounter:
        """A gauge, since it may shrink."""
        return self._make(
            metrics.UpDownCounter,
            (name, unit),
            lambda: UpDownCounter(self._provider.keep(series.Gauge(name, unit or "", description, self._scope))),
            lambda: metrics.NoOpUpDownCounter(name),
        )

    def create_gauge(self, name: str, unit: str = "", description: str = "") -> metrics._Gauge:
        """A gauge."""
        return self._make(
            metrics._Gauge,  # noqa: SLF001
            (name, unit),
            lambda: Gauge(self._provider.keep(series.Gauge(name, unit or "", description, self._scope))),
            lambda: metrics._NoOpGauge(name),  # noqa: SLF001  # likewise
        )

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Sequence[float] | None = None,
    ) -> metrics.Histogram:
        """A histogram. Without boundaries, seconds have those of `wk.histogram`, and all else OpenTelemetry's."""
        bounds = explicit_bucket_boundaries_advisory
        if bounds is None:
            bounds = SECONDS_BUCKETS if unit == "s" else DEFAULT_BUCKETS
        return self._make(
            metrics.Histogram,
            (name, unit),
            lambda: Histogram(
                self._provider.keep(series.Histogram(name, unit or "", description, self._scope, bounds))
            ),
            lambda: metrics.NoOpHistogram(name),
        )

    def create_observable_counter(
        self, name: str, callbacks: Sequence[CallbackT] | None = None, unit: str = "", description: str = ""
    ) -> metrics.ObservableCounter:
        """A counter that is read when somebody looks."""
        return self._observable(
            ObservableCounter, series.Counter, name, callbacks, unit, description, metrics.NoOpObservableCounter
        )

    def create_observable_up_down_counter(
        self, name: str, callbacks: Sequence[CallbackT] | None = None, unit: str = "", description: str = ""
    ) -> metrics.ObservableUpDownCounter:
        """A gauge that is read when somebody looks."""
        return self._observable(
            ObservableUpDownCounter,
            series.Gauge,
            name,
            callbacks,
            unit,
            description,
            metrics.NoOpObservableUpDownCounter,
        )

    def create_observable_gauge(
        self, name: str, callbacks: Sequence[CallbackT] | None = None, unit: str = "", description: str = ""
    ) -> metrics.ObservableGauge:
        """A gauge that is read when somebody looks."""
        return self._observable(
            ObservableGauge, series.Gauge, name, callbacks, unit, description, metrics.NoOpObservableGauge
        )

    def _observable(
        self,
        kind: Callable[[str], _Made],
        stream: type[series.Gauge],
        name: str,
        callbacks: Sequence[CallbackT] | None,
        unit: str,
        description: str,
        nothing: Callable[[str], _Made],
    ) -> _Made:
        def make() -> _Made:
            made: Any = kind(name)
            self._provider.watch(series.Observed(lambda: stream(name, unit or "", description, self._scope), made.ask))
            return made  # type: ignore[no-any-return]  # it is both

        found = self._make(kind, (name, unit), make, lambda: nothing(name))
        if isinstance(found, _Observable):
            try:
                found.call(callbacks)
            except Exception as error:  # noqa: BLE001  # a generator's first step
                _failed(found, error)
        return found

    def _make(
        self, kind: Any, identity: tuple[str, str], make: Callable[[], _Made], nothing: Callable[[], _Made]
    ) -> _Made:
        """The instrument of that identity, made if need be; one that does nothing if it cannot be."""
        name, unit = identity
        try:
            checked = metrics.Instrument._check_name_unit_description(name, unit, "")  # noqa: SLF001  # OpenTelemetry's rules
            if checked["name"] is None or checked["unit"] is None:
                raise ValueError(f"OpenTelemetry takes no instrument named {name!r} with the unit {unit!r}")
            return self._provider.instrument((self._scope, name.lower(), unit, kind), make)
        except Exception as error:  # noqa: BLE001
            boundary.failed(f"instrument {text_of(name)}", error)
            return nothing()


class MeterProvider(metrics.MeterProvider):
    """Ours, global unless the application has installed another."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._instruments: dict[Any, Any] = {}
        self.streams = series.Streams()

    def get_meter(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Any = None,  # noqa: ARG002  # of the scope
    ) -> metrics.Meter:
        """The meter of a scope; one that does nothing for what we count ourselves."""
        if name in COUNTED_BY_US:
            return NoOpMeter(name, version, schema_url)
        return Meter(self, name, version, schema_url)

    def install(self) -> None:
        """Becomes the global provider, also of meters that exist already, unless there is another.

        Not by `set_meter_provider`, which works once: an application that installs its own later still can.
        """
        declarations.computed("opentelemetry", lambda: self.streams)
        if _internal._METER_PROVIDER is not self and not global_provider_is_another():  # noqa: SLF001
            _internal._METER_PROVIDER = self  # noqa: SLF001
            _internal._PROXY_METER_PROVIDER.on_set_meter_provider(self)  # noqa: SLF001

    def after_fork(self) -> None:
        """A child finds no lock taken; what was counted is the registry's to forget."""
        self._lock = threading.RLock()

    def instrument(self, identity: Any, make: Callable[[], _Made]) -> _Made:
        """The instrument of that identity, made if need be."""
        with self._lock:
            found = self._instruments.get(identity)
            if found is None:
                if len(self._instruments) >= MOST_INSTRUMENTS:
                    raise ValueError(
                        f"there are {MOST_INSTRUMENTS} instruments: their names must be a few, written in code"
                    )
                found = self._instruments[identity] = make()
            result: _Made = found
            return result

    def keep(self, stream: Any) -> Any:
        """Shows it from now on."""
        self.streams.streams.append(stream)
        return stream

    def watch(self, observed: series.Observed) -> None:
        """Asks it from now on."""
        self.streams.observed.append(observed)


def global_provider_is_another() -> bool:
    """Whether the application has installed a meter provider. One that cannot be had is none."""
    try:
        return not isinstance(metrics.get_meter_provider(), MeterProvider | _ProxyMeterProvider)
    except Exception as error:  # noqa: BLE001  # StopIteration, and whatever the provider's own code raises
        boundary.say_once(
            OTEL_PYTHON_METER_PROVIDER,
            f"{OTEL_PYTHON_METER_PROVIDER} names a provider that cannot be had ({told(error)}): Watchkeeper's is used",
        )
        return False


def _failed(counted: Any, error: Exception) -> None:
    boundary.failed(f"metric {counted.name}", error)


meter_provider = MeterProvider()
