"""The resource: the process that speaks, encoded once for everything it sends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.semconv.schemas import Schemas

from watchkeeper.export.otlp.wire import delimited, key_values, text

SCHEMA_URL = Schemas.V1_37_0.value  # the conventions our own attribute names follow


def resource_field(attributes: Mapping[str, Any]) -> bytes:
    """Field 1 of ResourceSpans, ResourceLogs and ResourceMetrics."""
    return delimited(0x0A, key_values(0x0A, attributes))


def scope_field(name: str, version: str = "", attributes: Mapping[str, Any] | None = None) -> bytes:
    """Field 1 of ScopeSpans, ScopeLogs and ScopeMetrics."""
    return delimited(0x0A, text(0x0A, name) + text(0x12, version) + key_values(0x1A, attributes or {}))


def request(resource: bytes, scopes: list[bytes]) -> bytes:
    """An Export*ServiceRequest for one resource: `scopes` are encoded Scope* messages.

    The three signals share field numbers.
    """
    return delimited(0x0A, resource + b"".join([delimited(0x12, scope) for scope in scopes]) + text(0x1A, SCHEMA_URL))
