"""Options: nested, frozen, and parsed from an environment without touching anything else.

`Options()` are the defaults, `Options.from_environment(environ)` what a deployment asks for. OpenTelemetry's
variables come first; `WATCHKEEPER_*` name only what OpenTelemetry has no word for. Combine the two with
`dataclasses.replace`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from typing import Any, Literal
from urllib.parse import urlsplit

from watchkeeper.caches.options import CacheOptions
from watchkeeper.databases.options import DatabaseOptions
from watchkeeper.environment import (
    ConfigurationError,
    Reading,
    check_choice,
    check_pattern,
    check_within,
    flag_in,
    list_in,
    naming_variable,
    number_in,
    pairs_in,
    short,
)
from watchkeeper.errors.options import ErrorOptions
from watchkeeper.export.options import QueueOptions, SignalOptions, check_target, exporters_in, exports_in
from watchkeeper.health.options import HealthOptions
from watchkeeper.integrations.names import INTEGRATIONS
from watchkeeper.language_models.options import ModelOptions
from watchkeeper.logging.options import LogOptions
from watchkeeper.option_types import settled

ConsoleStream = Literal["stdout", "stderr", "off"]
SamplerName = Literal[
    "always_on",
    "always_off",
    "traceidratio",
    "ratelimited",
    "adaptive",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
    "parentbased_ratelimited",
    "parentbased_adaptive",
]
_OURS = "WATCHKEEPER_"
_NO_OPTIONS = frozenset({"RUN_PID", "COMPILE"})  # of these
_NOT_HEEDED = (  # of OpenTelemetry's
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
)
_PROPAGATORS = ("tracecontext", "baggage")
_SAMPLER_ARGUMENTS = {  # the option that OTEL_TRACES_SAMPLER_ARG is
    "traceidratio": "ratio",
    "ratelimited": "traces_per_second",
    "adaptive": "spans_per_second",
}


@dataclass(frozen=True)
class ServiceOptions:
    """Who speaks: becomes the OTLP resource and a part of every log line.

    Example:
        >>> ServiceOptions(name="shop", version="1.2", environment="production", attributes={"team": "sales"})
    """

    name: str = "unknown_service"
    version: str = ""
    environment: str = ""
    attributes: Mapping[str, str | bool | int | float] = field(default_factory=dict)  # further ones of the resource


@dataclass(frozen=True)
class TraceOptions:
    """Which requests are traced. `excluded_urls` are regular expressions searched in `scheme://host/path`.

    Example:
        >>> TraceOptions(sampler="parentbased_traceidratio", ratio=0.1, excluded_urls=("/internal/",))
    """

    sampler: SamplerName = "parentbased_always_on"
    ratio: float = 1.0  # of the traceidratio samplers
    traces_per_second: float = 100.0  # of the ratelimited samplers
    spans_per_second: float = 100.0  # of the adaptive samplers
    slow_seconds: float = 1.0  # adaptive samplers keep every request that takes as long
    excluded_urls: tuple[str, ...] = ()
    excluded_prefixes: tuple[str, ...] = ("/health",)  # probes
    console: ConsoleStream = "off"  # where they are drawn besides, wherever they go


@dataclass(frozen=True)
class MetricOptions:
    """How metrics leave: exposed at `path` (empty: not), pushed every `interval_seconds`.

    Example:
        >>> MetricOptions(path="/internal/metrics", interval_seconds=60)
    """

    path: str = "/metrics"
    interval_seconds: float = 15.0
    label_limit: int = 1_000  # label sets of one metric; the excess is one series labelled __other__
    default_labels: Mapping[str, str] = field(default_factory=dict)  # on every series that has none of that name


@dataclass(frozen=True)
class Options:
    """Everything `configure` can be told.

    Example:
        >>> import dataclasses, watchkeeper as wk
        >>> options = wk.Options.from_environment()
        >>> wk.configure(dataclasses.replace(options, traces=wk.TraceOptions(sampler="traceidratio", ratio=0.1)))
    """

    service: ServiceOptions = field(default_factory=ServiceOptions)
    traces: TraceOptions = field(default_factory=TraceOptions)
    logs: LogOptions = field(default_factory=LogOptions)
    metrics: MetricOptions = field(default_factory=MetricOptions)
    errors: ErrorOptions = field(default_factory=ErrorOptions)
    health: HealthOptions = field(default_factory=HealthOptions)
    models: ModelOptions = field(default_factory=ModelOptions)  # calls of language models
    databases: DatabaseOptions = field(default_factory=DatabaseOptions)
    caches: CacheOptions = field(default_factory=CacheOptions)
    queue: QueueOptions = field(default_factory=QueueOptions)
    export: Mapping[str, SignalOptions] = field(default_factory=lambda: exports_in(Reading({})))  # by signal name
    propagators: tuple[str, ...] = _PROPAGATORS
    integrations: tuple[str, ...] = tuple(INTEGRATIONS)  # installed where the application imports the library
    enabled: bool = True  # False: every call works and does nothing
    strict: bool | None = None  # raise the SDK's own failures; None: only under pytest
    notices: tuple[str, ...] = field(default=(), repr=False, compare=False)  # what `configure` says of the environment

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Options:
        """Options for a deployment. Raises ConfigurationError that names the variable it cannot read."""
        try:
            return cls._from(environ)
        except ConfigurationError as error:
            raise ConfigurationError(naming_variable(error, environ, cls._from)) from None

    @classmethod
    def _from(cls, variables: Mapping[str, str]) -> Options:
        environ = Reading(variables)
        resource = pairs_in(environ, "OTEL_RESOURCE_ATTRIBUTES")
        strict = environ.get("WATCHKEEPER_STRICT")
        options = cls(
            service=ServiceOptions(
                name=environ.get("OTEL_SERVICE_NAME") or resource.pop("service.name", "") or ServiceOptions.name,
                version=resource.pop("service.version", ""),
                environment=environ.get("WATCHKEEPER_ENVIRONMENT")
                or resource.pop("deployment.environment.name", "")
                or resource.pop("deployment.environment", ""),
                attributes=resource,
            ),
            traces=_traces(environ),
            logs=LogOptions.from_environment(environ),
            metrics=_metrics(environ),
            errors=ErrorOptions.from_environment(environ),
            health=HealthOptions.from_environment(environ),
            models=ModelOptions.from_environment(environ),
            databases=DatabaseOptions.from_environment(environ),
            caches=CacheOptions.from_environment(environ),
            queue=QueueOptions(
                capacity=number_in(environ, "OTEL_BSP_MAX_QUEUE_SIZE", QueueOptions.capacity, int),
                batch=number_in(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", QueueOptions.batch, int),
                delay_seconds=number_in(environ, "OTEL_BSP_SCHEDULE_DELAY", QueueOptions.delay_seconds * 1e3, float)
                / 1e3,
            ),
            export=exports_in(environ),
            propagators=_propagators(environ),
            integrations=_integrations(environ),
            enabled=not flag_in(environ, "OTEL_SDK_DISABLED", default=False),
            strict=None if strict is None else flag_in(environ, "WATCHKEEPER_STRICT", default=False),
        )
        options.validate()
        return replace(options, notices=(*environ.notices, *_not_heeded(environ)))

    def validate(self) -> None:
        """Raises ConfigurationError for the first option that cannot work."""
        usable(self)

    def _check_values(self) -> None:
        if not self.service.name:
            raise ConfigurationError("service.name is empty: name the service, or leave the option out")
        _check_sampler("traces.sampler", self.traces.sampler)
        check_choice("traces.console", self.traces.console, ConsoleStream)
        self.logs.validate()
        self.errors.validate()
        self.databases.validate()
        self.caches.validate()
        self.health.validate()
        self.models.validate()
        check_within("traces.ratio", self.traces.ratio, 0.0, 1.0)
        check_within("traces.traces_per_second", self.traces.traces_per_second, 0.0, 1e6)
        check_within("traces.spans_per_second", self.traces.spans_per_second, 0.0, 1e6)
        check_within("traces.slow_seconds", self.traces.slow_seconds, 0.0, 86_400)
        check_within("queue.capacity", self.queue.capacity, 1, 1_000_000)
        check_within("queue.batch", self.queue.batch, 1, 1_000_000)
        check_within("queue.delay_seconds", self.queue.delay_seconds, 0.01, 3_600)
        check_within("metrics.interval_seconds", self.metrics.interval_seconds, 0.1, 86_400)
        check_within("metrics.label_limit", self.metrics.label_limit, 1, 1_000_000)
        for name in self.metrics.default_labels:
            if not re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name) or name.startswith("__") or name in {"le", "quantile"}:
                raise ConfigurationError(
                    f"metrics.default_labels has a label {name!r}: use letters, digits and underscores, not a digit"
                    " first, not two underscores first, and neither le nor quantile"
                )
        if self.metrics.path and not self.metrics.path.startswith("/"):
            raise ConfigurationError(
                f"metrics.path is {self.metrics.path!r}: it must start with / (or be empty for none)"
            )
        for pattern in self.traces.excluded_urls:
            check_pattern("traces.excluded_urls", pattern)
        for name in self.integrations:
            _check_integration("integrations", name)
        for name in self.propagators:
            _check_propagator(name)
        for signal, target in self.export.items():
            check_target(signal, target)


def usable(options: Any) -> Options:
    """Options in the types that they declare, and with values that can work.

    Raises ConfigurationError for the first that is not so, whatever `options` are.
    """
    taken = settled("", options, Options)
    taken._check_values()  # noqa: SLF001  # its class's own
    return taken


def said_of(options: Options) -> Iterator[str]:
    """What `configure` says of options that can work, and may not be what was meant."""
    yield from options.notices
    for signal, target in options.export.items():
        if target.protocol == "http/protobuf" and target.endpoint and urlsplit(target.endpoint).path in {"", "/"}:
            yield (
                f"export[{signal!r}].endpoint is {target.endpoint}, and nothing is added to it: most servers have"
                f" {target.endpoint.rstrip('/')}/v1/{signal}"
            )
    folder = os.path.dirname(options.logs.file.path)  # noqa: PTH120  # Path raises for what no file can be named
    if folder and not os.path.isdir(folder):  # noqa: PTH112  # likewise
        yield f"logs.file.path is in {folder}, a folder that is not there: it is made"


def _traces(environ: Reading) -> TraceOptions:
    sampler = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower() or TraceOptions.sampler
    _check_sampler("OTEL_TRACES_SAMPLER", sampler)
    names = (
        "OTEL_PYTHON_EXCLUDED_URLS",
        *(f"OTEL_PYTHON_{kind}_EXCLUDED_URLS" for kind in ("ASGI", "FASTAPI", "STARLETTE", "WSGI", "FLASK", "DJANGO")),
    )
    wanted = TraceOptions(
        sampler=sampler,  # type: ignore[arg-type]  # checked above
        slow_seconds=number_in(environ, "WATCHKEEPER_TRACES_SLOW", TraceOptions.slow_seconds * 1e3, float) / 1e3,
        excluded_urls=tuple(pattern for name in names for pattern in list_in(environ, name)),
        console="stdout" if {"console"} < {*exporters_in(environ, "traces")} else "off",
    )
    argument = _SAMPLER_ARGUMENTS.get(sampler.removeprefix("parentbased_"))
    if argument is None:
        return wanted
    value = number_in(environ, "OTEL_TRACES_SAMPLER_ARG", getattr(wanted, argument), float)
    if argument == "ratio":
        check_within("OTEL_TRACES_SAMPLER_ARG", value, 0.0, 1.0)
    return replace(wanted, **{argument: value})


def _check_sampler(name: str, sampler: str) -> None:
    if sampler.removeprefix("parentbased_") in {"jaeger_remote", "xray"}:
        raise ConfigurationError(
            f"{name} is {sampler!r}: samplers that ask a remote service for their rules are not part of Watchkeeper;"
            " use parentbased_ratelimited or parentbased_adaptive"
        )
    check_choice(name, sampler, SamplerName)


def _propagators(environ: Reading) -> tuple[str, ...]:
    """Those that OTEL_PROPAGATORS names, without what is not installed: that is said, and stops nobody."""
    named = [name.lower() for name in list_in(environ, "OTEL_PROPAGATORS")]
    usable_ones, missing = [], []
    for name in named:
        try:
            _check_propagator(name)
        except ConfigurationError:
            missing.append(name)
        else:
            usable_ones.append(name)
    chosen = tuple(usable_ones) or _PROPAGATORS
    if missing:
        environ.notices.append(
            f"OTEL_PROPAGATORS names {', '.join(map(short, missing))}, which is not installed: headers are those of"
            f" {', '.join(chosen)}"
        )
    return chosen


def _not_heeded(environ: Reading) -> Iterator[str]:
    """What is to be said of variables that do nothing."""
    unknown = {
        name: near for name, near in environ.unknown(_OURS).items() if name.removeprefix(_OURS) not in _NO_OPTIONS
    }
    if unknown:
        told = (f"{name} (did you mean {near}?)" if near else name for name, near in unknown.items())
        yield f"Watchkeeper has no variable {', '.join(told)}"
    limits = [name for name in _NOT_HEEDED if environ.get(name, "").strip()]
    if limits:
        yield f"Watchkeeper does not heed {', '.join(limits)}: what spans and lines may hold is fixed"


def _check_propagator(name: str) -> None:
    if name in {"tracecontext", "baggage", "none"} or entry_points(group="opentelemetry_propagator", name=name):
        return
    known = sorted({point.name for point in entry_points(group="opentelemetry_propagator")} | {"none"})
    raise ConfigurationError(
        f"propagators (OTEL_PROPAGATORS) name {name!r}, which is not installed: use some of {', '.join(known)}"
    )


def _check_integration(name: str, integration: str) -> None:
    if integration not in INTEGRATIONS:
        raise ConfigurationError(f"{name} has {integration!r}: use some of {', '.join(INTEGRATIONS)}, or none")


def _integrations(environ: Mapping[str, str]) -> tuple[str, ...]:
    if "WATCHKEEPER_INTEGRATIONS" not in environ:
        return tuple(INTEGRATIONS)
    names = tuple(name for name in list_in(environ, "WATCHKEEPER_INTEGRATIONS") if name != "none")
    for name in names:
        _check_integration("WATCHKEEPER_INTEGRATIONS", name)
    return names


def _metrics(environ: Mapping[str, str]) -> MetricOptions:
    path = environ.get("WATCHKEEPER_METRICS_PATH", MetricOptions.path).strip()
    milliseconds = MetricOptions.interval_seconds * 1e3
    for name in ("OTEL_METRIC_EXPORT_INTERVAL", "WATCHKEEPER_METRIC_EXPORT_INTERVAL"):
        milliseconds = number_in(environ, name, milliseconds, float)
    return MetricOptions(
        path="" if path == "off" else path,
        interval_seconds=milliseconds / 1e3,
        label_limit=number_in(environ, "WATCHKEEPER_METRIC_LABEL_LIMIT", MetricOptions.label_limit, int),
        default_labels=pairs_in(environ, "WATCHKEEPER_METRIC_LABELS"),
    )
