"""HTTP listeners: sockets bound with clear errors, uvicorn without its signal handling, patience with limits."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from watchkeeper_server.model.errors import WatchkeeperError
from watchkeeper_server.options import Address

AsgiApp = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]
_SHUTDOWN_SECONDS = 3
_BACKLOG = 512
# what other servers allow too; the parser has no limit of its own
_HEADER_BYTES = 64 * 1024
_HEADERS_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-type: text/plain\r\n"
    b"content-length: 45\r\n\r\nThe headers are larger than 64 KiB together.\n"
)


class ListenError(WatchkeeperError):
    """An address cannot be listened on."""


def bind(option: str, address: Address) -> socket.socket:
    """A bound socket.

    Raises:
        ListenError: the address is taken or not ours; the message names the option.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(place)
        bound.listen(_BACKLOG)  # now, not when serving: of two servers only one may believe that it has the address
    except OSError as error:
        raise ListenError(
            f"cannot listen on {address}: {error.strerror}; choose another address with {option}"
        ) from error
    return bound


class Listener:
    """One HTTP server on one bound socket."""

    def __init__(self, app: AsgiApp, bound: socket.socket, *, header_seconds: float, connections: int) -> None:
        """Serve an ASGI application; a client that is slower with its headers than allowed is cut off."""
        config = uvicorn.Config(
            app,
            loop="none",
            http=_impatient(header_seconds),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=_BACKLOG,
            limit_concurrency=connections,
            timeout_keep_alive=75,  # exporters send every few seconds and should find their connection open
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
        self._server = _QuietServer(config)
        self._bound = bound
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port in use, also where 0 was asked for."""
        port: int = self._bound.getsockname()[1]
        return port

    async def start(self) -> None:
        """Accept connections from now on."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._bound]))
        while not self._server.started and not self._task.done():  # noqa: ASYNC110  uvicorn offers no event
            await asyncio.sleep(0.005)
        if not self._server.started:
            await self._task  # raises what ended it

    async def stop(self) -> None:
        """Finish the requests in hand, at most three seconds, and close; idempotent."""
        serving, self._task = self._task, None
        try:
            if serving is not None:
                self._server.should_exit = True
                await serving
        finally:
            self._bound.close()


class _QuietServer(uvicorn.Server):
    """Signals are the application's business, since it has more than one listener to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _impatient(header_seconds: float) -> type[asyncio.Protocol]:
    """uvicorn's protocol, but a connection on which a request's headers come too slowly or never end is closed."""

    class ImpatientProtocol(HttpToolsProtocol):
        _deadline: asyncio.TimerHandle | None = None  # None while no headers are awaited
        _header_bytes = 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._deadline = self.loop.call_later(header_seconds, transport.close)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._header_bytes = self._header_bytes + len(data) if self._deadline is not None else 0
            if self._header_bytes > _HEADER_BYTES and not self.transport.is_closing():
                self.transport.write(_HEADERS_TOO_LARGE)
                self.transport.close()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            if self._deadline is None:  # not the connection's first request
                self._deadline = self.loop.call_later(header_seconds, self.transport.close)

        def on_headers_complete(self) -> None:
            self._patient()
            super().on_headers_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._patient()
            super().connection_lost(exc)

        def _patient(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return ImpatientProtocol
