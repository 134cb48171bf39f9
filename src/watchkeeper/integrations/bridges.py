"""One request that middlewares of both kinds see: WSGI served through ASGI, or ASGI through WSGI.

The adapters in between (asgiref's, a2wsgi's, Starlette's, uvicorn's) hand a request on as it came, in a copy of its
context. By that it is told from a call that an application makes of another one in the same process, which is a
request of its own, by a client with headers of its own. The outer middleware keeps the request; the inner one, whose
application knows the route, tells it.
"""

from __future__ import annotations

from collections.abc import Callable

from watchkeeper.context import current_request
from watchkeeper.integrations.exchange import Exchange

_TELLING_HEADERS = ("host", "user-agent", "traceparent", "x-request-id", "authorization", "cookie")


def enclosing(method: str, path: str, header: Callable[[str], str | None]) -> Exchange | None:
    """The request that is being served, if this one is the same; a part of its path may have been taken off."""
    outer = current_request()
    if not isinstance(outer, Exchange) or outer.finished:
        return None
    if outer.original_method != method or not outer.path.endswith(path):
        return None
    return outer if all(outer.header(name) == header(name) for name in _TELLING_HEADERS) else None
