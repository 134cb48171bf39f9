"""What an event tells of the request it happened in: without secrets, and without what says who the client is."""

from __future__ import annotations

from urllib.parse import unquote_plus

from watchkeeper.context import Request
from watchkeeper.errors.event import RequestFacts
from watchkeeper.integrations.exchange import Exchange
from watchkeeper.logging.pipeline import pipeline
from watchkeeper.logging.redaction import REDACTED
from watchkeeper.tracing.http import UNMATCHED
from watchkeeper.values import truncated

MOST_HEADERS = 64
_PERSONAL = frozenset(
    {"cookie", "forwarded", "remote-addr", "true-client-ip", "via", "x-client-ip", "x-cluster-client-ip"}
    | {"x-forwarded-for", "x-real-ip", "cf-connecting-ip", "fastly-client-ip", "fly-client-ip", "x-forwarded-user"}
)


def facts_of(request: Request | None, *, personal: bool) -> RequestFacts | None:
    """The facts; None of work that came by no HTTP request, or whose server has taken it back already."""
    if not isinstance(request, Exchange):
        return None
    try:
        route = request.route()
        _, _, query, _, client = request.facts(route, request.status, "")
        url = request.url()
        headers = list(request.headers().items())[:MOST_HEADERS]
    except Exception:  # noqa: BLE001  # a WSGI server's environ, after the response
        return RequestFacts(request.original_method, "", request.path, status=request.status)
    redaction = pipeline.redaction
    return RequestFacts(
        method=request.original_method,
        route="" if route == UNMATCHED else route,
        url=redaction.text(truncated(url)),
        query=_clean_query(truncated(query.decode("latin-1"))),
        headers={
            name: REDACTED if redaction.is_secret(name) else redaction.text(truncated(value))
            for name, value in headers
            if personal or name not in _PERSONAL
        },
        status=request.status,
        client=client[0] if personal and client else "",
    )


def _clean_query(query: str) -> str:
    """The query string with the values of secret names taken out."""
    redaction = pipeline.redaction
    parts = []
    for part in redaction.text(query).split("&"):
        name, equals, _ = part.partition("=")
        parts.append(f"{name}={REDACTED}" if equals and redaction.is_secret(unquote_plus(name)) else part)
    return "&".join(parts)
