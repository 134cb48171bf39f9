"""Options of export: where each signal goes, and how much of it waits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any, Literal

from watchkeeper.environment import (
    ConfigurationError,
    Reading,
    check_choice,
    check_file,
    check_url,
    check_within,
    flag_in,
    list_in,
    number_in,
    pairs_in,
)

Compression = Literal["auto", "gzip", "none"]
Protocol = Literal["http/protobuf", "grpc", "zipkin", "console"]
SIGNALS = ("traces", "logs", "metrics")
_EXPORTERS: Mapping[str, Any] = {  # of OpenTelemetry's, what each signal may name
    "traces": Literal["otlp", "zipkin", "console", "none"],
    "logs": Literal["otlp", "console", "none"],  # the console has log lines anyway
    "metrics": Literal["otlp", "prometheus", "console", "none"],  # so has Prometheus what it asks for
}


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


def exports_in(environ: Reading) -> dict[str, SignalOptions]:
    """One target a signal, by OpenTelemetry's rules."""
    targets = {}
    for signal in SIGNALS:
        exporters = exporters_in(environ, signal)
        if "zipkin" in exporters and "otlp" in exporters:
            environ.notices.append("OTEL_TRACES_EXPORTER names otlp and zipkin: traces go one way, which is otlp")
        if "otlp" in exporters:
            targets[signal] = _otlp_target(environ, signal)
        elif "zipkin" in exporters:
            targets[signal] = SignalOptions(
                environ.get("OTEL_EXPORTER_ZIPKIN_ENDPOINT", "").strip() or "http://localhost:9411/api/v2/spans",
                timeout_seconds=number_in(environ, "OTEL_EXPORTER_ZIPKIN_TIMEOUT", 10_000.0, float) / 1e3,
                protocol="zipkin",
            )
        elif signal == "traces" and "console" in exporters:
            targets[signal] = SignalOptions("stdout", protocol="console")
        else:  # what is wrong with the other variables is said all the same
            targets[signal] = replace(_otlp_target(environ, signal), endpoint="")
    return targets


def exporters_in(environ: Reading, signal: str) -> Collection[str]:
    """Where a signal goes by its variable, which is a list."""
    name = f"OTEL_{signal.upper()}_EXPORTER"
    exporters = [exporter.lower() for exporter in list_in(environ, name)] or ["otlp"]
    for exporter in exporters:
        check_choice(name, exporter, _EXPORTERS[signal])
    if "none" in exporters:
        return ()
    if signal == "metrics" and "console" in exporters:
        environ.notices.append(f"{name} names console: metrics are not printed, they are at the path of metrics.path")
    return exporters


def _otlp_target(environ: Reading, signal: str) -> SignalOptions:
    """A signal's own endpoint is used as it is; over HTTP the common one gets `/v1/<signal>`.

    Without either, OpenTelemetry's default is where a signal goes whose exporter is named; no other goes anywhere.
    """
    prefix = f"OTEL_EXPORTER_OTLP_{signal.upper()}_"
    protocol = environ.get(f"{prefix}PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    if protocol == "http/json":
        name, protocol = _set_of(environ, prefix, "PROTOCOL"), "http/protobuf"
        environ.notices.append(f"{name} is http/json, which Watchkeeper does not speak: it sends http/protobuf")
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


def check_target(signal: str, target: SignalOptions) -> None:
    """Raises ConfigurationError unless the signal can be sent there."""
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
