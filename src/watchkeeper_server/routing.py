"""Which part of the server answers a path."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from watchkeeper_server.api.prometheus.app import FEDERATE as FEDERATE_PATH
from watchkeeper_server.api.prometheus.app import PREFIX as PROMETHEUS_PREFIX
from watchkeeper_server.listeners import AsgiApp
from watchkeeper_server.operations import PATHS as OPERATIONS_PATHS
from watchkeeper_server.receive.otlp_http import PATHS as OTLP_PATHS
from watchkeeper_server.receive.remote_write_http import PATH as REMOTE_WRITE_PATH
from watchkeeper_server.receive.text_push import is_push


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that answers HTTP."""

    otlp: AsgiApp
    remote_write: AsgiApp
    text_push: AsgiApp
    prometheus: AsgiApp
    api: AsgiApp
    operations: AsgiApp
    page: AsgiApp


def routed(parts: Parts) -> AsgiApp:
    """All of them, each at its paths."""
    exact: Mapping[str, AsgiApp] = {
        **dict.fromkeys(OTLP_PATHS, parts.otlp),
        REMOTE_WRITE_PATH: parts.remote_write,
        FEDERATE_PATH: parts.prometheus,
        **dict.fromkeys(OPERATIONS_PATHS, parts.operations),
    }

    async def app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        path: str = scope["path"]
        if path in exact:
            part = exact[path]
        elif is_push(path):
            part = parts.text_push
        elif path.startswith(f"{PROMETHEUS_PREFIX}/"):
            part = parts.prometheus
        elif path.startswith("/api/"):
            part = parts.api
        else:
            part = parts.page
        await part(scope, receive, send)

    return app


def only_otlp(app: AsgiApp) -> AsgiApp:
    """The standard port answers OTLP and health, not the page."""

    async def narrowed(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["path"] in OTLP_PATHS or scope["path"] in OPERATIONS_PATHS:
            await app(scope, receive, send)
        else:
            body = f"There is nothing at {scope['path']}; OTLP goes to {', '.join(OTLP_PATHS)}.\n".encode()
            headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 404, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    return narrowed
