"""A server span's attributes before they have names, and the names: OpenTelemetry's stable HTTP conventions.

Most of them repeat from request to request. Keeping them unnamed lets the encoder keep their bytes.
"""

from __future__ import annotations

from typing import NamedTuple
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


class HttpFacts(NamedTuple):
    """What a request's span says. Bytes are headers as they came."""

    method: str
    original_method: str  # where `method` had to become _OTHER
    route: str
    status: int
    scheme: str
    version: str
    host: bytes
    user_agent: bytes
    client: tuple[str, int] | None
    path: str
    query: bytes
    error_type: str

    def repeating(self) -> dict[str, str | int]:
        """The attributes that few requests change."""
        attributes: dict[str, str | int] = {HTTP_REQUEST_METHOD: self.method, URL_SCHEME: self.scheme}
        if self.original_method:
            attributes[HTTP_REQUEST_METHOD_ORIGINAL] = self.original_method
        if self.route != UNMATCHED:
            attributes[HTTP_ROUTE] = self.route
        if self.status:
            attributes[HTTP_RESPONSE_STATUS_CODE] = self.status
        if self.version:
            attributes[NETWORK_PROTOCOL_VERSION] = self.version
        if self.error_type:
            attributes[ERROR_TYPE] = self.error_type
        address, port = server_of(self.host.decode("latin-1"), self.scheme)
        if address:
            attributes[SERVER_ADDRESS] = address
            if port is not None:
                attributes[SERVER_PORT] = port
        return attributes

    def attributes(self) -> dict[str, str | int]:
        """All of them."""
        attributes = self.repeating()
        attributes[URL_PATH] = truncated(self.path)
        if self.user_agent:
            attributes[USER_AGENT_ORIGINAL] = truncated(self.user_agent.decode("latin-1"))
        if self.client is not None:
            attributes[CLIENT_ADDRESS], attributes[CLIENT_PORT] = self.client
        if self.query:
            attributes[URL_QUERY] = truncated(self.query.decode("latin-1"))
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
