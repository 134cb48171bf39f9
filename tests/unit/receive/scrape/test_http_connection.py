"""One connection, fed by hand: what it takes of an answer and when it is broken off."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from watchkeeper_server.receive.scrape.http_connection import BrokenError, Head, HttpConnection

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BLOCK = 64 * 1024


class Wire(asyncio.Transport):
    """A transport that leads nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


def connected() -> tuple[HttpConnection, Wire]:
    connection, wire = HttpConnection(), Wire()
    connection.connection_made(wire)
    return connection, wire


async def answered(*parts: bytes) -> tuple[HttpConnection, Head, bytes]:
    """What becomes of an answer that comes in these parts."""
    connection, _ = connected()
    asking = asyncio.create_task(connection.ask(b"GET"))
    await asyncio.sleep(0)
    for part in parts:
        connection.data_received(part)
    body = b""
    async with asyncio.timeout(5):
        head = await asking
        while read := await connection.read():
            body += read
    return connection, head, body


async def test_trailers_are_read_and_not_kept() -> None:
    connection, head, body = await answered(CHUNKED + b"2\r\nab\r\n0\r\nLate: x\r\nContent-Type: y\r\n\r\n")
    assert (body, dict(head.headers), connection.reusable) == (b"ab", {"transfer-encoding": "chunked"}, True)
    assert not connection._headers


@pytest.mark.parametrize("endless", [b"Late: x\r\n" * (BLOCK // 9), b"Late: " + b"x" * BLOCK])
async def test_endless_trailers_break_the_connection(endless: bytes) -> None:
    rest = (b"x" * BLOCK if b"\n" not in endless else endless for _ in range(32))
    with pytest.raises(BrokenError, match="headers are too large"):
        await answered(CHUNKED + b"2\r\nab\r\n0\r\n", endless, *rest)


async def test_what_comes_around_small_chunks_is_no_header() -> None:
    chunks = [b"1\r\nx\r\n" * 10_000] * 40
    _, _, body = await answered(CHUNKED, *chunks, b"0\r\n\r\n")
    assert len(body) == 400_000


async def test_a_connection_that_speaks_unasked_is_broken_off() -> None:
    connection, wire = connected()
    asking = asyncio.create_task(connection.ask(b"GET"))
    await asyncio.sleep(0)
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab")
    await asking
    assert (await connection.read(), connection.reusable, wire.aborted) == (b"ab", True, False)
    connection.data_received(b"z")
    assert (connection.reusable, wire.aborted) == (False, True)


@pytest.mark.parametrize(
    ("answer", "reusable"),
    [
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nab", True),
        (b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nab", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2  \r\nab\r\n0\r\n\r\n", True),
        # where it ends is a matter of opinion
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", False),
    ],
)
async def test_what_go_can_read_is_read(answer: bytes, reusable: bool) -> None:
    for parts in ([answer], [answer[i : i + 1] for i in range(len(answer))]):
        connection, _, body = await answered(*parts)
        assert (body, connection.reusable) == (b"ab", reusable)


async def test_what_can_be_read_in_two_ways_is_refused() -> None:
    with pytest.raises(BrokenError, match="malformed HTTP response"):
        await answered(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 1\r\n\r\nab")
    with pytest.raises(BrokenError, match="malformed HTTP response"):
        await answered(CHUNKED, b"2\nab\n0\n\n")


async def test_a_whole_head_is_told_in_lower_letters_and_the_first_of_a_name_counts() -> None:
    _, head, _ = await answered(b"HTTP/1.1 200 Fine\r\nA: 1\r\na: 2\r\nContent-Length: 0\r\n\r\n")
    assert head == Head(200, "Fine", cast("dict[str, str]", {"a": "1", "content-length": "0"}))
