"""A request's body: read with a bound and a patience, decompressed with a bound."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pyarrow as pa

from watchkeeper_server.receive.options import ReceiveOptions
from watchkeeper_server.receive.refusal import Reason, RefusedError

# zlib's "window bits": what follows the largest window says which header to expect
_GZIP, _ZLIB, _RAW_DEFLATE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
ENCODINGS = ("identity", "gzip", "deflate", "zstd")


async def read_body(
    receive: Callable[[], Awaitable[dict[str, Any]]], declared_bytes: int | None, options: ReceiveOptions
) -> bytes:
    """The whole body of an ASGI request.

    Raises:
        RefusedError: it is too large, or the sender went silent.
        ConnectionResetError: the sender has gone.
    """
    if declared_bytes is not None and declared_bytes > options.body_bytes:
        raise _too_large(options)
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        try:
            message = await asyncio.wait_for(receive(), options.body_seconds)
        except TimeoutError as error:
            raise RefusedError(
                Reason.TIMED_OUT,
                f"no byte of the body came for {options.body_seconds:g} seconds after the first {size:,}",
            ) from error
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("the sender closed the connection before the end of the body")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > options.body_bytes:
            raise _too_large(options)
        chunks.append(chunk)
        more = message.get("more_body", False)
    return b"".join(chunks)


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
        case _:
            raise RefusedError(
                Reason.UNSUPPORTED, f"Content-Encoding {encoding!r} is not supported; use one of {', '.join(ENCODINGS)}"
            )


def _inflate(body: bytes, window_bits: int, name: str, options: ReceiveOptions) -> bytes:
    inflater = zlib.decompressobj(window_bits)
    try:
        out = inflater.decompress(body, options.body_bytes + 1)
    except zlib.error as error:
        raise _damaged(name, error) from error
    if len(out) > options.body_bytes:
        raise _too_large(options)
    if not inflater.eof:
        raise _damaged(name, "it ends early")
    return out


def _unzstd(body: bytes, options: ReceiveOptions) -> bytes:
    try:
        with pa.CompressedInputStream(pa.BufferReader(body), "zstd") as stream:
            out: bytes = stream.read(options.body_bytes + 1)
    except OSError as error:
        raise _damaged("zstd", error) from error
    if len(out) > options.body_bytes:
        raise _too_large(options)
    return out


def _too_large(options: ReceiveOptions) -> RefusedError:
    return RefusedError(
        Reason.TOO_LARGE,
        f"the body is larger than {options.body_bytes:,} bytes, the most allowed; send smaller batches",
    )


def _damaged(encoding: str, error: object) -> RefusedError:
    return RefusedError(Reason.MALFORMED, f"the body says it is {encoding} but cannot be decompressed: {error}")
