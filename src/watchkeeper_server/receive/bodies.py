"""A request's body: read with a bound and a patience, decompressed with a bound, held within what all may hold."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import cramjam
import pyarrow as pa

from watchkeeper_server.receive.intake import QUICK_BYTES, Intake
from watchkeeper_server.receive.options import ReceiveOptions
from watchkeeper_server.receive.refusal import Reason, RefusedError

# zlib's "window bits": what follows the largest window says which header to expect
_GZIP, _ZLIB, _RAW_DEFLATE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
_GZIP_MEMBERS = 100
ENCODINGS = ("identity", "gzip", "deflate", "zstd", "snappy")
# Snappy makes at most some 20 bytes of one, so it is quick for longer than the others, which can make a thousand.
_QUICK_SNAPPY_BYTES = 64 * 1024


class IncomingBody:
    """The body of one ASGI request on its way in; `ended` says that nothing more of it will come.

    A context: within it the body takes its room of the intake's.
    """

    def __init__(self, receive: Callable[[], Awaitable[dict[str, Any]]], intake: Intake) -> None:
        """Nothing is read yet."""
        self.ended = False
        self._receive = receive
        self._intake = intake
        self._options = intake.options
        self._held_bytes = 0

    def __enter__(self) -> Self:
        """Nothing is held yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the room back."""
        self._hold(0)

    async def decompressed(self, declared_bytes: int | None, encoding: str) -> bytes:
        """The whole body, as it was before compression.

        Raises:
            RefusedError: it is too large, also together with all others, too slow, or not of this encoding.
            ConnectionResetError: the sender has gone.
        """
        raw = await self._read(declared_bytes)
        quick = {"": len(raw), "identity": len(raw), "snappy": _QUICK_SNAPPY_BYTES}.get(encoding, QUICK_BYTES)
        body = await self._intake.run(len(raw), decompressed, raw, encoding, self._options, quick=quick)
        self._hold(len(body))
        return body

    async def _read(self, declared_bytes: int | None) -> bytes:
        chunks: list[bytes] = []
        try:
            await self._gather(chunks, declared_bytes)
        except (RefusedError, ConnectionResetError):
            chunks.clear()  # the error may be remembered for a while
            self._hold(0)
            raise
        return b"".join(chunks)

    async def _gather(self, chunks: list[bytes], declared_bytes: int | None) -> None:
        options = self._options
        if declared_bytes is not None and declared_bytes > options.body_bytes:
            raise _too_large(options)
        now = asyncio.get_running_loop().time
        started = now()
        size = 0
        while not self.ended:
            end = started + options.body_seconds + size / options.body_bytes_per_second
            try:
                chunk = await asyncio.wait_for(self._next(), max(0.0, min(options.body_seconds, end - now())))
            except TimeoutError as error:
                raise RefusedError(
                    Reason.TIMED_OUT,
                    f"the body comes too slowly: {size:,} bytes in {now() - started:.1f} seconds; send it again",
                ) from error
            size += len(chunk)
            if size > options.body_bytes:
                raise _too_large(options)
            self._hold(size)
            chunks.append(chunk)

    async def discard(self) -> None:
        """Take the rest and forget it, for as long as a pause may last.

        A sender reads the answer only when it has sent everything, and closing before that would reset the connection
        and take the answer with it.
        """
        try:
            async with asyncio.timeout(self._options.body_seconds):
                while not self.ended:
                    await self._next()
        except (TimeoutError, ConnectionResetError):
            return

    def _hold(self, size_bytes: int) -> None:
        """Hold so many bytes instead of what is held now."""
        more = size_bytes - self._held_bytes
        if more > 0:
            self._intake.take(more)
        else:
            self._intake.give_back(-more)
        self._held_bytes = size_bytes

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.ended = True
            raise ConnectionResetError("the sender closed the connection before the end of the body")
        self.ended = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk


def decompressed(body: bytes, encoding: str, options: ReceiveOptions) -> bytes:
    """The body without its Content-Encoding; never more than the bound, so that no bomb goes off.

    Raises:
        RefusedError: the encoding is unknown, the data damaged, or the result too large.
    """
    match encoding:
        case "" | "identity":
            return body
        case "gzip":
            return _inflate(body, _GZIP, "gzip", options)
        case "deflate":  # zlib's format by RFC 9110, raw from some senders
            looks_like_zlib = len(body) >= 2 and body[0] & 0x0F == 8 and not int.from_bytes(body[:2]) % 31  # noqa: PLR2004
            return _inflate(body, _ZLIB if looks_like_zlib else _RAW_DEFLATE, "deflate", options)
        case "zstd":
            return _unzstd(body, options)
        case "snappy":
            return _unsnappy(body, options)
        case _:
            raise RefusedError(
                Reason.UNSUPPORTED, f"Content-Encoding {encoding!r} is not supported; use one of {', '.join(ENCODINGS)}"
            )


def _inflate(body: bytes, window_bits: int, name: str, options: ReceiveOptions) -> bytes:
    out: list[bytes] = []
    room = options.body_bytes + 1
    while True:
        inflater = zlib.decompressobj(window_bits)
        try:
            out.append(inflater.decompress(body, room))
        except zlib.error as error:
            raise _damaged(name, error) from error
        room -= len(out[-1])
        if not room:
            raise _too_large(options)
        if not inflater.eof:
            raise _damaged(name, "it ends early")
        body = inflater.unused_data
        if len(out) > _GZIP_MEMBERS:  # each costs a copy of the rest
            raise _damaged(name, f"it has more than {_GZIP_MEMBERS} members")
        if not body:
            return b"".join(out)
        if window_bits != _GZIP:  # only gzip may hold several members, one after another (RFC 1952, 2.2)
            raise _damaged(name, "something follows its end")


def _unzstd(body: bytes, options: ReceiveOptions) -> bytes:
    if not body:
        raise _damaged("zstd", "it is empty")
    try:
        with pa.CompressedInputStream(pa.BufferReader(body), "zstd") as stream:
            out: bytes = stream.read(options.body_bytes + 1)
    except OSError as error:
        raise _damaged("zstd", error) from error
    if len(out) > options.body_bytes:
        raise _too_large(options)
    return out


def _unsnappy(body: bytes, options: ReceiveOptions) -> bytes:
    """Snappy's block format, which begins with the size that it unpacks to."""
    try:
        if cramjam.snappy.decompress_raw_len(body) > options.body_bytes:
            raise _too_large(options)
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise _damaged("snappy", error) from error


def _too_large(options: ReceiveOptions) -> RefusedError:
    return RefusedError(
        Reason.TOO_LARGE,
        f"the body is larger than {options.body_bytes:,} bytes, the most allowed; send smaller batches",
    )


def _damaged(encoding: str, error: object) -> RefusedError:
    return RefusedError(Reason.MALFORMED, f"the body says it is {encoding} but cannot be decompressed: {error}")
