"""OTLP, whatever carries it: check a request, make it durable, say what became of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces

from watchkeeper_server.model.errors import BacklogFullError
from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.receive.intake import Intake
from watchkeeper_server.receive.otlp_check import Bounds, Checked, check_logs, check_metrics, check_spans
from watchkeeper_server.receive.otlp_json import protobuf_from_json
from watchkeeper_server.receive.refusal import Reason, RefusedError

_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Signal:
    """What differs between OTLP's three signals."""

    name: str
    service: str
    request: type[Message]
    response: Callable[[int, str], Message]
    check: Callable[[bytes, Bounds], Checked]


def _traces_response(rejected: int, message: str) -> Message:
    partial = traces.ExportTracePartialSuccess(rejected_spans=rejected, error_message=message)
    return traces.ExportTraceServiceResponse(partial_success=partial if rejected else None)


def _logs_response(rejected: int, message: str) -> Message:
    partial = logs.ExportLogsPartialSuccess(rejected_log_records=rejected, error_message=message)
    return logs.ExportLogsServiceResponse(partial_success=partial if rejected else None)


def _metrics_response(rejected: int, message: str) -> Message:
    partial = metrics.ExportMetricsPartialSuccess(rejected_data_points=rejected, error_message=message)
    return metrics.ExportMetricsServiceResponse(partial_success=partial if rejected else None)


_COLLECTOR = "opentelemetry.proto.collector"
SIGNALS = (
    Signal(
        "traces", f"{_COLLECTOR}.trace.v1.TraceService", traces.ExportTraceServiceRequest, _traces_response, check_spans
    ),
    Signal("logs", f"{_COLLECTOR}.logs.v1.LogsService", logs.ExportLogsServiceRequest, _logs_response, check_logs),
    Signal(
        "metrics",
        f"{_COLLECTOR}.metrics.v1.MetricsService",
        metrics.ExportMetricsServiceRequest,
        _metrics_response,
        check_metrics,
    ),
)


class ReceiveEvents(Protocol):
    """What a receiver tells whoever watches over it."""

    def received(self, signal: str, items: int, size_bytes: int) -> None:
        """Items are durable and acknowledged."""

    def rejected(self, signal: str, reason: str, items: int) -> None:
        """Items were not taken, and the sender was told."""

    def refused(self, signal: str, reason: str, items: int) -> None:
        """A whole request was not taken, of so many items, 0 where that is not known, and the sender was told."""

    def new_series(self, count: int) -> None:
        """Series were received that this process has not seen before."""


class OtlpReceiver:
    """Takes decoded-enough requests of any signal; the HTTP and gRPC surfaces share one."""

    def __init__(
        self,
        append: Callable[[Kind, bytes], Awaitable[None]],
        intake: Intake,
        now_ns: Callable[[], int],
        retention_days: Callable[[str], int | None],
        events: ReceiveEvents,
    ) -> None:
        """`append` makes a payload durable; `retention_days` tells how long a signal is kept, None for ever."""
        self.intake = intake
        self.events = events
        self._append = append
        self._now_ns = now_ns
        self._retention_days = retention_days

    async def receive(self, signal: Signal, body: bytes, *, json: bool = False) -> Message:
        """Store a request and return the response to send.

        Raises:
            RefusedError: nothing of it was stored; the message says why.
        """
        try:
            checked = await self.intake.run(len(body), self._check, signal, body, json)
            if checked.accepted:
                await self._durable(checked)
        except RefusedError as error:
            self.events.refused(signal.name, error.reason.label, error.items)
            raise
        self.events.received(signal.name, checked.accepted, len(body))
        if checked.rejected:
            self.events.rejected(signal.name, "invalid", checked.rejected)
        return signal.response(checked.rejected, checked.message)

    async def _durable(self, checked: Checked) -> None:
        try:
            await self._append(checked.kind, checked.payload)
        except BacklogFullError as error:
            items = checked.accepted + checked.rejected
            raise RefusedError(Reason.BUSY, str(error), error.retry_seconds, items) from error

    def _check(self, signal: Signal, body: bytes, json: bool) -> Checked:
        return signal.check(protobuf_from_json(body, signal.request) if json else body, self._bounds(signal))

    def _bounds(self, signal: Signal) -> Bounds:
        now = self._now_ns()
        days = self._retention_days(signal.name)
        oldest = 1 if days is None else now - days * 86_400 * _NANOSECONDS
        options = self.intake.options
        return Bounds(oldest, now + options.future_seconds * _NANOSECONDS, options.attributes)
