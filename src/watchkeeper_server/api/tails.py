"""Live tails: matching log records as server-sent events, soon after they are stored.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from watchkeeper_server.api.problems import TooManyTailsError
from watchkeeper_server.model.errors import StoreError
from watchkeeper_server.query.tail import LogTail

MAX_TAILS = 20
MAX_RECORDS_A_LOOK = 500

_SKIPPED = b'event: skipped\ndata: {"kept": %d}\n\n' % MAX_RECORDS_A_LOOK

InThread = Callable[[Callable[[], Any]], Awaitable[Any]]


class Tails:
    """Every tail that is being read."""

    def __init__(self, look_seconds: float = 1.0, comment_seconds: float = 15.0) -> None:
        """Look for new records so often; say something at least so often, which keeps proxies from hanging up."""
        self._look_seconds = look_seconds
        self._comment_seconds = comment_seconds
        self._open = 0
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End them all, at their next look: a server that stops need not wait for its readers."""
        self._closing.set()

    async def follow(self, begin: Callable[[], LogTail], in_thread: InThread) -> StreamingResponse:
        """Stream what arrives from now on until the client goes.

        Where more arrives at once than is sent, an event named `skipped` comes before the newest of it.

        Raises:
            TooManyTailsError: so many are open already.
        """
        if self._open >= MAX_TAILS:
            raise TooManyTailsError(f"{MAX_TAILS} live tails are open, the most there can be; close one of them")
        self._open += 1
        try:
            tail = await in_thread(begin)
        except BaseException:
            self._release()
            raise
        return _TailResponse(self._events(tail, in_thread), self._release)

    def _release(self) -> None:
        self._open -= 1

    async def _events(self, tail: LogTail, in_thread: InThread) -> AsyncIterator[bytes]:
        yield b": following\n\n"
        spoke = time.monotonic()
        while not self._closing.is_set():
            try:
                records, more = await in_thread(lambda: tail.look(MAX_RECORDS_A_LOOK))
            except StoreError:  # the browser comes back by itself
                return
            if records:
                events = b"".join(b"data: " + orjson.dumps(record) + b"\n\n" for record in records)
                yield _SKIPPED + events if more else events
                spoke = time.monotonic()
            elif time.monotonic() - spoke >= self._comment_seconds:
                yield b":\n\n"
                spoke = time.monotonic()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._look_seconds)


class _TailResponse(StreamingResponse):
    """Streams, and tells when it is over, also where the client was gone before it began."""

    def __init__(self, events: AsyncIterator[bytes], over: Callable[[], None]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self._over = over

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._over()
