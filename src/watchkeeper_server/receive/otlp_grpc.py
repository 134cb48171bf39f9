"""OTLP over gRPC: the three `Export` methods, fed the same bytes as HTTP.

The handlers take requests undecoded, because the receiver checks bytes and the journal keeps them.

A message is held by gRPC until the whole of it is there, and only then the intake hears of it. So these messages have
a bound of their own, as large as the intake's: so many calls at once that `_WINDOW_BYTES` of each fit into it, and of
these so few whose message may be longer that `body_bytes` of each fit into it. Handlers get a call before its message
for that, as one that streams; to senders it makes no difference. Who sends slowly is told to send again.

Source: https://opentelemetry.io/docs/specs/otlp/#otlpgrpc, google/rpc/error_details.proto (RetryInfo)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from watchkeeper_server.receive.options import ReceiveOptions
from watchkeeper_server.receive.otlp import SIGNALS, OtlpReceiver, Signal
from watchkeeper_server.receive.refusal import Reason, RefusedError

Handler = Callable[[AsyncIterator[bytes], grpc.aio.ServicerContext], Awaitable[bytes]]
_CODES = {code.value[0]: code for code in grpc.StatusCode}
# What of a message may come before the handler asks for it. Nearly all are shorter, and then one slow sender is not
# in the way of others.
_WINDOW_BYTES = 256 * 1024
_RETRY_SECONDS = 1


def otlp_grpc_server(receiver: OtlpReceiver, options: ReceiveOptions) -> grpc.aio.Server:
    """A server with the three services, not yet bound to an address or started."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", options.body_bytes),
            ("grpc.http2.lookahead_bytes", _WINDOW_BYTES),
            ("grpc.http2.bdp_probe", 0),  # it would widen the window of quick senders to megabytes
            ("grpc.max_allowed_incoming_connections", options.connections),
            ("grpc.so_reuseport", 0),
            ("grpc.max_connection_idle_ms", 600_000),
        ],
        maximum_concurrent_rpcs=min(options.connections, max(1, options.in_flight_bytes // _WINDOW_BYTES)),
    )
    messages = Messages(options)
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                signal.service, {"Export": grpc.stream_unary_rpc_method_handler(exporting(receiver, signal, messages))}
            )
            for signal in SIGNALS
        ]
    )
    return server


class Messages:
    """The messages on their way in: so many at once, `room` being for more, and none for long."""

    def __init__(self, options: ReceiveOptions) -> None:
        """None is on its way."""
        self.room = asyncio.Semaphore(max(1, options.in_flight_bytes // options.body_bytes))
        self._seconds = options.body_seconds

    async def next(self, sent: AsyncIterator[bytes]) -> bytes:
        """A call's one message.

        Raises:
            RefusedError: it comes too slowly, or others do.
            ConnectionResetError: the sender has gone, or ended the call without it.
        """
        try:
            async with asyncio.timeout(self._seconds):
                await self.room.acquire()
        except TimeoutError as error:
            raise RefusedError(
                Reason.CROWDED, "too many messages are being received; send this again later", _RETRY_SECONDS
            ) from error
        try:
            async with asyncio.timeout(self._seconds):
                return await anext(sent)
        except TimeoutError as error:
            raise RefusedError(
                Reason.TIMED_OUT, f"the message took more than {self._seconds:g} seconds to arrive; send it again"
            ) from error
        except StopAsyncIteration as error:
            raise ConnectionResetError("the call ended without a message") from error
        finally:
            self.room.release()


def exporting(receiver: OtlpReceiver, signal: Signal, messages: Messages) -> Handler:
    """The method `Export` of a signal's service."""

    async def export(sent: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> bytes:
        try:
            response = await _received(receiver, signal, await _taken(receiver, signal, messages.next(sent)))
        except RefusedError as error:
            await _refuse(context, error)
        except ConnectionResetError as error:
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
        encoded: bytes = response.SerializeToString()
        return encoded

    return export


async def _taken(receiver: OtlpReceiver, signal: Signal, message: Awaitable[bytes]) -> bytes:
    """A message for which there is room in the intake from now on."""
    try:
        body = await message
        receiver.intake.take(len(body))
    except RefusedError as error:
        receiver.events.refused(signal.name, error.reason.label, error.items)
        raise
    return body


async def _received(receiver: OtlpReceiver, signal: Signal, body: bytes) -> Message:
    """What the receiver answers. It goes on when the sender gives up: a thread may be at work, and needs the room."""
    received = asyncio.ensure_future(receiver.receive(signal, body))
    received.add_done_callback(lambda _: receiver.intake.give_back(len(body)))
    return await asyncio.shield(received)


async def _refuse(context: grpc.aio.ServicerContext, error: RefusedError) -> None:
    status = Status(code=error.reason.grpc_code, message=str(error))
    if error.retry_seconds is not None:
        detail = AnyMessage()
        detail.Pack(RetryInfo(retry_delay=Duration(seconds=error.retry_seconds)))
        status.details.append(detail)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    await _abort(context, _CODES[error.reason.grpc_code], str(error))


async def _abort(context: grpc.aio.ServicerContext, code: grpc.StatusCode, message: str) -> None:
    try:
        await context.abort(code, message)
    except grpc.aio.InternalError as error:  # the sender has gone
        raise asyncio.CancelledError from error
