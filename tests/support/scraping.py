"""What tests of scraping share: requests taken apart, a clock that is turned by hand, targets that misbehave."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from watchkeeper_server.receive.prompb import WriteRequest
from watchkeeper_server.receive.scrape.scraped import Scraped

NOW_MS = 1_763_700_000_000
STALE = "stale"
STALE_BITS = bytes.fromhex("02 00 00 00 00 00 f0 7f")

Labels = dict[str, str]
Sample = tuple[str, int, float | str]


def shown(labels: Labels) -> str:
    """A series as PromQL writes it, labels in order: `up{instance="a",job="b"}`."""
    inside = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()) if name != "__name__")
    return labels["__name__"] + (f"{{{inside}}}" if inside else "")


def samples(request: bytes) -> list[Sample]:
    """Series, time and value of every sample of a remote-write request, in order; the end of a series is STALE."""
    out: list[Sample] = []
    for series in WriteRequest.FromString(request).timeseries:
        name = shown({label.name: label.value for label in series.labels})
        assert [label.name for label in series.labels] == sorted(label.name for label in series.labels)
        for sample in series.samples:
            stale = math.isnan(sample.value) and STALE_BITS in sample.SerializeToString()
            out.append((name, sample.timestamp, STALE if stale else sample.value))
    return out


def values(request: bytes) -> dict[str, float | str]:
    """The value of each series of a request."""
    return {name: value for name, _, value in samples(request)}


class Clock:
    """Time that stands still until it is turned."""

    def __init__(self, now: float = NOW_MS / 1000) -> None:
        self.time = now
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (self.time + seconds, next(self._order), waiter))
        await waiter

    async def advance(self, seconds: float) -> None:
        """Turn it, waking everybody at their time."""
        end = self.time + seconds
        while self._waiting and self._waiting[0][0] <= end:
            at, _, waiter = heapq.heappop(self._waiting)
            self.time = max(self.time, at)
            if not waiter.done():
                waiter.set_result(None)
            for _ in range(3):
                await asyncio.sleep(0)
        self.time = end


class Written:
    """A `write` that keeps what it is given, or refuses it."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.refusal: Exception | None = None
        self.left_out = ""
        self.attempts = 0

    async def __call__(self, scraped: Scraped) -> str:
        self.attempts += 1
        if self.refusal:
            raise self.refusal
        self.requests.append(scraped.request())
        return self.left_out


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait for something that happens outside: a response on its way."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  nobody tells when it does
            await asyncio.sleep(0.002)


@dataclass
class Reply:
    """What a target answers."""

    body: bytes = b""
    status: str = "200 OK"
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "text/plain; version=0.0.4"})
    delay: asyncio.Event | None = None
    raw: bytes | None = None


@dataclass
class Request:
    """What a target was asked."""

    line: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        return self.line.split(" ")[1]


class TargetServer:
    """An HTTP/1.1 server whose answers a function chooses; it keeps what it was asked."""

    def __init__(self, answer: Callable[[Request], Reply | Awaitable[Reply]] | Reply) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.connections = 0
        self.port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                request = Request(head[0], headers, body)
                self.requests.append(request)
                reply = self.answer if isinstance(self.answer, Reply) else self.answer(request)
                reply = reply if isinstance(reply, Reply) else await reply
                if reply.delay:
                    await reply.delay.wait()
                if reply.raw is not None:
                    writer.write(reply.raw)
                    await writer.drain()
                    return
                lines = [f"HTTP/1.1 {reply.status}", f"Content-Length: {len(reply.body)}"]
                lines += [f"{name}: {value}" for name, value in reply.headers.items()]
                writer.write("\r\n".join([*lines, "", ""]).encode() + reply.body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(
    answer: Callable[[Request], Reply | Awaitable[Reply]] | Reply, context: ssl.SSLContext | None = None
) -> AsyncIterator[TargetServer]:
    """A target that answers while the context is open."""
    target = TargetServer(answer)
    server = await asyncio.start_server(target.handle, "127.0.0.1", 0, ssl=context)
    target.port = server.sockets[0].getsockname()[1]
    try:
        yield target
    finally:
        server.close()
        await asyncio.sleep(0)


def text(body: str) -> Reply:
    """An answer in the text format."""
    return Reply(body.encode())
