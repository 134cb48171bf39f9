"""All bodies together have a bound, and what is large is worked on elsewhere."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import cramjam
import pytest

from watchkeeper_server.receive.bodies import IncomingBody
from watchkeeper_server.receive.intake import Intake
from watchkeeper_server.receive.options import ReceiveOptions
from watchkeeper_server.receive.refusal import Reason, RefusedError

SMALL = ReceiveOptions(in_flight_bytes=1000, body_bytes=600)


def sender(*chunks: bytes, pause: asyncio.Event | None = None) -> Callable[[], Awaitable[dict[str, Any]]]:
    """A request's body as ASGI gives it; before the last chunk it waits for the pause to end."""
    left = list(chunks)

    async def receive() -> dict[str, Any]:
        if pause and len(left) == 1:
            await pause.wait()
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    return receive


async def take(intake: Intake, receive: Callable[[], Awaitable[dict[str, Any]]], encoding: str = "") -> int:
    with IncomingBody(receive, intake) as body:
        return len(await body.decompressed(None, encoding))


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110  what is waited for knows of no event
            await asyncio.sleep(0)


async def test_room_is_given_back_however_a_request_ends() -> None:
    intake = Intake(SMALL)
    assert await take(intake, sender(bytes(300), bytes(300))) == 600
    with pytest.raises(RefusedError):
        await take(intake, sender(bytes(300), bytes(301)))
    with pytest.raises(RefusedError):
        await take(intake, sender(bytes(300)), "gzip")
    task = asyncio.create_task(take(intake, sender(bytes(300), b"", pause=asyncio.Event())))
    await until(lambda: intake.held_bytes == 300)
    task.cancel()
    await asyncio.wait([task])
    assert intake.held_bytes == 0


async def test_past_the_bound_of_all_a_sender_is_told_to_come_back_and_the_others_finish() -> None:
    intake, pause = Intake(SMALL), asyncio.Event()
    slow = [asyncio.create_task(take(intake, sender(bytes(400), bytes(50), pause=pause))) for _ in range(2)]
    await until(lambda: intake.held_bytes == 800)
    with pytest.raises(RefusedError) as refused:
        await take(intake, sender(bytes(300)))
    assert refused.value.reason is Reason.CROWDED
    assert refused.value.retry_seconds == 1
    assert str(refused.value).startswith("800 bytes of other requests are being received, the most allowed; send")
    assert await take(intake, sender(bytes(100))) == 100
    pause.set()
    assert await asyncio.gather(*slow) == [450, 450]
    assert intake.held_bytes == 0


async def test_what_a_body_is_decompressed_to_counts_too() -> None:
    intake = Intake(ReceiveOptions(in_flight_bytes=1000))
    body = bytes(cramjam.snappy.compress_raw(bytes(1001)))
    assert len(body) < 100
    with pytest.raises(RefusedError) as refused:
        await take(intake, sender(body), "snappy")
    assert refused.value.reason is Reason.CROWDED
    assert intake.held_bytes == 0


async def test_large_work_is_done_in_another_thread_and_small_work_here() -> None:
    intake = Intake(SMALL)
    here = threading.get_ident()
    assert await intake.run(16 * 1024, threading.get_ident) == here
    assert await intake.run(16 * 1024 + 1, threading.get_ident) != here
