"""Serve the built page: hashed assets for ever, the document for every path the page itself routes."""

from __future__ import annotations

import mimetypes
from collections.abc import Awaitable, Callable, MutableMapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

Send = Callable[[dict[str, Any]], Awaitable[None]]

_FOREVER = b"public, max-age=31536000, immutable"
_ASK_EACH_TIME = b"no-cache"
# The page loads nothing from elsewhere, and nobody else may frame it.
_POLICY = b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
_NOT_BUILT = (
    b"The page is not built in this installation. Run `make setup`, or `pip install` the package, which build it."
)


class Page:
    """An ASGI application for everything that is not the API."""

    def __init__(self, folder: Traversable | None = None) -> None:
        """Read the built files once; a folder that is missing gives a page that says how to build it."""
        root = folder or files("watchkeeper_server.page") / "static"
        self._files = dict(_read(root, "/")) if root.is_dir() else {}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Send) -> None:  # noqa: ARG002  ASGI
        """Answer one request."""
        path = scope["path"]
        found = self._files.get(path)
        if found is None and path.startswith("/assets/"):
            await _respond(send, scope, 404, b"There is no such file; reload the page.", "text/plain", _ASK_EACH_TIME)
        elif scope["method"] not in ("GET", "HEAD"):
            await _respond(send, scope, 404, f"There is nothing to {scope['method']} at {path}.".encode(), "text/plain")
        elif found is not None:
            kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
            await _respond(send, scope, 200, found, kind, _FOREVER if path.startswith("/assets/") else _ASK_EACH_TIME)
        elif document := self._files.get("/index.html"):
            await _respond(send, scope, 200, document, "text/html; charset=utf-8")
        else:
            await _respond(send, scope, 503, _NOT_BUILT, "text/plain")


def _read(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _read(entry, f"{prefix}{entry.name}/")
        elif not entry.name.startswith("."):
            found.append((prefix + entry.name, entry.read_bytes()))
    return found


async def _respond(
    send: Send, scope: MutableMapping[str, Any], status: int, body: bytes, kind: str, caching: bytes = _ASK_EACH_TIME
) -> None:
    headers = [
        (b"content-type", kind.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", caching),
        (b"content-security-policy", _POLICY),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
