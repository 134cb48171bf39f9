"""One HTTP/1.1 connection: requests one after another, each answer read as it comes.

httptools parses, as leniently as Go does, so that what Prometheus can scrape is to be had here too. What is here is TCP
and TLS, the way through a proxy, and whether a connection can be used again. No more of an answer is held than
`_MOST_WAITING`: who sends faster than it is read has to wait. Time limits are the caller's; whoever gives up a request
has to close its connection.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import httptools

from watchkeeper_server.receive.scrape.discovery.groups import host_port
from watchkeeper_server.receive.scrape.happy_eyeballs import connected_socket

# Of all that may come before a body and, as trailers, after it
_MOST_HEADER_BYTES = 1024 * 1024
_MOST_WAITING = 1024 * 1024
_FINAL = 200  # statuses below announce another answer to the same request
# Lines that end in LF alone, folded headers, both a length and chunks, spaces after a chunk's size. What makes these
# dangerous, that others on the way may read the answer otherwise, needs connections that several clients share.
_AS_GO = {
    "lenient_optional_cr_before_lf": True,
    "lenient_headers": True,
    "lenient_chunked_length": True,
    "lenient_spaces_after_chunk_size": True,
}
_LENGTHS = {"content-length", "transfer-encoding"}


class BrokenError(Exception):
    """The connection ended, or what came is not HTTP; the message is a line."""


class Head(NamedTuple):
    """What an answer begins with; the headers' names in lower case, the first of each name counts."""

    status: int
    reason: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy: where it is, what lets us use it, and what it is told with CONNECT alone."""

    scheme: str
    host: str
    port: int
    authorization: str = ""
    connect_headers: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def headers(self) -> dict[str, str]:
        """What every request to it carries that is not for the server."""
        return {"proxy-authorization": self.authorization} if self.authorization else {}


@dataclass(frozen=True, slots=True)
class Server:
    """Whom to speak to, and how to get there."""

    scheme: str
    host: str
    port: int
    proxy: Proxy | None = None
    name: str = ""  # the one to verify, where it is not the host


async def connect(server: Server, context: ssl.SSLContext | None) -> HttpConnection:
    """Open a connection; the context is needed only where there is TLS on the way.

    Raises:
        OSError: it cannot be opened.
        BrokenError: the proxy refuses.
    """
    loop = asyncio.get_running_loop()
    first = server.proxy or server
    encrypted = context if first.scheme == "https" else None
    name = server.name if first is server and server.name else first.host
    opened = await connected_socket(await loop.getaddrinfo(first.host, first.port, type=socket.SOCK_STREAM))
    _, connection = await loop.create_connection(
        HttpConnection, sock=opened, ssl=encrypted, server_hostname=name if encrypted else None
    )
    if server.proxy and server.scheme == "https" and context:
        try:
            await connection.tunnel(server, server.proxy, context)
        except BaseException:
            connection.close()
            raise
    return connection


def encoded(method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """A request.

    Raises:
        ValueError: a header would be several lines.
    """
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    for name, line in zip(headers, lines[1:], strict=True):
        if "\r" in line or "\n" in line or "\0" in line:
            raise ValueError(f'invalid header field value for "{name}"')
    return "\r\n".join([*lines, "", ""]).encode() + body


class HttpConnection(asyncio.Protocol):
    """An open connection."""

    _complete: bool

    def __init__(self) -> None:
        """For `create_connection`."""
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False
        self._begin()

    async def ask(self, request: bytes) -> Head:
        """Send a request and wait for the head of its answer.

        Raises:
            BrokenError: there is none.
            OSError: likewise.
        """
        self._begin()
        assert self._transport is not None  # noqa: S101  create_connection has set it
        self._transport.write(request)
        while self._head is None:
            await self._more()
        return self._head

    async def read(self) -> bytes:
        """More of the answer's body; b"" at its end.

        Raises:
            BrokenError: it ends before its end.
            OSError: likewise.
        """
        while not self._chunks and not self._complete:
            await self._more()
        read = b"".join(self._chunks)
        self._chunks.clear()
        self._waiting = 0
        if self._paused and self._transport:
            self._paused = False
            self._transport.resume_reading()
        return read

    @property
    def answered(self) -> bool:
        """Whether anything came in answer to the last request."""
        return self._anything

    @property
    def reusable(self) -> bool:
        """Whether another request can be sent: the last answer is complete and both sides stay."""
        return self._complete and self._keeps and self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        """Close it; idempotent."""
        reusable, transport, self._transport = self.reusable, self._transport, None
        if transport is not None:
            transport.close() if reusable else transport.abort()

    async def tunnel(self, server: Server, proxy: Proxy, context: ssl.SSLContext) -> None:
        """Have the proxy connect through to a server, and begin TLS with that.

        Raises:
            BrokenError: the proxy does not.
            OSError: there is no TLS with the server.
        """
        where = host_port(server.host, server.port)
        head = await self.ask(encoded("CONNECT", where, {"host": where, **proxy.connect_headers, **proxy.headers}))
        if head.status // 100 != 2:  # noqa: PLR2004  2xx is success
            raise BrokenError(f"{head.status} {head.reason}".rstrip())
        transport = cast("asyncio.Transport", self._transport)
        self._parser = None
        self._transport = await asyncio.get_running_loop().start_tls(
            transport, self, context, server_hostname=server.name or server.host
        )

    def _begin(self) -> None:
        """Be ready for an answer."""
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(**_AS_GO)
        self._head: Head | None = None
        self._status_text = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._header_bytes = 0  # since there was some of the body
        self._chunks: list[bytes] = []
        self._waiting = 0
        self._complete = False
        self._keeps = False
        self._anything = False
        self._error: Exception | None = None

    async def _more(self) -> None:
        """Wait until something has come."""
        if self._error:
            raise self._error
        if self._transport is None:
            raise BrokenError("EOF")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    # what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See the protocol."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See the protocol."""
        self._anything = True
        if self._parser is None or self._complete or self._error:
            self._keeps = False
            if self._transport:
                self._transport.abort()  # nobody has asked for this, and nobody reads on
            return
        self._header_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._keeps = False
            self._error = BrokenError(f"malformed HTTP response: {error}")
        if self._header_bytes > _MOST_HEADER_BYTES:
            self._error = BrokenError("server response headers are too large")
        if self._waiting > _MOST_WAITING and not self._paused and self._transport and not self._complete:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """See the protocol."""
        self._transport, self._keeps = None, False
        until_end = self._head is not None and not _LENGTHS & self._head.headers.keys()
        if until_end and exc is None and not self._error:
            self._complete = True
        elif not self._complete and not self._error:
            self._error = exc or BrokenError("EOF" if self._head is None else "unexpected EOF")
        self._wake()

    # what the parser calls

    def on_status(self, status: bytes) -> None:
        """See httptools."""
        self._status_text += status

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        if self._head is None:  # trailers say nothing that is needed
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """See httptools."""
        status = self._parser.get_status_code()
        if self._complete:
            self._keeps = False  # nobody has asked for another answer
        elif status >= _FINAL:
            pairs = reversed(self._headers)
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in pairs}
            self._head = Head(status, self._status_text.decode("latin-1"), headers)
        self._status_text, self._headers = b"", []

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        if not self._complete:
            self._header_bytes = 0
            self._chunks.append(body)
            self._waiting += len(body)

    def on_message_complete(self) -> None:
        """See httptools."""
        if self._head is not None and not self._complete:
            self._complete = True
            # where an answer ends that says it twice, the server may see otherwise
            self._keeps = self._parser.should_keep_alive() and not self._head.headers.keys() >= _LENGTHS
