"""`/metrics`: the registry in Prometheus's text format, or in OpenMetrics where the scraper asks for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

from watchkeeper.export.boundary import boundary
from watchkeeper.metrics.declare import declarations

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def registry() -> CollectorRegistry:
    """What to expose: this process, or all workers where PROMETHEUS_MULTIPROC_DIR makes them share."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    shared = CollectorRegistry()
    MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    return shared


def render(accept: str) -> tuple[bytes, str]:
    """(body, content type) of an exposition."""
    encode, content_type = choose_encoder(accept)
    with declarations.reading:
        return encode(registry()), content_type


async def _rendered(accept: str) -> tuple[bytes, str]:
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # another event loop (trio) drives the application
        return render(accept)
    return await asyncio.to_thread(render, accept)


async def serve(scope: MutableMapping[str, Any], send: Send) -> None:
    """Answers a scrape.

    Rendering happens in a thread: 10,000 series take tens of milliseconds that requests must not wait for.
    """
    accept = b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")
    status = 200
    try:
        body, content_type = await _rendered(accept)
    except Exception as error:  # noqa: BLE001  # a collector of the application's
        boundary.say_once("exposition", f"/metrics cannot be rendered: {error!r}", error)
        status, body, content_type = 500, f"cannot be rendered: {error!r}\n".encode(), "text/plain; charset=utf-8"
    headers = [(b"content-type", content_type.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
