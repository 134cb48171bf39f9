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
from watchkeeper_server.receive.options import ReceiveOptions
from watchkeeper_server.receive.scrape.options import ScrapeOptions

SIGNALS = ("traces", "logs", "metrics")
DEFAULT_RETENTION_DAYS = 30
_DAYS = re.compile(r"(\d{1,5})d?")


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
        retention_days: for each of traces, logs, metrics; None keeps for ever.
        config: a `prometheus.yml` to scrape by; None scrapes nothing.
    """

    data: Path
    listen: Address = Address("127.0.0.1", 7070)
    otlp_http: Address | None = Address("127.0.0.1", 4318)
    otlp_grpc: Address | None = Address("127.0.0.1", 4317)
    retention_days: Mapping[str, int | None] = field(
        default_factory=lambda: dict.fromkeys(SIGNALS, DEFAULT_RETENTION_DAYS)
    )
    config: Path | None = None
    scrape: ScrapeOptions = field(default_factory=ScrapeOptions)
    promql: EngineOptions = field(default_factory=EngineOptions)
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
    """`30d`, `off`, or by signal: `traces=7d,logs=14d,metrics=off`.

    Raises:
        OptionError: it is none of these.
    """
    days: dict[str, int | None] = dict.fromkeys(SIGNALS, DEFAULT_RETENTION_DAYS)
    for part in text.split(","):
        signal, separator, value = part.strip().rpartition("=")
        match = _DAYS.fullmatch(value)
        if value != "off" and not (match and int(match[1])):
            raise OptionError(f"--retention has {value!r}; write days, such as 30d, or off")
        if separator and signal not in SIGNALS:
            raise OptionError(f"--retention has {signal!r}; the signals are {', '.join(SIGNALS)}")
        keep = int(match[1]) if match else None
        days.update({signal: keep} if separator else dict.fromkeys(SIGNALS, keep))
    return days
