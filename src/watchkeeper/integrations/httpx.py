"""httpx: each request that leaves through its own transports is a span, carries the trace on, and is counted.

Redirects and authentication are requests of their own. Transports that stay in the process, such as those of test
clients, send nothing and are left alone. A span ends when the response's headers are there.
"""

from __future__ import annotations

import sys
from typing import Any

from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.outgoing import Outgoing, begin
from watchkeeper.integrations.patching import Patches, instrumented_by_contrib


class Httpx:
    """The library, or one of its shape under another name."""

    def __init__(self, name: str, instrumentor: str) -> None:
        self._name = name
        self._instrumentor = instrumentor
        self._patches = Patches()

    def install(self) -> None:
        """Watches requests, once."""
        module = sys.modules[self._name]
        if self._patches or module.__name__ != self._name:  # an alias: its own name is instrumented
            return
        instrumentor = self._instrumentor

        def opened(request: Any) -> Outgoing | None:
            traced = not instrumented_by_contrib("httpx", instrumentor)
            return begin(getattr(request, "method", None), getattr(request, "url", None), traced=traced)

        def send(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
            request = args[0] if args else kwargs.get("request")
            outgoing = opened(request)
            if outgoing is None:
                return wrapped(*args, **kwargs)
            with outgoing:
                response = wrapped(_copy(module, request, outgoing))
                outgoing.answered(getattr(response, "status_code", None))
            return response

        async def send_async(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
            request = args[0] if args else kwargs.get("request")
            outgoing = opened(request)
            if outgoing is None:
                return await wrapped(*args, **kwargs)
            with outgoing:
                response = await wrapped(_copy(module, request, outgoing))
                outgoing.answered(getattr(response, "status_code", None))
            return response

        self._patches.wrap(module, "HTTPTransport.handle_request", send)
        self._patches.wrap(module, "AsyncHTTPTransport.handle_async_request", send_async)

    def uninstall(self) -> None:
        """Gives the library back."""
        self._patches.undo()


def _copy(module: Any, request: Any, outgoing: Outgoing) -> Any:
    """The request with more headers; the application's own may be sent again, by another thread at the same time."""
    try:
        sent = module.Request(
            request.method, request.url, headers=request.headers, stream=request.stream, extensions=request.extensions
        )
        for name, text in outgoing.headers(sent.headers).items():
            sent.headers[name] = text
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("http client", failure)
        return request
    return sent


_httpx = Httpx("httpx", "HTTPXClientInstrumentor")
install, uninstall = _httpx.install, _httpx.uninstall
