"""Errors as a part of the SDK: every place that hears of one, and the ways out."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from watchkeeper.errors.breadcrumbs import trail
from watchkeeper.errors.building import Builder, Source
from watchkeeper.errors.collector import Office, collector
from watchkeeper.errors.delivery import Delivery
from watchkeeper.errors.envelope import EnvelopeEncoder
from watchkeeper.errors.hooks import hooks
from watchkeeper.errors.lines import listener
from watchkeeper.errors.options import parse_dsn
from watchkeeper.errors.sentry import SentryOutlet
from watchkeeper.errors.stats import tally
from watchkeeper.export.exporter import Lane
from watchkeeper.export.queue import Queue
from watchkeeper.integrations.exchange import Exchange
from watchkeeper.integrations.part import requests
from watchkeeper.logging.pipeline import pipeline
from watchkeeper.parts import Part, Wiring

SIGNAL = "errors"
MOST_WAITING = 500  # events for a Sentry that is slow or away


class Errors(Part):
    """Errors."""

    def __init__(self) -> None:
        self._enabled = False
        self._delivery: Delivery | None = None

    def lanes(self, wiring: Wiring) -> Iterable[Lane]:
        """One for a Sentry; each event is an envelope of its own."""
        options = wiring.options.errors
        if options.enabled and options.dsn and wiring.sinks is None:
            encode = EnvelopeEncoder(wiring.clock.wall_ns).encode
            queue = Queue(SIGNAL, MOST_WAITING, 1, wiring.wake)
            yield Lane(SIGNAL, SentryOutlet(parse_dsn(options.dsn)), encode, queue)

    def wire(self, wiring: Wiring) -> None:
        """Listens everywhere."""
        options = wiring.options.errors
        self._enabled = options.enabled
        if not options.enabled:
            self.unwire(0.0)
            return
        sinks, lanes = wiring.sinks, wiring.lanes
        self._delivery = delivery = Delivery(
            sinks.errors if sinks is not None else None,
            lanes[SIGNAL].queue.offer if SIGNAL in lanes else None,
            lanes["logs"].queue.offer if "logs" in lanes else None,
            socket.gethostname(),
        )
        builder = Builder(options, wiring.options.service, wiring.clock, wiring.ids)
        collector.wire(Office(options, builder, wiring.clock, delivery.deliver))
        trail.restart()
        trail.active = True
        pipeline.listener = listener(delivery.said)
        requests.settings.on_error = _request_failed
        requests.settings.on_call = trail.called
        hooks.install()

    def adopt(self) -> None:
        """The event loop that is running: a server's, or that of a program that configures itself in one."""
        if self._enabled:
            hooks.watch_running_loop()

    def every_round(self) -> None:
        """Takes in what had to wait, and tells of repeats and of what nobody has logged."""
        collector.catch_up()
        if self._delivery is not None:
            self._delivery.say()

    def flush(self, timeout_seconds: float) -> None:  # noqa: ARG002
        """The same, without waiting for a line."""
        collector.catch_up()
        if self._delivery is not None:
            self._delivery.say(every=True)

    def unwire(self, timeout_seconds: float) -> None:  # noqa: ARG002
        """Listens no more. What was counted and not told yet is told now."""
        self._enabled = False
        hooks.uninstall()
        pipeline.listener = None
        requests.settings.on_error = None
        requests.settings.on_call = None
        trail.active = False
        collector.catch_up(closing=True)
        collector.wire(None)
        if self._delivery is not None:
            self._delivery.say(every=True)
            self._delivery = None

    def after_fork(self) -> None:
        """A child's errors are its own."""
        collector.wire(None)
        collector.restart()
        tally.restart()
        self._delivery = None


def _request_failed(exchange: Exchange, error: BaseException) -> None:
    """An exception left the application, or became its 500."""
    collector.take(error, Source("request", handled=False), exchange)


errors = Errors()
