"""OTLP over gRPC (https://opentelemetry.io/docs/specs/otlp/#otlpgrpc), with the optional package grpcio.

The bodies are those of OTLP over HTTP, sent as they are. A channel belongs to one process: a forked child opens its
own.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from watchkeeper.export.options import SignalOptions
from watchkeeper.export.transport import Answer, partial_success, protobuf_fields, wants_compression

_SERVICES = {"traces": "trace.v1.Trace", "logs": "logs.v1.Logs", "metrics": "metrics.v1.Metrics"}
_RETRYABLE = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"})
_LONGEST_RETRY_DELAY = 300.0


class GrpcEndpoint:
    """One signal's destination, with its own channel, opened by the first request."""

    def __init__(self, signal: str, target: SignalOptions, user_agent: str) -> None:
        self._grpc: Any = importlib.import_module("grpc")  # the options have checked that it is there
        url = urlsplit(target.endpoint)
        self._target = target
        self._secure = url.scheme == "https"
        self._address = self.destination = url.netloc
        self._method = f"/opentelemetry.proto.collector.{_SERVICES[signal]}Service/Export"
        self._options = [("grpc.primary_user_agent", user_agent)]
        self._metadata = tuple((key.lower(), value) for key, value in target.headers.items())
        self._compression = self._grpc.Compression.Gzip if wants_compression(target) else None
        self._channel: Any = None
        self._call: Any = None

    def post(self, body: bytes, timeout_seconds: float) -> Answer:
        """Calls Export and reads the answer within the timeout; trouble of any kind is an answer too."""
        if self._call is None:
            try:
                self._open()
            except OSError as error:  # a certificate that is gone
                return Answer(delivered=False, retry=True, reason="unreachable", detail=str(error))
        try:
            answer = self._call(
                body,
                timeout=min(timeout_seconds, self._target.timeout_seconds),
                metadata=self._metadata,
                compression=self._compression,
            )
        except self._grpc.RpcError as error:
            return self._refused(error)
        rejected, message = partial_success(answer)
        return Answer(delivered=True, rejected=rejected, reason="rejected", detail=message)

    def close(self) -> None:
        """Closes the channel."""
        if self._channel is not None:
            self._channel.close()
            self._channel = self._call = None

    def _open(self) -> None:
        grpc = self._grpc
        if self._secure:
            self._channel = grpc.secure_channel(self._address, self._credentials(), self._options)
        else:
            self._channel = grpc.insecure_channel(self._address, self._options)
        self._call = self._channel.unary_unary(self._method)  # bytes in, bytes out

    def _credentials(self) -> Any:
        target = self._target
        names = (target.certificate, target.client_key, target.client_certificate)
        return self._grpc.ssl_channel_credentials(*[Path(name).read_bytes() if name else None for name in names])

    def _refused(self, error: Any) -> Answer:
        name = error.code().name
        detail = f"{self._target.endpoint} answered {name}: {error.details()}"
        delay = retry_delay_seconds(dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b""))
        # An exhausted server says by RetryInfo that it will recover; without, trying again is not allowed.
        retry = name in _RETRYABLE or (name == "RESOURCE_EXHAUSTED" and delay is not None)
        reason = "unreachable" if name == "UNAVAILABLE" else f"grpc_{name.lower()}"
        return Answer(delivered=False, retry=retry, retry_after_seconds=delay, reason=reason, detail=detail)


def retry_delay_seconds(status: bytes) -> float | None:
    """The delay of the RetryInfo in a google.rpc.Status (at most five minutes), None if there is none."""
    try:
        detail = _message(_message(status, 3), 2)  # Status.details is Any, Any.value the RetryInfo
        type_url = _message(_message(status, 3), 1)
        if not type_url.endswith(b"google.rpc.RetryInfo"):
            return None
        duration = protobuf_fields(_message(detail, 1))
    except (IndexError, ValueError):
        return None
    seconds, nanos = duration.get(1, 0), duration.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanos, int):
        return None
    return min(seconds + nanos / 1e9, _LONGEST_RETRY_DELAY)


def _message(body: bytes, number: int) -> bytes:
    inner = protobuf_fields(body).get(number, b"")
    return inner if isinstance(inner, bytes) else b""
