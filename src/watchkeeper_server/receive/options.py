"""The receivers' options."""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ReceiveOptions:
    """Limits on what is taken in.

    Attributes:
        body_bytes: the largest request, before and after decompression.
        in_flight_bytes: the most that all requests being received may hold together; past it senders are told to wait.
        attributes: the most attributes one span, record or data point may carry.
        future_seconds: how far ahead of this server's clock a timestamp may be.
        header_seconds: how long a client may take to send a request's headers.
        body_seconds: how long it may pause within a request's body.
        body_bytes_per_second: how slowly a body may come for longer than that.
        connections: the most connections a listener holds at once.
    """

    body_bytes: int = 32 * MIB
    in_flight_bytes: int = 256 * MIB
    attributes: int = 10_000
    future_seconds: int = 24 * 3600
    header_seconds: float = 10.0
    body_seconds: float = 10.0
    body_bytes_per_second: int = 1024
    connections: int = 2_000
