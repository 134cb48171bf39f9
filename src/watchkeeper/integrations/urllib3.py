"""urllib3: each request is a span, carries the trace on, and is counted, unless requests' integration has done so.

A redirect that a PoolManager follows is a request of its own; what a pool tries again is one, with the number of its
repetitions. A span ends when urlopen does: with the response's headers, or its body where urllib3 reads that first.
"""

from __future__ import annotations

import sys
from typing import Any

from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.outgoing import Outgoing, begin, repetitions
from watchkeeper.integrations.patching import Patches, instrumented_by_contrib

_HEADERS = 3  # where urlopen has them
_patches = Patches()


def install() -> None:
    """Watches requests, once."""
    if not _patches:
        _patches.wrap(sys.modules["urllib3"], "connectionpool.HTTPConnectionPool.urlopen", _urlopen)


def uninstall() -> None:
    """Gives the library back."""
    _patches.undo()


def _urlopen(wrapped: Any, pool: Any, args: Any, kwargs: Any) -> Any:
    method = args[0] if args else kwargs.get("method")
    url = args[1] if len(args) > 1 else kwargs.get("url")
    traced = not instrumented_by_contrib("urllib3", "URLLib3Instrumentor")
    outgoing = begin(method, _full(pool, url), traced=traced)
    if outgoing is None:
        return wrapped(*args, **kwargs)
    with outgoing:
        args, kwargs = _with_headers(pool, outgoing, args, kwargs)
        response = wrapped(*args, **kwargs)
        outgoing.answered(getattr(response, "status", None), repetitions(response))
    return response


def _full(pool: Any, url: Any) -> str | None:
    """The URL with its server: pools are given the rest of it, unless they are a proxy's."""
    if not isinstance(url, str) or not url.startswith("/"):
        return url if isinstance(url, str) else None
    host = getattr(pool, "host", "")
    port = getattr(pool, "port", None)
    named = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"{getattr(pool, 'scheme', 'http')}://{named}{f':{port}' if port else ''}{url}"


def _with_headers(pool: Any, outgoing: Outgoing, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """The arguments with more headers in a copy of those there."""
    try:
        headers = args[_HEADERS] if len(args) > _HEADERS else kwargs.get("headers")
        if headers is None:
            headers = pool.headers  # which is what urlopen would take
        added = outgoing.headers({str(name).lower() for name in headers})
        if added:
            headers = headers.copy() if hasattr(headers, "copy") else dict(headers)
            headers.update(added)
            if len(args) > _HEADERS:
                return (*args[:_HEADERS], headers, *args[_HEADERS + 1 :]), kwargs
            return args, {**kwargs, "headers": headers}
    except Exception as failure:  # noqa: BLE001  # the boundary; any mapping may be given
        boundary.failed("http client", failure)
    return args, kwargs
