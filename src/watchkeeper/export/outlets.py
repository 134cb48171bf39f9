"""Which outlet and which encoding a signal's options ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from watchkeeper.export.console import Console
from watchkeeper.export.options import SignalOptions
from watchkeeper.export.otlp.grpc import GrpcEndpoint
from watchkeeper.export.transport import Answer, Endpoint, Outlet
from watchkeeper.export.zipkin import ZipkinEncoder, as_json
from watchkeeper.tracing.api import VERSION

USER_AGENT = f"watchkeeper-python/{VERSION}"
Encode = Callable[[Sequence[Any]], bytes]


class Nowhere:
    """Takes everything, for what is only to be seen by this process."""

    destination = ""

    def post(self, body: bytes, timeout_seconds: float) -> Answer:  # noqa: ARG002  # as outlets are asked
        """Delivered."""
        return Answer(delivered=True)

    def close(self) -> None:
        """Nothing is open."""


def outlet_of(signal: str, target: SignalOptions, resource: Mapping[str, Any], otlp: Encode) -> tuple[Outlet, Encode]:
    """The outlet and the encoding of a signal; `otlp` is its encoding in OTLP. Without an endpoint it goes nowhere."""
    if not target.endpoint:
        return Nowhere(), lambda _items: b""
    if target.protocol == "grpc":
        return GrpcEndpoint(signal, target, USER_AGENT), otlp
    if target.protocol == "zipkin":
        return Endpoint(as_json(target), USER_AGENT), ZipkinEncoder(resource).encode
    if target.protocol == "console":
        console = Console(resource, target.endpoint)
        return console, console.encode
    return Endpoint(target, USER_AGENT), otlp
