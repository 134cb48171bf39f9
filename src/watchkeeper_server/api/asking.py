"""Questions block, so they are asked in threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import orjson
from anyio import CapacityLimiter, to_thread
from fastapi import Response

# Twice the store's readers: while one thread makes JSON another reads.
MAX_AT_ONCE = 8

T = TypeVar("T")


class Asking:
    """Runs what blocks in threads, a bounded number at once; the others wait their turn."""

    def __init__(self) -> None:
        """Nobody waits yet."""
        self._limiter = CapacityLimiter(MAX_AT_ONCE)

    async def in_thread(self, question: Callable[[], T]) -> T:
        """The question's answer."""
        return await to_thread.run_sync(question, limiter=self._limiter)

    async def answer(self, question: Callable[..., Any], *arguments: Any) -> Response:
        """The question's answer as a response; a large one takes a while to become JSON, so that is done there too."""
        content = await self.in_thread(lambda: orjson.dumps(question(*arguments)))
        return Response(content, media_type="application/json")
