"""The server's own condition: what the API says of it, and the figures read when somebody looks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from watchkeeper_server.api.prometheus.facts import ServerFacts
from watchkeeper_server.journal.journal import Journal
from watchkeeper_server.model.answers import ServerStatus, SignalStatus
from watchkeeper_server.model.kinds import METRIC_KINDS, Kind
from watchkeeper_server.options import Options
from watchkeeper_server.receive.scrape.manager import ScrapeManager
from watchkeeper_server.scrape_telemetry import ScrapeTelemetry
from watchkeeper_server.storage import Storage
from watchkeeper_server.telemetry import Telemetry, memory_bytes

_KINDS_OF = {"traces": (Kind.SPANS,), "logs": (Kind.LOGS,), "metrics": METRIC_KINDS}


def server_status(telemetry: Telemetry, backlog: Mapping[Kind, tuple[int, float]], *, ready: bool) -> ServerStatus:
    """For the page."""
    memory = memory_bytes()
    return ServerStatus(
        version=version("watchkeeper"),
        started=datetime.fromtimestamp(telemetry.started, UTC).isoformat().replace("+00:00", "Z"),
        ready=ready,
        signals={signal: _signal_status(telemetry, signal, backlog) for signal in _KINDS_OF},
        quarantined=_total(telemetry.quarantined),
        private_bytes=memory["private"],
        resident_bytes=memory["resident"],
    )


def server_facts(
    options: Options, telemetry: Telemetry, scrape: ScrapeManager, scraped: ScrapeTelemetry
) -> ServerFacts:
    """For Prometheus' API."""
    days = options.retention_days["metrics"]
    limits = [*([] if days is None else [f"{days}d"]), *([str(options.disk_limit)] if options.disk_limit else [])]
    return ServerFacts(
        version=version("watchkeeper"),
        started_ns=int(telemetry.started * 1e9),
        external_url=f"http://{options.listen}",
        config_yaml=scrape.config.shown,
        config_loaded_ns=scraped.loaded_ns,
        config_current=scraped.current,
        flags=_flags(options),
        retention=" or ".join(limits),
        corruptions=_total(telemetry.quarantined),
    )


def show_gauges(telemetry: Telemetry, journal: Journal, storage: Storage) -> None:
    """Let `/metrics` tell what is waiting, what is stored, and the memory."""
    telemetry.gauge(
        "backlog_bytes",
        "Bytes acknowledged and not yet stored.",
        "kind",
        lambda: {kind: size for kind, (size, _) in journal.backlog().items()},
    )
    telemetry.gauge(
        "backlog_age_seconds",
        "Age of the oldest of them.",
        "kind",
        lambda: {kind: age for kind, (_, age) in journal.backlog().items()},
    )
    telemetry.gauge(
        "stored_bytes",
        "Compressed bytes on disk, indexes included.",
        "table",
        lambda: {row["table"]: row["bytes"] for row in storage.read("read_table_sizes", {}, own=True).to_pylist()},
    )
    telemetry.gauge("memory_bytes", "Memory of this process.", "type", memory_bytes)


def _signal_status(telemetry: Telemetry, signal: str, backlog: Mapping[Kind, tuple[int, float]]) -> SignalStatus:
    kinds = _KINDS_OF[signal]
    return SignalStatus(
        received=_total(telemetry.received, signal=signal),
        rejected=_total(telemetry.rejected, signal=signal),
        loaded_bytes=sum(_total(telemetry.loaded_bytes, kind=kind) for kind in kinds),
        backlog_bytes=sum(backlog[kind][0] for kind in kinds),
        backlog_age_seconds=max(backlog[kind][1] for kind in kinds),
    )


def _flags(options: Options) -> dict[str, str]:
    """The options as the command line names them."""
    return {
        "config": str(options.config or ""),
        "data": str(options.data),
        "listen": str(options.listen),
        "otlp-grpc": str(options.otlp_grpc or "off"),
        "otlp-http": str(options.otlp_http or "off"),
        "retention": ",".join(
            f"{name}={f'{days}d' if days else 'off'}" for name, days in options.retention_days.items()
        ),
        "retention-disk": str(options.disk_limit),
    }


def _total(counter: Any, **labels: str) -> int:
    """A counter's sum over the series that have these labels."""
    samples = [sample for family in counter.collect() for sample in family.samples if sample.name.endswith("_total")]
    return int(sum(sample.value for sample in samples if labels.items() <= sample.labels.items()))
