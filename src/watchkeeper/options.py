"""Options: nested, frozen, and parsed from an environment without touching anything else.

`Options()` are the defaults, `Options.from_environment(environ)` what a deployment asks for. OpenTelemetry's
variables come first; `WATCHKEEPER_*` name only what OpenTelemetry has no word for. Combine the two with
`dataclasses.replace`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args
from urllib.parse import unquote, urlsplit

LogFormat = Literal["auto", "json", "console"]
LogStream = Literal["stdout", "stderr", "off"]
Compression = Literal["auto", "gzip", "none"]
SamplerName = Literal[
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
]
IntegrationName = Literal["httpx", "sqlalchemy"]
LEVELS = {"trace": 5, "debug": 10, "info": 20, "warning": 30, "warn": 30, "error": 40, "critical": 50, "fatal": 50}
SIGNALS = ("traces", "logs", "metrics")
Number = TypeVar("Number", int, float)


class ConfigurationError(ValueError):
    """An option or a variable that cannot be used; the message names it and says what would be.

    Example:
        >>> import watchkeeper as wk
        >>> wk.configure(wk.Options(metrics=wk.MetricOptions(path="metrics")))
        Traceback (most recent call last):
        watchkeeper.options.ConfigurationError: metrics.path is 'metrics': it must start with / …
    """


@dataclass(frozen=True)
class ServiceOptions:
    """Who speaks: becomes the OTLP resource and a part of every log line.

    Example:
        >>> ServiceOptions(name="shop", version="1.2", environment="production", attributes={"team": "sales"})
    """

    name: str = "unknown_service"
    version: str = ""
    environment: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)  # further resource attributes


@dataclass(frozen=True)
class SignalOptions:
    """Where one signal goes. An empty `endpoint` means that it is not exported.

    Example:
        >>> SignalOptions("https://otlp.example/v1/traces", headers={"api-key": "secret"}, compression="gzip")
    """

    endpoint: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float = 10.0  # of one attempt
    compression: Compression = "auto"  # auto: gzip for large bodies that leave this machine


@dataclass(frozen=True)
class QueueOptions:
    """How much waits for export, per signal. What does not fit is dropped and counted.

    Example:
        >>> QueueOptions(capacity=20_000, batch=4_000, delay_seconds=0.5)
    """

    capacity: int = 8_192  # items; a span with ten attributes takes about 1 KB
    batch: int = 2_048  # items in one request
    delay_seconds: float = 1.0  # the longest an item waits for company


@dataclass(frozen=True)
class TraceOptions:
    """Which requests are traced. `excluded_urls` are regular expressions searched in `scheme://host/path`.

    Example:
        >>> TraceOptions(sampler="parentbased_traceidratio", ratio=0.1, excluded_urls=("/internal/",))
    """

    sampler: SamplerName = "parentbased_always_on"
    ratio: float = 1.0  # of the traceidratio samplers
    excluded_urls: tuple[str, ...] = ()
    excluded_prefixes: tuple[str, ...] = ("/health",)  # probes


@dataclass(frozen=True)
class LogOptions:
    """What is logged and how it looks. `format="auto"` is console on a terminal and JSON elsewhere.

    Example:
        >>> LogOptions(level=10, format="json", stream="stderr")
    """

    level: int = LEVELS["info"]
    format: LogFormat = "auto"
    stream: LogStream = "stdout"
    flush_seconds: float = 0.2  # the longest a line below error waits in the buffer
    capture: bool = True  # also lines of the standard library's logging and of structlog


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
    queue: QueueOptions = field(default_factory=QueueOptions)
    export: Mapping[str, SignalOptions] = field(default_factory=lambda: _exports({}))  # by signal name
    propagators: tuple[str, ...] = ("tracecontext", "baggage")
    integrations: tuple[str, ...] = ("httpx", "sqlalchemy")  # installed where the application imports the library
    enabled: bool = True  # False: every call works and does nothing
    strict: bool | None = None  # raise the SDK's own failures; None: only under pytest

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Options:
        """Options for a deployment. Raises ConfigurationError that names the variable it cannot read."""
        resource = _pairs(environ, "OTEL_RESOURCE_ATTRIBUTES")
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
            logs=_logs(environ),
            metrics=_metrics(environ),
            queue=QueueOptions(
                capacity=_number(environ, "OTEL_BSP_MAX_QUEUE_SIZE", QueueOptions.capacity, int),
                batch=_number(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", QueueOptions.batch, int),
                delay_seconds=_number(environ, "OTEL_BSP_SCHEDULE_DELAY", QueueOptions.delay_seconds * 1e3, float)
                / 1e3,
            ),
            export=_exports(environ),
            propagators=_list(environ, "OTEL_PROPAGATORS") or cls().propagators,
            integrations=_integrations(environ),
            enabled=not _flag(environ, "OTEL_SDK_DISABLED", default=False),
            strict=None if strict is None else _flag(environ, "WATCHKEEPER_STRICT", default=False),
        )
        options.validate()
        return options

    def validate(self) -> None:
        """Raises ConfigurationError for the first option that cannot work."""
        if not self.service.name:
            raise ConfigurationError("service.name is empty: name the service, or leave the option out")
        _choice("traces.sampler", self.traces.sampler, SamplerName)
        _choice("logs.format", self.logs.format, LogFormat)
        _choice("logs.stream", self.logs.stream, LogStream)
        _within("traces.ratio", self.traces.ratio, 0.0, 1.0)
        _within("queue.capacity", self.queue.capacity, 1, 1_000_000)
        _within("queue.batch", self.queue.batch, 1, self.queue.capacity)
        _within("queue.delay_seconds", self.queue.delay_seconds, 0.01, 3_600)
        _within("metrics.interval_seconds", self.metrics.interval_seconds, 0.1, 86_400)
        _within("metrics.label_limit", self.metrics.label_limit, 1, 1_000_000)
        for name in self.metrics.default_labels:
            if not re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name) or name.startswith("__") or name in {"le", "quantile"}:
                raise ConfigurationError(
                    f"metrics.default_labels has a label {name!r}: use letters, digits and underscores, not a digit"
                    " first, not two underscores first, and neither le nor quantile"
                )
        _within("logs.flush_seconds", self.logs.flush_seconds, 0.0, 60)
        if self.metrics.path and not self.metrics.path.startswith("/"):
            raise ConfigurationError(
                f"metrics.path is {self.metrics.path!r}: it must start with / (or be empty for none)"
            )
        for pattern in self.traces.excluded_urls:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigurationError(
                    f"traces.excluded_urls: {pattern!r} is not a regular expression: {error}"
                ) from error
        for name in self.integrations:
            _choice("integrations", name, IntegrationName)
        for signal, target in self.export.items():
            _check_target(signal, target)


def _traces(environ: Mapping[str, str]) -> TraceOptions:
    sampler = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower() or TraceOptions.sampler
    _choice("OTEL_TRACES_SAMPLER", sampler, SamplerName)
    names = (
        "OTEL_PYTHON_EXCLUDED_URLS",
        *(f"OTEL_PYTHON_{kind}_EXCLUDED_URLS" for kind in ("ASGI", "FASTAPI", "STARLETTE")),
    )
    ratio = _number(environ, "OTEL_TRACES_SAMPLER_ARG", 1.0, float) if "ratio" in sampler else 1.0
    if not 0.0 <= ratio <= 1.0:
        raise ConfigurationError(f"OTEL_TRACES_SAMPLER_ARG is {ratio}: it must be between 0 and 1")
    return TraceOptions(
        sampler=sampler,  # type: ignore[arg-type]  # checked above
        ratio=ratio,
        excluded_urls=tuple(pattern for name in names for pattern in _list(environ, name)),
    )


def _logs(environ: Mapping[str, str]) -> LogOptions:
    level = environ.get("WATCHKEEPER_LOG_LEVEL", "info").strip().lower()
    if level not in LEVELS:
        raise ConfigurationError(f"WATCHKEEPER_LOG_LEVEL is {level!r}: use one of {', '.join(LEVELS)}")
    chosen_format = environ.get("WATCHKEEPER_LOG_FORMAT", "auto").strip().lower()
    stream = environ.get("WATCHKEEPER_LOG_STREAM", "stdout").strip().lower()
    _choice("WATCHKEEPER_LOG_FORMAT", chosen_format, LogFormat)
    _choice("WATCHKEEPER_LOG_STREAM", stream, LogStream)
    return LogOptions(
        level=LEVELS[level],
        format=chosen_format,  # type: ignore[arg-type]  # checked above
        stream=stream,  # type: ignore[arg-type]  # checked above
        capture=_flag(environ, "WATCHKEEPER_LOG_CAPTURE", default=True),
    )


def _integrations(environ: Mapping[str, str]) -> tuple[str, ...]:
    if "WATCHKEEPER_INTEGRATIONS" not in environ:
        return get_args(IntegrationName)
    names = tuple(name for name in _list(environ, "WATCHKEEPER_INTEGRATIONS") if name != "none")
    for name in names:
        _choice("WATCHKEEPER_INTEGRATIONS", name, IntegrationName)
    return names


def _metrics(environ: Mapping[str, str]) -> MetricOptions:
    path = environ.get("WATCHKEEPER_METRICS_PATH", MetricOptions.path).strip()
    milliseconds = MetricOptions.interval_seconds * 1e3
    for name in ("OTEL_METRIC_EXPORT_INTERVAL", "WATCHKEEPER_METRIC_EXPORT_INTERVAL"):
        milliseconds = _number(environ, name, milliseconds, float)
    return MetricOptions(
        path="" if path == "off" else path,
        interval_seconds=milliseconds / 1e3,
        label_limit=_number(environ, "WATCHKEEPER_METRIC_LABEL_LIMIT", MetricOptions.label_limit, int),
        default_labels=_pairs(environ, "WATCHKEEPER_METRIC_LABELS"),
    )


def _exports(environ: Mapping[str, str]) -> dict[str, SignalOptions]:
    """One target a signal, by OTLP's rules.

    A signal's own endpoint is used as it is, the common one gets `/v1/<signal>`.
    """
    base = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip() or "http://localhost:4318"
    targets = {}
    for signal in SIGNALS:
        prefix = f"OTEL_EXPORTER_OTLP_{signal.upper()}_"
        exporter = environ.get(f"OTEL_{signal.upper()}_EXPORTER", "otlp").strip().lower() or "otlp"
        _choice(f"OTEL_{signal.upper()}_EXPORTER", exporter, Literal["otlp", "none"])
        endpoint = environ.get(f"{prefix}ENDPOINT", "").strip() or f"{base.rstrip('/')}/v1/{signal}"
        headers = _pairs(environ, "OTEL_EXPORTER_OTLP_HEADERS") | _pairs(environ, f"{prefix}HEADERS")
        common = _number(environ, "OTEL_EXPORTER_OTLP_TIMEOUT", SignalOptions.timeout_seconds * 1e3, float)
        compression = environ.get(f"{prefix}COMPRESSION") or environ.get("OTEL_EXPORTER_OTLP_COMPRESSION") or "auto"
        _choice("OTEL_EXPORTER_OTLP_COMPRESSION", compression, Compression)
        targets[signal] = SignalOptions(
            endpoint="" if exporter == "none" else endpoint,
            headers=headers,
            timeout_seconds=_number(environ, f"{prefix}TIMEOUT", common, float) / 1e3,
            compression=compression,  # type: ignore[arg-type]  # checked above
        )
    return targets


def _check_target(signal: str, target: SignalOptions) -> None:
    if signal not in SIGNALS:
        raise ConfigurationError(f"export has a target for {signal!r}: the signals are {', '.join(SIGNALS)}")
    _choice(f"export[{signal!r}].compression", target.compression, Compression)
    _within(f"export[{signal!r}].timeout_seconds", target.timeout_seconds, 0.001, 3_600)
    if not target.endpoint:
        return
    try:
        url = urlsplit(target.endpoint)
        usable = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(
            f"the OTLP endpoint of {signal} is {target.endpoint!r}: it must be an http:// or https:// URL"
            f" (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT)"
        )


def _choice(name: str, value: str, choices: Any) -> None:
    if value not in get_args(choices):
        raise ConfigurationError(f"{name} is {value!r}: use one of {', '.join(get_args(choices))}")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigurationError(f"{name} is {value}: it must be between {low} and {high}")


def _number(environ: Mapping[str, str], name: str, default: Number, kind: type[Number]) -> Number:
    text = environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = kind(text)
    except ValueError:
        raise ConfigurationError(f"{name} is {text!r}: it must be a number") from None
    if value < 0:
        raise ConfigurationError(f"{name} is {text}: it cannot be negative")
    return value


def _flag(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = environ.get(name, "").strip().lower()
    if text not in {"", "true", "false", "1", "0"}:
        raise ConfigurationError(f"{name} is {text!r}: use true or false")
    return text in {"true", "1"} if text else default


def _list(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in environ.get(name, "").split(",") if part.strip())


def _pairs(environ: Mapping[str, str], name: str) -> dict[str, str]:
    """`key=value,key2=value2` with percent-encoded values, as W3C Baggage writes them."""
    pairs = {}
    for part in _list(environ, name):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise ConfigurationError(f"{name} holds {part!r}: it must be a list of key=value, separated by commas")
        pairs[key.strip()] = unquote(value.strip())
    return pairs
