"""requests: each request that leaves through an HTTPAdapter is a span, carries the trace on, and is counted.

Redirects are requests of their own; what urllib3 tries again below is one, with the number of its repetitions. A span
ends when the response's headers are there.
"""

from __future__ import annotations

import copy
import sys
from typing import Any

from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.outgoing import Outgoing, begin, repetitions
from watchkeeper.integrations.patching import Patches, instrumented_by_contrib

_patches = Patches()


def install() -> None:
    """Watches requests, once."""
    if not _patches:
        _patches.wrap(sys.modules["requests"], "adapters.HTTPAdapter.send", _send)


def uninstall() -> None:
    """Gives the library back."""
    _patches.undo()


def _send(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    request = args[0] if args else kwargs.get("request")
    traced = not instrumented_by_contrib("requests", "RequestsInstrumentor")
    outgoing = begin(getattr(request, "method", None), getattr(request, "url", None), traced=traced)
    if outgoing is None:
        return wrapped(*args, **kwargs)
    with outgoing:
        sent = _copy(request, outgoing)
        try:
            response = wrapped(sent, *args[1:], **{key: value for key, value in kwargs.items() if key != "request"})
        except Exception as error:
            if getattr(error, "request", None) is sent:
                error.request = request  # type: ignore[attr-defined]
            raise
        outgoing.answered(getattr(response, "status_code", None), repetitions(getattr(response, "raw", None)))
    if getattr(response, "request", None) is sent:
        response.request = request  # what follows from it (a redirect, an answer to a challenge) is of another span
    return response


def _copy(request: Any, outgoing: Outgoing) -> Any:
    """The request with more headers; the application's own may be sent again, by another thread at the same time."""
    try:
        added = outgoing.headers(request.headers)
        if not added:
            return request
        sent = copy.copy(request)
        sent.headers = request.headers.copy()
        sent.headers.update(added)
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("http client", failure)
        return request
    return sent
