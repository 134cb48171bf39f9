"""The composition root: builds every part, introduces them to each other, starts and stops them in order.

The only module that knows everybody; only `__main__` and the command line import it.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

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
from watchkeeper_server.options import Address, Options
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
        self._stops: list[Callable[[], Awaitable[object] | None]] = []  # of each part that was begun, in order
        self._writes: RemoteWriteReceiver | None = None
        self._scraped = ScrapeTelemetry(self._telemetry)
        self._scrape = ScrapeManager(self._write_scraped, time.time, options=options.scrape, events=self._scraped)
        self._tails = Tails()
        self._addresses: dict[str, Address] = {}
        self._ready = False

    @property
    def addresses(self) -> Mapping[str, Address]:
        """Where it listens, by the option that says so; where that is port 0, the port that the kernel chose."""
        return self._addresses

    async def start(self) -> None:
        """Open the data, replay what an earlier process left behind in the background, and listen.

        Raises:
            WatchkeeperError: an address or the data folder cannot be used; nothing is left open.
        """
        try:
            await self._start()
        except BaseException:
            await self._stop_parts()
            raise
        self._ready = True

    async def stop(self) -> None:
        """Finish what is in hand and close, in the pipeline's order; idempotent. What is not stored is replayed.

        Raises:
            BaseException: the first that a part raised; all others were stopped nevertheless.
        """
        self._ready = False
        errors = await self._stop_parts()
        if errors:
            raise errors[0]

    async def _start(self) -> None:
        options = self._options
        if options.config:
            await self._scrape.reload(options.config)
        # sockets first: a wrong address should fail before the data is touched
        sockets = self._bind()
        storage = await asyncio.to_thread(Storage, options, self._telemetry)
        self._stops.append(partial(asyncio.to_thread, storage.close))
        drains: list[Drain] = []
        self._stops.append(partial(_join, drains))
        journal = await asyncio.to_thread(Journal, options.data / "journal", options.journal)
        self._stops.append(partial(asyncio.to_thread, journal.close))
        self._stops.append(partial(_stop, drains))
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
        for kind, workers in _DRAIN_WORKERS.items():
            drain = Drain(kind, journal, storage.load, without_unknown, options.data / "quarantine", events, workers)
            drains.append(drain)
            drain.start()
        storage.start()
        await self._listen(self._answering(OtlpHttp(receiver), writes, journal, storage), sockets)
        if options.otlp_grpc:
            await self._start_grpc(receiver, options.otlp_grpc)
        self._stops.append(self._scrape.stop)
        await self._scrape.start()

    async def _stop_parts(self) -> list[BaseException]:
        """Stop all that was begun, the last first; what fails does not keep the others from it."""
        errors: list[BaseException] = []
        while self._stops:
            try:
                stopping = self._stops.pop()()
                if stopping is not None:
                    await stopping
            except BaseException as error:  # noqa: BLE001  data must be closed whatever happens
                logger.error("a part of the server did not stop as it should", exc_info=error)
                errors.append(error)
        return errors

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

    def _bind(self) -> list[socket.socket]:
        """The sockets of the HTTP listeners, that of the page and the API first."""
        addresses = {"--listen": self._options.listen, "--otlp-http": self._options.otlp_http}
        sockets = []
        for option, address in addresses.items():
            if address:
                sockets.append(bound := bind(option, address))
                self._stops.append(bound.close)
                self._addresses[option] = replace(address, port=bound.getsockname()[1])
        return sockets

    async def _listen(self, app: AsgiApp, sockets: list[socket.socket]) -> None:
        listeners: list[Listener] = []
        self._stops.append(partial(_stop_together, listeners))
        self._stops.append(self._tails.close)
        for bound in sockets:
            listener = Listener(
                app if bound is sockets[0] else only_otlp(app),
                bound,
                header_seconds=self._options.receive.header_seconds,
                connections=self._options.receive.connections,
            )
            listeners.append(listener)
            await listener.start()

    async def _start_grpc(self, receiver: OtlpReceiver, address: Address) -> None:
        server = otlp_grpc_server(receiver, self._options.receive)
        self._stops.append(partial(server.stop, _GRPC_STOP_SECONDS))
        try:
            port = server.add_insecure_port(str(address))
        except RuntimeError as error:
            raise ListenError(
                f"cannot listen on {address}: it is taken or not this machine's; choose another with --otlp-grpc"
            ) from error
        self._addresses["--otlp-grpc"] = replace(address, port=port)
        await server.start()

    async def _write_scraped(self, scraped: Scraped) -> str:
        assert self._writes is not None  # noqa: S101  scraping starts after it
        written = await self._writes.receive(scraped.others, scraped.decode, size_bytes=scraped.size_bytes)
        return written.message


def _stop(drains: Iterable[Drain]) -> None:
    for drain in drains:
        drain.stop()


async def _join(drains: Iterable[Drain]) -> None:
    for drain in drains:
        await asyncio.to_thread(drain.join)


async def _stop_together(listeners: Iterable[Listener]) -> None:
    """All at once, because each waits for the requests in hand."""
    for ended in await asyncio.gather(*(listener.stop() for listener in listeners), return_exceptions=True):
        if ended is not None:
            raise ended
