"""What gRPC holds of messages has a bound of its own, and room is held for as long as work goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from unittest.mock import AsyncMock, Mock

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from support.http2 import Sender
from watchkeeper_server.receive.intake import Intake
from watchkeeper_server.receive.options import MIB, ReceiveOptions
from watchkeeper_server.receive.otlp import SIGNALS, Signal
from watchkeeper_server.receive.otlp_grpc import Messages, exporting, otlp_grpc_server
from watchkeeper_server.receive.refusal import Reason, RefusedError

TRACES = SIGNALS[0]
WINDOW = 256 * 1024


class Receiver:
    """Takes whatever comes; `work` is done in a thread."""

    def __init__(self, options: ReceiveOptions) -> None:
        self.intake = Intake(options)
        self.events = Mock()
        self.free, self.done = threading.Event(), asyncio.Event()

    async def receive(self, _signal: Signal, _body: bytes) -> ExportTraceServiceResponse:
        await asyncio.get_running_loop().run_in_executor(None, self.free.wait)
        self.done.set()
        return ExportTraceServiceResponse()


async def message(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def never() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    """Sends to a server with room for two whole messages at once, and for eight windows."""
    options = ReceiveOptions(body_bytes=MIB, in_flight_bytes=2 * MIB, body_seconds=60)
    receiver = Receiver(options)
    receiver.free.set()
    server = otlp_grpc_server(receiver, options)  # type: ignore[arg-type]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sender = await Sender.connected(port)
    yield sender
    sender.close()
    await server.stop(0)


async def test_messages_that_never_end_are_let_in_only_as_far_as_there_is_room(sender: Sender) -> None:
    for stream in range(1, 17, 2):
        sender.call(stream, f"/{TRACES.service}/Export", b"\n" * (MIB - 1), MIB)
    whole, most = 4 + MIB, 2 * (4 + MIB) + 6 * WINDOW
    async with asyncio.timeout(30):
        while sum(sender.sent.values()) < most:
            await sender.step()
        assert sorted(sender.sent.values()) == [WINDOW] * 6 + [whole] * 2
        sender.more(max(sender.sent, key=sender.sent.__getitem__), b"\n")
        while sum(sender.sent.values()) < most + 1 + whole - WINDOW:
            await sender.step()
    assert sorted(sender.sent.values()) == [WINDOW] * 5 + [whole] * 2 + [whole + 1]


async def test_who_sends_slowly_is_refused_and_makes_room() -> None:
    messages = Messages(ReceiveOptions(body_bytes=600, in_flight_bytes=1000, body_seconds=0.05))
    with pytest.raises(RefusedError, match=r"took more than 0\.05 seconds to arrive; send it again") as slow:
        await messages.next(never())
    assert slow.value.reason is Reason.TIMED_OUT
    with pytest.raises(ConnectionResetError):
        await messages.next(message())
    assert await messages.next(message(b"a", b"b")) == b"a"


@pytest.mark.parametrize(
    ("aborted", "raised"),
    [(grpc.aio.AbortError, grpc.aio.AbortError), (grpc.aio.InternalError, asyncio.CancelledError)],
)
async def test_who_ends_a_call_without_a_message_is_told_so_unless_gone(
    aborted: type[Exception], raised: type[BaseException]
) -> None:
    receiver, context = Receiver(ReceiveOptions()), Mock(abort=AsyncMock(side_effect=aborted))
    with pytest.raises(raised):
        await exporting(receiver, TRACES, Messages(ReceiveOptions()))(message(), context)  # type: ignore[arg-type]
    context.abort.assert_awaited_once_with(grpc.StatusCode.INVALID_ARGUMENT, "the call ended without a message")
    receiver.events.refused.assert_not_called()


async def test_who_waits_for_room_in_vain_is_told_to_come_back() -> None:
    messages = Messages(ReceiveOptions(body_bytes=600, in_flight_bytes=1000, body_seconds=0.05))
    await messages.room.acquire()
    context = Mock(abort=AsyncMock(side_effect=asyncio.CancelledError))
    receiver = Receiver(ReceiveOptions())
    with pytest.raises(asyncio.CancelledError):
        await exporting(receiver, TRACES, messages)(message(b""), context)  # type: ignore[arg-type]
    receiver.events.refused.assert_called_once_with("traces", "in_flight", 0)
    [[_, details]] = context.set_trailing_metadata.call_args.args[0]
    retry = RetryInfo()
    assert Status.FromString(details).details[0].Unpack(retry)
    assert retry.retry_delay.seconds == 1


async def test_room_is_held_until_the_work_is_done_even_if_the_sender_gives_up() -> None:
    options = ReceiveOptions(in_flight_bytes=1000)
    receiver = Receiver(options)
    export = exporting(receiver, TRACES, Messages(options))  # type: ignore[arg-type]
    call = asyncio.ensure_future(export(message(bytes(600)), Mock()))
    while not receiver.intake.held_bytes:  # noqa: ASYNC110  what is waited for knows of no event
        await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    assert receiver.intake.held_bytes == 600
    receiver.free.set()
    await receiver.done.wait()
    await asyncio.sleep(0)
    assert receiver.intake.held_bytes == 0
