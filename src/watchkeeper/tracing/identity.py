"""Who a span is about: the user, the tenant and the correlation id that are bound where it starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from watchkeeper.context import BOUND_KEY, CORRELATION_ID, REQUEST_KEY, Context, Request

# By the names that `bind_context` takes. OpenTelemetry has a word for the user only.
NAMES = {"user_id": "user.id", "tenant_id": "tenant.id", CORRELATION_ID: "correlation.id"}


def identity_in(context: Context) -> dict[str, Any]:
    """The attributes that a span in this context carries; empty where nothing is bound."""
    request: Request | None = context.get(REQUEST_KEY)  # type: ignore[assignment]
    bound: Mapping[str, Any] | None = context.get(BOUND_KEY)  # type: ignore[assignment]
    found = identity_of(request) if request is not None else {}
    return {**found, **_named(bound)} if bound else found


def identity_of(request: Request) -> dict[str, Any]:
    """The attributes of a request's own span. A correlation id that only repeats the request's id is left out."""
    found = _named(request.bound) if request.bound else {}
    if request.correlation_id != request.request_id:
        found[NAMES[CORRELATION_ID]] = request.correlation_id
    return found


def _named(bound: Mapping[str, Any]) -> dict[str, Any]:
    return {NAMES[key]: bound[key] for key in NAMES.keys() & bound.keys()}
