"""A sender of HTTP/2 by hand, which can do what no client does: begin calls and never end them.

Source: https://www.rfc-editor.org/rfc/rfc9113 (frames, flow control)
"""

from __future__ import annotations

import asyncio
from typing import Self

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 4, 6, 8
_END_STREAM = _ACK = 1
_END_HEADERS = 4
_INITIAL_WINDOW_SIZE, _DEFAULT_WINDOW = 4, 65_535
_FRAME_BYTES = 16_384


class Sender:
    """One connection with calls of gRPC; each stream sends its message as far as the receiver lets it.

    Attributes:
        sent: bytes by stream.
        answered: streams that have got headers.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Nothing is sent yet."""
        self._reader, self._writer = reader, writer
        self._left: dict[int, bytes] = {}
        self._initial = self._window = _DEFAULT_WINDOW
        self._more: dict[int, int] = {}
        self.sent: dict[int, int] = {}
        self.answered: set[int] = set()

    @classmethod
    async def connected(cls, port: int) -> Self:
        """To a server on this machine."""
        sender = cls(*await asyncio.open_connection("127.0.0.1", port))
        sender._writer.write(_PREFACE)
        sender._frame(_SETTINGS, 0, 0, b"")
        return sender

    def call(self, stream: int, path: str, message: bytes, announced_bytes: int) -> None:
        """Begin a call, whose message may be announced longer than it is."""
        fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x", "te": "trailers"}
        fields["content-type"] = "application/grpc"
        self._frame(_HEADERS, _END_HEADERS, stream, b"".join(_header(*field) for field in fields.items()))
        self._left[stream] = b"\0" + announced_bytes.to_bytes(4) + message
        self.sent[stream] = 0

    def more(self, stream: int, message: bytes) -> None:
        """Add to a message."""
        self._left[stream] += message
        self._send()

    async def step(self) -> None:
        """Wait for what the receiver says next, and send all that may be sent then."""
        head = await self._reader.readexactly(9)
        content = await self._reader.readexactly(int.from_bytes(head[:3]))
        self._take(head[3], head[4], int.from_bytes(head[5:]), content)
        self._send()
        await self._writer.drain()

    def close(self) -> None:
        """Go without a word."""
        self._writer.close()

    def _send(self) -> None:
        for stream, left in self._left.items():
            size = min(len(left), self._window, self._initial + self._more.get(stream, 0) - self.sent[stream])
            for start in range(0, size, _FRAME_BYTES):
                self._frame(_DATA, 0, stream, left[start : min(size, start + _FRAME_BYTES)])
            if size > 0:
                self._left[stream] = left[size:]
                self.sent[stream] += size
                self._window -= size

    def _take(self, kind: int, flags: int, stream: int, content: bytes) -> None:
        if kind == _SETTINGS and not flags & _ACK:
            for place in range(0, len(content), 6):
                if int.from_bytes(content[place : place + 2]) == _INITIAL_WINDOW_SIZE:
                    self._initial = int.from_bytes(content[place + 2 : place + 6])
            self._frame(_SETTINGS, _ACK, 0, b"")
        elif kind == _PING and not flags & _ACK:
            self._frame(_PING, _ACK, 0, content)
        elif kind == _WINDOW_UPDATE and stream:
            self._more[stream] = self._more.get(stream, 0) + int.from_bytes(content)
        elif kind == _WINDOW_UPDATE:
            self._window += int.from_bytes(content)
        elif kind == _HEADERS:
            self.answered.add(stream)

    def _frame(self, kind: int, flags: int, stream: int, content: bytes) -> None:
        self._writer.write(len(content).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + content)


def _header(name: str, value: str) -> bytes:
    """A header field that is not indexed (RFC 7541, 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
