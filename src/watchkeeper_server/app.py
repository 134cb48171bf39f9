"""The composition root: builds every part, introduces them to each other, starts and stops them in order.

The only module that knows everybody; only `__main__` and the command line import it.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa

from watchkeeper_server.api.app import create_api
from watchkeeper_server.api.prometheus.app import FEDERATE as FEDERATE_PATH
from watchkeeper_server.api.prometheus.app import PREFIX as PROMETHEUS_PREFIX
from watchkeeper_server.api.prometheus.app import create_prometheus_api
from watchkeeper_server.api.prometheus.facts import ServerFacts
from watchkeeper_server.api.tails import Tails
from watchkeeper_server.journal.drain import Drain
from watchkeeper_server.journal.journal import Journal
from watchkeeper_server.journal.segment import Segment
from watchkeeper_server.listeners import AsgiApp, Listener, ListenError, bind
from watchkeeper_server.model.answers import ServerStatus, SignalStatus
from watchkeeper_server.model.errors import StoreError, StoreUnavailableError
from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.operations import PATHS as OPERATIONS_PATHS
from watchkeeper_server.operations import Operations
from watchkeeper_server.options import Options
from watchkeeper_server.page.page import Page
from watchkeeper_server.query.prometheus import PrometheusQueries
from watchkeeper_server.query.queries import Queries
from watchkeeper_server.receive.otlp import OtlpReceiver
from watchkeeper_server.receive.otlp_check import without_unknown
from watchkeeper_server.receive.otlp_grpc import otlp_grpc_server
from watchkeeper_server.receive.otlp_http import PATHS as OTLP_PATHS
from watchkeeper_server.receive.otlp_http import OtlpHttp
from watchkeeper_server.receive.remote_write import RemoteWriteReceiver
from watchkeeper_server.receive.remote_write_http import PATH as REMOTE_WRITE_PATH
from watchkeeper_server.receive.remote_write_http import RemoteWriteHttp
from watchkeeper_server.receive.scrape.manager import ScrapeManager
from watchkeeper_server.receive.scrape.yaml_reader import ConfigError
from watchkeeper_server.receive.text_push import TextPush, is_push
from watchkeeper_server.scrape_telemetry import ScrapeTelemetry
from watchkeeper_server.store.embedded import EmbeddedEngine
from watchkeeper_server.store.store import Store
from watchkeeper_server.telemetry import ReceiveTelemetry, Telemetry, logger, memory_bytes

_KINDS_OF = {
    "traces": (Kind.SPANS,),
    "logs": (Kind.LOGS,),
    "metrics": (Kind.METRICS, Kind.METRICS_DELTA, Kind.SAMPLES),
}
_GRPC_STOP_SECONDS = 3
# Deltas add to the total so far, so their segments must be stored in order; the rest may use both cores.
_DRAIN_WORKERS = {Kind.SPANS: 2, Kind.LOGS: 2, Kind.METRICS: 2, Kind.METRICS_DELTA: 1, Kind.SAMPLES: 2}


class App:
    """A whole server."""

    def __init__(self, options: Options) -> None:
        """Remember the options; nothing is opened before `start`."""
        self._options = options
        self._telemetry = Telemetry()
        self._store: Store | None = None
        self._journal: Journal | None = None
        self._drains: list[Drain] = []
        self._bound: list[socket.socket] = []
        self._listeners: list[Listener] = []
        self._grpc: grpc.aio.Server | None = None
        self._writes: RemoteWriteReceiver | None = None
        self._scraped = ScrapeTelemetry(self._telemetry)
        self._scrape = ScrapeManager(self._write_scraped, time.time, options=options.scrape, events=self._scraped)
        self._tails = Tails()
        self._ready = False

    async def start(self) -> None:
        """Open the data, replay what an earlier process left behind in the background, and listen.

        Raises:
            WatchkeeperError: an address or the data folder cannot be used; nothing is left open.
        """
        options = self._options
        try:
            if options.config:
                await self._scrape.reload(options.config)
            # sockets first: a wrong address should fail before the data is touched
            self._bound.append(bind("--listen", options.listen))
            if options.otlp_http:
                self._bound.append(bind("--otlp-http", options.otlp_http))
            self._store = await asyncio.to_thread(self._open_store)
            journal = self._journal = await asyncio.to_thread(Journal, options.data / "journal", options.journal)
            receiving = (
                journal.append,
                options.receive,
                time.time_ns,
                options.retention_days.__getitem__,
                ReceiveTelemetry(self._telemetry),
            )
            receiver, self._writes = OtlpReceiver(*receiving), RemoteWriteReceiver(*receiving)
            self._observe(journal)
            events = _DrainTelemetry(self._telemetry, self._writes.forget_series)
            self._drains = [
                Drain(kind, journal, self._load, without_unknown, options.data / "quarantine", events, workers)
                for kind, workers in _DRAIN_WORKERS.items()
            ]
            for drain in self._drains:
                drain.start()
            app = self._route(OtlpHttp(receiver), RemoteWriteHttp(self._writes), TextPush(self._writes, time.time_ns))
            for bound in self._bound:
                listener = Listener(
                    app if bound is self._bound[0] else _only_otlp(app),
                    bound,
                    header_seconds=options.receive.header_seconds,
                    connections=options.receive.connections,
                )
                self._listeners.append(listener)
                await listener.start()
            if options.otlp_grpc:
                self._grpc = await self._start_grpc(receiver)
            await self._scrape.start()
        except BaseException:
            await self.stop()
            raise
        self._ready = True

    async def stop(self) -> None:
        """Finish what is in hand and close, in the pipeline's order; idempotent. What is not stored is replayed."""
        self._ready = False
        await self._scrape.stop()
        self._tails.close()
        if self._grpc is not None:
            await self._grpc.stop(_GRPC_STOP_SECONDS)
            self._grpc = None
        await asyncio.gather(*(listener.stop() for listener in self._listeners))
        self._listeners = []
        for bound in self._bound:  # also those that no listener has taken over yet
            bound.close()
        self._bound = []
        for drain in self._drains:
            drain.stop()
        if self._journal is not None:
            await asyncio.to_thread(self._journal.close)
        for drain in self._drains:
            await asyncio.to_thread(drain.join)
        self._drains = []
        if self._store is not None:
            await asyncio.to_thread(self._store.close)
            self._store = None

    async def reload(self) -> None:
        """Read the configuration file again; one that cannot be used is refused, and the one before goes on."""
        if self._options.config is None:
            logger.info("there is no configuration to reload; --config names one")
            return
        try:
            await self._scrape.reload(self._options.config)
        except ConfigError as error:
            logger.error("the configuration is not used, the one before goes on: %s", error)
        else:
            logger.info("the configuration %s was loaded", self._options.config)

    def status(self) -> ServerStatus:
        """The server's own condition, as the API shows it."""
        assert self._journal is not None  # noqa: S101  the API is served only while the journal is open
        backlog = self._journal.backlog()
        memory = memory_bytes()
        return ServerStatus(
            version=version("watchkeeper"),
            started=datetime.fromtimestamp(self._telemetry.started, UTC).isoformat().replace("+00:00", "Z"),
            ready=self._ready,
            signals={signal: self._signal_status(signal, backlog) for signal in _KINDS_OF},
            quarantined=int(sum(sample.value for sample in _totals(self._telemetry.quarantined))),
            private_bytes=memory["private"],
            resident_bytes=memory["resident"],
        )

    def _signal_status(self, signal: str, backlog: Mapping[Kind, tuple[int, float]]) -> SignalStatus:
        kinds = _KINDS_OF[signal]
        return SignalStatus(
            received=_total(self._telemetry.received, signal=signal),
            rejected=_total(self._telemetry.rejected, signal=signal),
            loaded_bytes=sum(_total(self._telemetry.loaded_bytes, kind=kind) for kind in kinds),
            backlog_bytes=sum(backlog[kind][0] for kind in kinds),
            backlog_age_seconds=max(backlog[kind][1] for kind in kinds),
        )

    def _open_store(self) -> Store:
        store = Store(EmbeddedEngine(self._options.data))
        try:
            store.migrate()
            store.retain(self._options.retention_days)
        except BaseException:
            store.close()
            raise
        return store

    def _load(self, kind: Kind, segment: Segment) -> None:
        assert self._store is not None  # noqa: S101  drains run only while the store is open
        with self._telemetry.load_seconds.labels(kind).time():
            self._store.load(kind, segment.path, segment.lineage, replayed=segment.replayed)

    def _read(self, name: str, parameters: Mapping[str, Any]) -> pa.Table:
        store = self._store
        if store is None:
            raise StoreUnavailableError("the server is shutting down")
        with self._telemetry.timed_query(name):
            return store.read(name, parameters)

    async def _write_scraped(self, request: bytes) -> None:
        assert self._writes is not None  # noqa: S101  scraping starts after it
        await self._writes.receive(request)

    async def _start_grpc(self, receiver: OtlpReceiver) -> grpc.aio.Server:
        address = self._options.otlp_grpc
        server = otlp_grpc_server(receiver, self._options.receive)
        try:
            server.add_insecure_port(str(address))
        except RuntimeError as error:
            raise ListenError(
                f"cannot listen on {address}: it is taken or not this machine's; choose another with --otlp-grpc"
            ) from error
        await server.start()
        return server

    def _route(self, otlp: OtlpHttp, remote_write: RemoteWriteHttp, text_push: TextPush) -> AsgiApp:
        operations = Operations(self._telemetry.registry, lambda: None if self._ready else "starting")
        api = create_api(Queries(self._read), self.status, tails=self._tails)
        prometheus = create_prometheus_api(
            self._prometheus(), self._scrape.targets, self._facts, self._options.prometheus_api
        )
        page = Page()

        async def app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
            path: str = scope["path"]
            if path in OTLP_PATHS:
                await otlp(scope, receive, send)
            elif path == REMOTE_WRITE_PATH:
                await remote_write(scope, receive, send)
            elif is_push(path):
                await text_push(scope, receive, send)
            elif path.startswith(f"{PROMETHEUS_PREFIX}/") or path == FEDERATE_PATH:
                await prometheus(scope, receive, send)
            elif path.startswith("/api/"):
                await api(scope, receive, send)
            elif path in OPERATIONS_PATHS:
                await operations(scope, receive, send)
            else:
                await page(scope, receive, send)

        return app

    def _prometheus(self) -> PrometheusQueries:
        assert self._store is not None  # noqa: S101  the API is made when the store is open
        assert self._writes is not None  # noqa: S101  likewise
        return PrometheusQueries(
            self._read, self._store, self._options.promql, _snapshot_name, self._writes.forget_series
        )

    def _facts(self) -> ServerFacts:
        options = self._options
        days = options.retention_days["metrics"]
        return ServerFacts(
            version=version("watchkeeper"),
            started_ns=int(self._telemetry.started * 1e9),
            external_url=f"http://{options.listen}",
            config_yaml=self._scraped.config_text(options.config),
            config_loaded_ns=self._scraped.loaded_ns,
            config_current=self._scraped.current,
            flags=_flags(options),
            retention="" if days is None else f"{days}d",
            corruptions=int(sum(sample.value for sample in _totals(self._telemetry.quarantined))),
        )

    def _observe(self, journal: Journal) -> None:
        gauge = self._telemetry.gauge
        gauge(
            "backlog_bytes",
            "Bytes acknowledged and not yet stored.",
            "kind",
            lambda: {kind: size for kind, (size, _) in journal.backlog().items()},
        )
        gauge(
            "backlog_age_seconds",
            "Age of the oldest of them.",
            "kind",
            lambda: {kind: age for kind, (_, age) in journal.backlog().items()},
        )
        gauge(
            "stored_bytes",
            "Compressed bytes on disk, indexes included.",
            "table",
            lambda: {row["table"]: row["bytes"] for row in self._read("read_table_sizes", {}).to_pylist()},
        )
        gauge("memory_bytes", "Memory of this process.", "type", memory_bytes)


class _DrainTelemetry:
    """Implements `journal.drain.DrainEvents`."""

    def __init__(self, telemetry: Telemetry, forget_series: Callable[[], None]) -> None:
        self._telemetry = telemetry
        self._forget_series = forget_series

    def loaded(self, kind: Kind, segment: Segment) -> None:
        self._telemetry.loaded_segments.labels(kind).inc()
        self._telemetry.loaded_bytes.labels(kind).inc(segment.size_bytes)

    def delayed(self, kind: Kind, error: Exception) -> None:
        self._telemetry.delayed_loads.labels(kind).inc()
        logger.warning("storing %s is delayed, retrying: %s: %s", kind, type(error).__name__, error)

    def quarantined(self, kind: Kind, path: Path, error: StoreError) -> None:
        self._telemetry.quarantined.labels(kind).inc()
        if kind is Kind.SAMPLES:  # labels of series may be among what was set aside: they are sent to the store again
            self._forget_series()
        logger.error("a payload of %s cannot be stored and was set aside in %s: %s", kind, path, error)


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
    }


def _snapshot_name() -> str:
    """As Prometheus names them: when, and something that tells two of one second apart."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(8)}"


def _only_otlp(app: AsgiApp) -> AsgiApp:
    """The standard port answers OTLP and health, not the page."""

    async def narrowed(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["path"] in OTLP_PATHS or scope["path"] in OPERATIONS_PATHS:
            await app(scope, receive, send)
        else:
            body = f"There is nothing at {scope['path']}; OTLP goes to {', '.join(OTLP_PATHS)}.\n".encode()
            headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 404, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    return narrowed


def _totals(counter: Any) -> list[Any]:
    return [sample for family in counter.collect() for sample in family.samples if sample.name.endswith("_total")]


def _total(counter: Any, **labels: str) -> int:
    """A counter's sum over the series that have these labels."""
    return int(sum(s.value for s in _totals(counter) if labels.items() <= s.labels.items()))
