"""`/metrics`: the registry in Prometheus's text format, or in OpenMetrics where the scraper asks for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

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


async def serve(scope: MutableMapping[str, Any], send: Send) -> None:
    """Answers a scrape.

    Rendering happens in a thread: 10,000 series take tens of milliseconds that requests must not wait for.
    """
    accept = b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # another event loop (trio) drives the application
        body, content_type = render(accept)
    else:
        body, content_type = await asyncio.to_thread(render, accept)
    headers = [(b"content-type", content_type.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
