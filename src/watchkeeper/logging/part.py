"""Logging as a part of the SDK: the pipeline, its writers, and everybody who is made to speak through it."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Iterable, Sequence

from watchkeeper.export.exporter import Lane
from watchkeeper.export.otlp.logs import LogEncoder
from watchkeeper.export.otlp.resource import resource_field
from watchkeeper.export.outlets import USER_AGENT, outlet_of
from watchkeeper.integrations import stdlib_logging, structlog_logging
from watchkeeper.logging.elasticsearch import BulkEncoder, Elasticsearch
from watchkeeper.logging.levels import INFO, level_of
from watchkeeper.logging.loki import Loki, LokiEncoder
from watchkeeper.logging.pipeline import pipeline
from watchkeeper.logging.record import Record
from watchkeeper.logging.redaction import Redaction
from watchkeeper.logging.sinks import writers_for
from watchkeeper.parts import Part, Wiring

_CLOSING_SECONDS = 0.75  # for the writers of an earlier client
_EXIT_SECONDS = 0.25  # for lines that are said when everything else has been flushed
_LANES = ("logs", "logs_loki", "logs_elasticsearch")


class Logging(Part):
    """Lines."""

    def __init__(self) -> None:
        self._capture = False

    def lanes(self, wiring: Wiring) -> Iterable[Lane]:
        """One for OTLP, one for Loki, one for Elasticsearch: as many as options name."""
        if wiring.sinks is not None:
            return
        target = wiring.options.export.get("logs")
        if target is not None and target.endpoint:
            encode = LogEncoder(resource_field(wiring.resource)).encode
            yield wiring.lane("logs", *outlet_of("logs", target, wiring.resource, encode))
        loki, elastic, service = wiring.options.logs.loki, wiring.options.logs.elasticsearch, wiring.options.service
        if loki.url:
            yield wiring.lane("logs_loki", Loki(loki, USER_AGENT), LokiEncoder(loki, service).encode)
        if elastic.url:
            outlet = Elasticsearch(elastic, service, USER_AGENT)
            yield wiring.lane("logs_elasticsearch", outlet, BulkEncoder(elastic, service).encode)

    def wire(self, wiring: Wiring) -> None:
        """Replaces the writers, and captures what others say."""
        logs = wiring.options.logs
        pipeline.close(_CLOSING_SECONDS)
        if wiring.sinks is not None:
            offers = [wiring.sinks.records]
        else:
            offers = [wiring.lanes[name].queue.offer for name in _LANES if name in wiring.lanes]
        pipeline.wire(
            level_of(logs.level, INFO),
            writers_for(logs, wiring.options.service),
            _to_all(offers),
            wiring.clock,
            Redaction(logs.redaction),
            logs.slow_seconds,
        )
        self._capture = logs.capture
        if self._capture:
            stdlib_logging.install()

    def adopt(self) -> None:
        """Servers' loggers, and structlog."""
        if self._capture:
            stdlib_logging.capture.adopt()
            structlog_logging.install()

    def unwire(self, timeout_seconds: float) -> None:  # noqa: ARG002
        """Gives structlog and the standard library back; our own loggers write on."""
        self._capture = False
        structlog_logging.uninstall()
        stdlib_logging.uninstall()
        pipeline.stop_offering()

    def flush(self, timeout_seconds: float) -> None:
        """Writes the lines that wait."""
        pipeline.flush(timeout_seconds)

    def locks(self) -> Iterable[threading.Lock]:
        """Of the writers."""
        return pipeline.locks()

    def after_fork(self) -> None:
        """The parent writes what it has taken; a child has writers of its own."""
        pipeline.wire_defaults()


def _to_all(offers: Sequence[Callable[[Record], None]]) -> Callable[[Record], None] | None:
    """One callable for all; where there is one, that one, since it is called for every line."""
    if len(offers) <= 1:
        return offers[0] if offers else None

    def offer(record: Record) -> None:
        for each in offers:
            each(record)

    return offer


logging = Logging()
# After the client's own, which stands in a module that imports this one: what other exit handlers say is written too.
atexit.register(pipeline.close, _EXIT_SECONDS)
