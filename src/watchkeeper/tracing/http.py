"""A server span's attributes before they have names, and the names: OpenTelemetry's stable HTTP conventions.

Most of them repeat from request to request. Keeping them unnamed lets the encoder keep their bytes.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from opentelemetry.semconv.attributes.client_attributes import CLIENT_ADDRESS, CLIENT_PORT
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.http_attributes import (
    HTTP_REQUEST_METHOD,
    HTTP_REQUEST_METHOD_ORIGINAL,
    HTTP_RESPONSE_STATUS_CODE,
    HTTP_ROUTE,
)
from opentelemetry.semconv.attributes.network_attributes import NETWORK_PROTOCOL_VERSION
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS, SERVER_PORT
from opentelemetry.semconv.attributes.url_attributes import URL_PATH, URL_QUERY, URL_SCHEME
from opentelemetry.semconv.attributes.user_agent_attributes import USER_AGENT_ORIGINAL

from watchkeeper.values import truncated

UNMATCHED = "unmatched"  # the route of a request that no route took: a metric label, never an attribute
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


# What few requests change: the method, the original one where that had to become _OTHER, the route, the status, the
# scheme, the protocol's version, the Host header and the error's type.
Repeating = tuple[str, str, str, int, str, str, bytes, str]
# What a request's span says: these, the path, the query, the user agent, and the client's address and port, as a tuple
# or a list, or None. Bytes are headers as they came. No class of its own: every request makes one, and that would cost
# fifteen times as much.
HttpFacts = tuple[Repeating, str, bytes, bytes, Any]


def repeating_attributes(repeating: Repeating) -> dict[str, str | int]:
    """The attributes that few requests change."""
    method, original_method, route, status, scheme, version, host, error_type = repeating
    attributes: dict[str, str | int] = {HTTP_REQUEST_METHOD: method, URL_SCHEME: scheme}
    if original_method:
        attributes[HTTP_REQUEST_METHOD_ORIGINAL] = original_method
    if route != UNMATCHED:
        attributes[HTTP_ROUTE] = route
    if status:
        attributes[HTTP_RESPONSE_STATUS_CODE] = status
    if version:
        attributes[NETWORK_PROTOCOL_VERSION] = version
    if error_type:
        attributes[ERROR_TYPE] = error_type
    address, port = server_of(host.decode("latin-1"), scheme)
    if address:
        attributes[SERVER_ADDRESS] = address
        if port is not None:
            attributes[SERVER_PORT] = port
    return attributes


def attributes_of(facts: HttpFacts) -> dict[str, str | int]:
    """All of them."""
    repeating, path, query, user_agent, client = facts
    attributes = repeating_attributes(repeating)
    attributes[URL_PATH] = truncated(path)
    if user_agent:
        attributes[USER_AGENT_ORIGINAL] = truncated(user_agent.decode("latin-1"))
    if client is not None:
        attributes[CLIENT_ADDRESS], attributes[CLIENT_PORT] = client
    if query:
        attributes[URL_QUERY] = truncated(query.decode("latin-1"))
    return attributes


def server_of(host: str, scheme: str) -> tuple[str, int | None]:
    """Address and port from a Host header.

    The scheme's port where it names none, an empty address if it is malformed.
    """
    try:
        url = urlsplit(f"//{host}")
        return url.hostname or "", url.port or _DEFAULT_PORTS.get(scheme)
    except ValueError:
        return "", None
