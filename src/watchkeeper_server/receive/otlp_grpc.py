"""OTLP over gRPC: the three `Export` methods, fed the same bytes as HTTP.

The handlers take requests undecoded, because the receiver checks bytes and the journal keeps them.

Source: https://opentelemetry.io/docs/specs/otlp/#otlpgrpc, google/rpc/error_details.proto (RetryInfo)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from watchkeeper_server.receive.options import ReceiveOptions
from watchkeeper_server.receive.otlp import SIGNALS, OtlpReceiver, Signal
from watchkeeper_server.receive.refusal import RefusedError

Handler = Callable[[bytes, grpc.aio.ServicerContext], Awaitable[bytes]]
_CODES = {code.value[0]: code for code in grpc.StatusCode}


def otlp_grpc_server(receiver: OtlpReceiver, options: ReceiveOptions) -> grpc.aio.Server:
    """A server with the three services, not yet bound to an address or started."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", options.body_bytes),
            ("grpc.so_reuseport", 0),
            ("grpc.max_connection_idle_ms", 600_000),
        ],
        maximum_concurrent_rpcs=options.connections,
    )
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                signal.service, {"Export": grpc.unary_unary_rpc_method_handler(_handler(receiver, signal))}
            )
            for signal in SIGNALS
        ]
    )
    return server


def _handler(receiver: OtlpReceiver, signal: Signal) -> Handler:
    async def export(body: bytes, context: grpc.aio.ServicerContext) -> bytes:
        try:
            response = await _received(receiver, signal, body)
        except RefusedError as error:
            await _refuse(context, error)
        encoded: bytes = response.SerializeToString()
        return encoded

    return export


async def _received(receiver: OtlpReceiver, signal: Signal, body: bytes) -> Message:
    try:
        receiver.intake.take(len(body))
    except RefusedError as error:
        receiver.events.refused(signal.name, error.reason.label, error.items)
        raise
    try:
        return await receiver.receive(signal, body)
    finally:
        receiver.intake.give_back(len(body))


async def _refuse(context: grpc.aio.ServicerContext, error: RefusedError) -> None:
    status = Status(code=error.reason.grpc_code, message=str(error))
    if error.retry_seconds is not None:
        detail = AnyMessage()
        detail.Pack(RetryInfo(retry_delay=Duration(seconds=error.retry_seconds)))
        status.details.append(detail)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    await context.abort(_CODES[error.reason.grpc_code], str(error))
