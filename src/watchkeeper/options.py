"""Options: nested, frozen, and parsed from an environment without touching anything else.

`Options()` are the defaults, `Options.from_environment(environ)` what a deployment asks for. OpenTelemetry's
variables come first; `WATCHKEEPER_*` name only what OpenTelemetry has no word for. Combine the two with
`dataclasses.replace`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, Literal

from watchkeeper.caches.options import CacheOptions
from watchkeeper.databases.options import DatabaseOptions
from watchkeeper.environment import (
    ConfigurationError,
    check_choice,
    check_file,
    check_pattern,
    check_url,
    check_within,
    flag_in,
    list_in,
    naming_variable,
    number_in,
    pairs_in,
)
from watchkeeper.errors.options import ErrorOptions
from watchkeeper.health.options import HealthOptions
from watchkeeper.integrations.names import INTEGRATIONS
from watchkeeper.language_models.options import ModelOptions
from watchkeeper.logging.options import LogOptions
from watchkeeper.option_types import settled

Compression = Literal["auto", "gzip", "none"]
Protocol = Literal["http/protobuf", "grpc", "zipkin", "console"]
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
SIGNALS = ("traces", "logs", "metrics")
_OTLP_OR_NONE = Literal["otlp", "none"]
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
class SignalOptions:
    """Where one signal goes. An empty `endpoint` means that it is not exported.

    Traces may speak `zipkin` (Zipkin v2 JSON) and `console`, whose endpoint is `stdout` or `stderr`.

    Example:
        >>> SignalOptions("https://otlp.example/v1/traces", headers={"api-key": "secret"}, compression="gzip")
        >>> SignalOptions("http://localhost:4317", protocol="grpc")
        >>> SignalOptions("stdout", protocol="console")
    """

    endpoint: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # keys among them
    timeout_seconds: float = 10.0  # of one attempt
    compression: Compression = "auto"  # auto: gzip for large bodies that leave this machine
    protocol: Protocol = "http/protobuf"
    certificate: str = ""  # a file of authorities to trust instead of the system's
    client_certificate: str = ""  # files of what this process shows a server that asks
    client_key: str = ""


@dataclass(frozen=True)
class QueueOptions:
    """How much waits for export, per signal. What does not fit is dropped and counted.

    Example:
        >>> QueueOptions(capacity=20_000, batch=4_000, delay_seconds=0.5)
    """

    capacity: int = 8_192  # items; a span with ten attributes takes about 1 KB
    batch: int = 2_048  # items in one request, at most a queue's capacity
    delay_seconds: float = 1.0  # the longest an item waits for company


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
    export: Mapping[str, SignalOptions] = field(default_factory=lambda: _exports({}))  # by signal name
    propagators: tuple[str, ...] = ("tracecontext", "baggage")
    integrations: tuple[str, ...] = tuple(INTEGRATIONS)  # installed where the application imports the library
    enabled: bool = True  # False: every call works and does nothing
    strict: bool | None = None  # raise the SDK's own failures; None: only under pytest

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Options:
        """Options for a deployment. Raises ConfigurationError that names the variable it cannot read."""
        try:
            return cls._from(environ)
        except ConfigurationError as error:
            raise ConfigurationError(naming_variable(error, environ, cls._from)) from None

    @classmethod
    def _from(cls, environ: Mapping[str, str]) -> Options:
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
            export=_exports(environ),
            propagators=list_in(environ, "OTEL_PROPAGATORS") or cls().propagators,
            integrations=_integrations(environ),
            enabled=not flag_in(environ, "OTEL_SDK_DISABLED", default=False),
            strict=None if strict is None else flag_in(environ, "WATCHKEEPER_STRICT", default=False),
        )
        options.validate()
        return options

    def validate(self) -> None:
        """Raises ConfigurationError for the first option that cannot work."""
        usable(self)

    def _check_values(self) -> None:
        if not self.service.name:
            raise ConfigurationError("service.name is empty: name the service, or leave the option out")
        _check_sampler("traces.sampler", self.traces.sampler)
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
            _check_target(signal, target)


def usable(options: Any) -> Options:
    """Options in the types that they declare, and with values that can work.

    Raises ConfigurationError for the first that is not so, whatever `options` are.
    """
    taken = settled("", options, Options)
    taken._check_values()  # noqa: SLF001  # its class's own
    return taken


def _traces(environ: Mapping[str, str]) -> TraceOptions:
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


def _exports(environ: Mapping[str, str]) -> dict[str, SignalOptions]:
    """One target a signal, by OpenTelemetry's rules."""
    targets = {}
    for signal in SIGNALS:
        name = f"OTEL_{signal.upper()}_EXPORTER"
        exporter = environ.get(name, "otlp").strip().lower() or "otlp"
        known = Literal["otlp", "zipkin", "console", "none"] if signal == "traces" else _OTLP_OR_NONE
        check_choice(name, exporter, known)
        if exporter == "zipkin":
            targets[signal] = SignalOptions(
                environ.get("OTEL_EXPORTER_ZIPKIN_ENDPOINT", "").strip() or "http://localhost:9411/api/v2/spans",
                timeout_seconds=number_in(environ, "OTEL_EXPORTER_ZIPKIN_TIMEOUT", 10_000.0, float) / 1e3,
                protocol="zipkin",
            )
        elif exporter == "console":
            targets[signal] = SignalOptions("stdout", protocol="console")
        else:
            target = _otlp_target(environ, signal)
            targets[signal] = replace(target, endpoint="") if exporter == "none" else target
    return targets


def _otlp_target(environ: Mapping[str, str], signal: str) -> SignalOptions:
    """A signal's own endpoint is used as it is; over HTTP the common one gets `/v1/<signal>`.

    Without either, OpenTelemetry's default is where a signal goes whose exporter is named; no other goes anywhere.
    """
    prefix = f"OTEL_EXPORTER_OTLP_{signal.upper()}_"
    protocol = environ.get(f"{prefix}PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    check_choice(_set_of(environ, prefix, "PROTOCOL"), protocol, Literal["http/protobuf", "grpc"])
    base, own = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip(), environ.get(f"{prefix}ENDPOINT", "").strip()
    if not (own or base or environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip()):
        endpoint = ""
    elif protocol == "grpc":
        endpoint = own or base or "http://localhost:4317"
        if "://" not in endpoint:  # gRPC's way to name a host, secure unless said otherwise
            insecure = flag_in(environ, "OTEL_EXPORTER_OTLP_INSECURE", default=False)
            endpoint = f"{'http' if insecure else 'https'}://{endpoint}"
    else:
        endpoint = own or f"{(base or 'http://localhost:4318').rstrip('/')}/v1/{signal}"
    headers = pairs_in(environ, "OTEL_EXPORTER_OTLP_HEADERS") | pairs_in(environ, f"{prefix}HEADERS")
    common = number_in(environ, "OTEL_EXPORTER_OTLP_TIMEOUT", SignalOptions.timeout_seconds * 1e3, float)
    compression = environ.get(f"{prefix}COMPRESSION") or environ.get("OTEL_EXPORTER_OTLP_COMPRESSION") or "auto"
    check_choice(_set_of(environ, prefix, "COMPRESSION"), compression, Compression)
    files = {}
    for option in ("certificate", "client_certificate", "client_key"):
        name = _set_of(environ, prefix, option.upper())
        files[option] = environ.get(name, "")
        check_file(name, files[option])
    return SignalOptions(
        endpoint=endpoint,
        headers=headers,
        timeout_seconds=number_in(environ, f"{prefix}TIMEOUT", common, float) / 1e3,
        compression=compression,  # type: ignore[arg-type]  # checked above
        protocol=protocol,  # type: ignore[arg-type]  # likewise
        **files,
    )


def _set_of(environ: Mapping[str, str], prefix: str, name: str) -> str:
    """The variable that counts: the signal's own if it is set, else the common one."""
    return f"{prefix}{name}" if environ.get(f"{prefix}{name}") else f"OTEL_EXPORTER_OTLP_{name}"


def _check_target(signal: str, target: SignalOptions) -> None:
    if signal not in SIGNALS:
        raise ConfigurationError(f"export has a target for {signal!r}: the signals are {', '.join(SIGNALS)}")
    check_choice(f"export[{signal!r}].compression", target.compression, Compression)
    check_choice(f"export[{signal!r}].protocol", target.protocol, Protocol)
    check_within(f"export[{signal!r}].timeout_seconds", target.timeout_seconds, 0.001, 3_600)
    if not target.endpoint:
        return
    if target.protocol in {"zipkin", "console"} and signal != "traces":
        raise ConfigurationError(f"export[{signal!r}].protocol is {target.protocol!r}, which only traces can speak")
    if target.protocol == "console":
        check_choice(f"export[{signal!r}].endpoint", target.endpoint, Literal["stdout", "stderr"])
        return
    if target.protocol == "grpc" and find_spec("grpc") is None:
        raise ConfigurationError(
            f"the protocol of {signal} is grpc, which needs the package grpcio: pip install 'watchkeeper[grpc]'"
        )
    variables = (
        "OTEL_EXPORTER_ZIPKIN_ENDPOINT"
        if target.protocol == "zipkin"
        else f"OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"
    )
    check_url(f"the endpoint of {signal} ({variables})", target.endpoint)
    for option in ("certificate", "client_certificate", "client_key"):
        check_file(f"export[{signal!r}].{option}", getattr(target, option))
    if bool(target.client_certificate) != bool(target.client_key):
        raise ConfigurationError(
            f"export[{signal!r}] has one of client_certificate and client_key"
            " (OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE, OTEL_EXPORTER_OTLP_CLIENT_KEY): give both"
        )
