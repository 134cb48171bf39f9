"""The endpoints by which the server itself is watched: `/-/healthy`, `/-/ready`, `/metrics`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

PATHS = ("/-/healthy", "/-/ready", "/metrics")


class Operations:
    """An ASGI application for the paths in `PATHS`."""

    def __init__(self, registry: CollectorRegistry, not_ready: Callable[[], str | None]) -> None:
        """`not_ready` says why the server is not ready, or None."""
        self._registry = registry
        self._not_ready = not_ready

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:  # noqa: ARG002  ASGI
        """Answer one request."""
        match scope["path"]:
            case path if scope["method"] not in ("GET", "HEAD"):
                await _respond(send, 405, f"{path} takes GET, not {scope['method']}\n".encode(), allow="GET, HEAD")
            case "/metrics":
                accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
                encode, content_type = choose_encoder(accept)
                # in a thread, because some figures ask the store or wait for the disk
                body = await asyncio.to_thread(encode, self._registry)
                await _respond(send, 200, body, content_type)
            case "/-/ready" if reason := self._not_ready():
                await _respond(send, 503, f"{reason}\n".encode())
            case _:
                await _respond(send, 200, b"OK\n")


async def _respond(
    send: Callable[[dict[str, Any]], Awaitable[None]],
    status: int,
    body: bytes,
    kind: str = "text/plain; charset=utf-8",
    *,
    allow: str = "",
) -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    if allow:
        headers.append((b"allow", allow.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
