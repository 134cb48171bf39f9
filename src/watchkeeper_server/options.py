"""Every option of `watchkeeper serve`, composed of the packages' own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from watchkeeper_server.api.prometheus.options import PrometheusApiOptions
from watchkeeper_server.journal.options import JournalOptions
from watchkeeper_server.model.errors import WatchkeeperError
from watchkeeper_server.promql.options import EngineOptions
from watchkeeper_server.query.options import RecentOptions
from watchkeeper_server.receive.options import ReceiveOptions
from watchkeeper_server.receive.scrape.options import ScrapeOptions
from watchkeeper_server.receive.scrape.units import parse_size
from watchkeeper_server.store.options import DiskLimit

SIGNALS = ("traces", "logs", "metrics")
# What samples are rolled up to is kept to tell of the years in which they are gone.
DEFAULT_RETENTION_DAYS: Mapping[str, int | None] = {**dict.fromkeys(SIGNALS, 30), "rollups-5m": 180, "rollups-1h": 730}
_DAYS = re.compile(r"(\d{1,5})d?")
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)%")


class OptionError(WatchkeeperError):
    """An option cannot be understood; the message names it."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener listens."""

    host: str
    port: int

    def __str__(self) -> str:
        """As a user writes it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Options:
    """A whole server's options; None as an address switches that listener off.

    Attributes:
        data: the folder that holds everything.
        listen: page, API and OTLP/HTTP.
        otlp_http: OTLP/HTTP on its standard port.
        otlp_grpc: OTLP/gRPC on its standard port.
        retention_days: for each of traces, logs, metrics and metrics' rollups; None keeps for ever.
        disk_limit: what may be taken of the disk before the oldest data goes.
        config: a `prometheus.yml` to scrape by; None scrapes nothing.
        recent: how many of the newest samples stay in memory.

    The others are each part's own.
    """

    data: Path
    listen: Address = Address("127.0.0.1", 7070)
    otlp_http: Address | None = Address("127.0.0.1", 4318)
    otlp_grpc: Address | None = Address("127.0.0.1", 4317)
    retention_days: Mapping[str, int | None] = field(default_factory=lambda: dict(DEFAULT_RETENTION_DAYS))
    disk_limit: DiskLimit = field(default_factory=DiskLimit)
    config: Path | None = None
    scrape: ScrapeOptions = field(default_factory=ScrapeOptions)
    promql: EngineOptions = field(default_factory=EngineOptions)
    recent: RecentOptions = field(default_factory=RecentOptions)
    prometheus_api: PrometheusApiOptions = field(default_factory=PrometheusApiOptions)
    journal: JournalOptions = field(default_factory=JournalOptions)
    receive: ReceiveOptions = field(default_factory=ReceiveOptions)


def parse_address(option: str, text: str) -> Address | None:
    """`host:port`, `:port` for loopback, or `off`.

    Raises:
        OptionError: it is neither.
    """
    if text == "off":
        return None
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65_535:  # noqa: PLR2004  the largest port
        raise OptionError(f"{option} is {text!r}; write HOST:PORT, such as 127.0.0.1:7070, or off")
    return Address(host.strip("[]") or "127.0.0.1", int(port))


def parse_retention(text: str) -> dict[str, int | None]:
    """`30d`, `off`, or by signal: `traces=7d,logs=14d,metrics=off`, also `rollups-5m=180d,rollups-1h=730d`.

    What is named by no signal is for traces, logs and metrics.

    Raises:
        OptionError: it is none of these.
    """
    days = dict(DEFAULT_RETENTION_DAYS)
    for part in text.split(","):
        signal, separator, value = part.strip().rpartition("=")
        match = _DAYS.fullmatch(value)
        if value != "off" and not (match and int(match[1])):
            raise OptionError(f"--retention has {value!r}; write days, such as 30d, or off")
        if separator and signal not in days:
            raise OptionError(f"--retention has {signal!r}; the signals are {', '.join(days)}")
        keep = int(match[1]) if match else None
        days.update({signal: keep} if separator else dict.fromkeys(SIGNALS, keep))
    return days


def parse_disk_limit(text: str) -> DiskLimit:
    """A share of the disk (`80%`), a size as Prometheus writes it (`50GB`), both (`80%,50GB`), or `off`.

    Raises:
        OptionError: it is none of these.
    """
    limits: dict[str, float] = {}
    for part in () if text == "off" else map(str.strip, text.split(",")):
        match = _PERCENT.fullmatch(part)
        try:
            name, value = ("share", float(match[1]) / 100) if match else ("size_bytes", parse_size(part))
        except ValueError:
            name, value = "", 0.0
        if name in limits or value <= 0 or (name == "share" and value > 1):
            raise OptionError(f"--retention-disk has {part!r}; write a share such as 80%, a size such as 50GB, or off")
        limits[name] = value
    size = limits.get("size_bytes")
    return DiskLimit(limits.get("share"), None if size is None else int(size), text)
