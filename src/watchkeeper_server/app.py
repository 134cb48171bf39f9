"""The composition root: builds every part, introduces them to each other, starts and stops them in order.

The only module that knows everybody; only `__main__` and the command line import it.
"""

from __future__ import annotations

import asyncio
import socket
import time

import grpc

from watchkeeper_server.api.app import create_api
from watchkeeper_server.api.prometheus.app import create_prometheus_api
from watchkeeper_server.api.tails import Tails
from watchkeeper_server.condition import server_facts, server_status, show_gauges
from watchkeeper_server.drain_telemetry import DrainTelemetry
from watchkeeper_server.journal.drain import Drain
from watchkeeper_server.journal.journal import Journal
from watchkeeper_server.listeners import AsgiApp, Listener, ListenError, bind
from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.operations import Operations
from watchkeeper_server.options import Options
from watchkeeper_server.page.page import Page
from watchkeeper_server.query.queries import Queries
from watchkeeper_server.receive.intake import Intake
from watchkeeper_server.receive.otlp import OtlpReceiver
from watchkeeper_server.receive.otlp_check import without_unknown
from watchkeeper_server.receive.otlp_grpc import otlp_grpc_server
from watchkeeper_server.receive.otlp_http import OtlpHttp
from watchkeeper_server.receive.remote_write import RemoteWriteReceiver
from watchkeeper_server.receive.remote_write_http import RemoteWriteHttp
from watchkeeper_server.receive.scrape.manager import ScrapeManager
from watchkeeper_server.receive.scrape.scraped import Scraped
from watchkeeper_server.receive.scrape.yaml_reader import ConfigError
from watchkeeper_server.receive.text_push import TextPush
from watchkeeper_server.routing import Parts, only_otlp, routed
from watchkeeper_server.scrape_telemetry import ScrapeTelemetry
from watchkeeper_server.storage import Storage
from watchkeeper_server.telemetry import ReceiveTelemetry, Telemetry, logger

_GRPC_STOP_SECONDS = 3
# Deltas add to the total so far, so their segments must be stored in order; the rest may use both cores.
_DRAIN_WORKERS = {Kind.SPANS: 2, Kind.LOGS: 2, Kind.METRICS: 2, Kind.METRICS_DELTA: 1, Kind.SAMPLES: 2}


class App:
    """A whole server."""

    def __init__(self, options: Options) -> None:
        """Remember the options; nothing is opened before `start`."""
        self._options = options
        self._telemetry = Telemetry()
        self._storage: Storage | None = None
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
            storage = self._storage = await asyncio.to_thread(Storage, options, self._telemetry)
            journal = self._journal = await asyncio.to_thread(Journal, options.data / "journal", options.journal)
            receiving = (
                journal.append,
                Intake(options.receive),
                time.time_ns,
                options.retention_days.__getitem__,
                ReceiveTelemetry(self._telemetry),
            )
            receiver, writes = OtlpReceiver(*receiving), RemoteWriteReceiver(*receiving)
            self._writes = writes
            show_gauges(self._telemetry, journal, storage)
            events = DrainTelemetry(self._telemetry, writes.forget_series)
            self._drains = [
                Drain(kind, journal, storage.load, without_unknown, options.data / "quarantine", events, workers)
                for kind, workers in _DRAIN_WORKERS.items()
            ]
            for drain in self._drains:
                drain.start()
            storage.start()
            await self._listen(self._answering(OtlpHttp(receiver), writes, journal, storage))
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
        if self._storage is not None:
            await asyncio.to_thread(self._storage.close)
            self._storage = None

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

    def _answering(self, otlp: OtlpHttp, writes: RemoteWriteReceiver, journal: Journal, storage: Storage) -> AsgiApp:
        """All that answers HTTP."""
        options, telemetry = self._options, self._telemetry
        return routed(
            Parts(
                otlp=otlp,
                remote_write=RemoteWriteHttp(writes),
                text_push=TextPush(writes, time.time_ns),
                prometheus=create_prometheus_api(
                    storage.prometheus(writes.forget_series),
                    self._scrape.targets,
                    lambda: server_facts(options, telemetry, self._scrape, self._scraped),
                    options.prometheus_api,
                ),
                api=create_api(
                    Queries(storage.read),
                    lambda: server_status(telemetry, journal.backlog(), ready=self._ready),
                    tails=self._tails,
                ),
                operations=Operations(telemetry.registry, lambda: None if self._ready else "starting"),
                page=Page(),
            )
        )

    async def _listen(self, app: AsgiApp) -> None:
        for bound in self._bound:
            listener = Listener(
                app if bound is self._bound[0] else only_otlp(app),
                bound,
                header_seconds=self._options.receive.header_seconds,
                connections=self._options.receive.connections,
            )
            self._listeners.append(listener)
            await listener.start()

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

    async def _write_scraped(self, scraped: Scraped) -> str:
        assert self._writes is not None  # noqa: S101  scraping starts after it
        written = await self._writes.receive(scraped.others, scraped.decode, size_bytes=scraped.size_bytes)
        return written.message
