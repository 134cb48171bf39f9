"""aiohttp's client: each request is a span, carries the trace on, and is counted.

aiohttp follows redirects within a request: they are one span, with their number. It ends when the headers of the last
response are there. Requests of a language model's client or of a framework's are seen here, too.
"""

from __future__ import annotations

import sys
from typing import Any

from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.outgoing import Outgoing, begin
from watchkeeper.integrations.patching import Patches, instrumented_by_contrib

_patches = Patches()


def install() -> None:
    """Watches requests, once."""
    if not _patches:
        _patches.wrap(sys.modules["aiohttp"], "client.ClientSession._request", _request)


def uninstall() -> None:
    """Gives the library back."""
    _patches.undo()


async def _request(wrapped: Any, session: Any, args: Any, kwargs: Any) -> Any:
    method = args[0] if args else kwargs.get("method")
    url = args[1] if len(args) > 1 else kwargs.get("str_or_url")
    traced = not instrumented_by_contrib("aiohttp_client", "AioHttpClientInstrumentor")
    outgoing = begin(method, _full(session, url, kwargs.get("params")), traced=traced)
    if outgoing is None:
        return await wrapped(*args, **kwargs)
    with outgoing:
        try:
            response = await wrapped(*args, **_with_headers(session, outgoing, kwargs))
        except sys.modules["aiohttp"].ClientResponseError as error:  # also how `raise_for_status` tells of an answer
            outgoing.answered(error.status or None, len(error.history or ()))
            raise
        outgoing.answered(getattr(response, "status", None), len(getattr(response, "history", ())))
    return response


def _full(session: Any, url: Any, params: Any) -> Any:
    """The URL that is asked for, as far as it can be told before."""
    try:
        full = session._build_url(url)  # noqa: SLF001  # what _request does with it
        return full.extend_query(params) if params else full
    except Exception:  # noqa: BLE001  # the library is about to say what is wrong
        return url


def _with_headers(session: Any, outgoing: Outgoing, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments with more headers in a copy of those there."""
    try:
        headers = session._prepare_headers(kwargs.get("headers"))  # noqa: SLF001  # the session's, and the request's
        headers.update(outgoing.headers(headers))
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("http client", failure)
        return kwargs
    return {**kwargs, "headers": headers}
