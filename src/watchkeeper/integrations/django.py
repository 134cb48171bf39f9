"""Django: the route's template and the exception that became a 500, from the handler, without a change of settings.

Of all that happens to a request only the handler's `resolve_request` has both the request and the match of its route.
It is Django's own method, called once a request by the sync and by the async path; on an instrumented handler it is
followed by one look at the match, which `uninstrument` removes. Signals tell of requests too early
(`request_started`) or without the request (`request_finished`), and a middleware would need a setting. Nor does one
tell of an exception that a middleware's `process_exception` answers: what they are asked with is looked at likewise.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from watchkeeper.context import current_request
from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.asgi import SCOPE_KEY
from watchkeeper.integrations.exchange import Exchange, Settings
from watchkeeper.integrations.opening import layers
from watchkeeper.integrations.server_lines import ENVIRON_KEY
from watchkeeper.integrations.templates import django_template
from watchkeeper.integrations.wsgi import HOLDERS, ROUTE_KEY

_CONTRIB = "opentelemetry.instrumentation.django."
_PAST_US = (
    "requests come to the Django application past wk.instrument, and are not watched: it cannot be instrumented in"
    " place, so that what is given back must be served, `application = wk.instrument(get_wsgi_application())`"
)


class Route(NamedTuple):
    """What Django leaves in an ASGI scope, in the shape of Starlette's routes."""

    path_format: str


def handlers_in(app: Any) -> list[Any]:
    """Django's handlers: `app` itself, or what the middlewares around it hold."""
    base: Any = sys.modules.get("django.core.handlers.base")
    return [] if base is None else [layer for layer in layers(app, *HOLDERS) if isinstance(layer, base.BaseHandler)]


def instrument(handler: Any, settings: Settings) -> None:
    """Makes a handler tell each request's template, and Django its unhandled exceptions. Idempotent.

    The middleware is around the handler, not in it: that requests come past it is said once.
    """
    if "resolve_request" in vars(handler):
        return
    resolve = handler.resolve_request

    def resolve_request(request: Any) -> Any:
        match = resolve(request)
        try:
            if not _leave_template(request, match) and settings.enabled:
                boundary.say_once("django", _PAST_US)
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("request", failure)
        return match

    process = handler.process_exception_by_middleware

    def process_exception_by_middleware(exception: Exception, request: Any) -> Any:
        served = current_request()
        if isinstance(served, Exchange):
            served.note(exception)
        return process(exception, request)

    handler.resolve_request = resolve_request
    handler.process_exception_by_middleware = process_exception_by_middleware
    signal = sys.modules["django.core.signals"].got_request_exception
    signal.connect(_note_error, weak=False, dispatch_uid=("watchkeeper", id(handler)))


def uninstrument(handler: Any) -> None:
    """Takes both back."""
    vars(handler).pop("process_exception_by_middleware", None)
    if vars(handler).pop("resolve_request", None) is not None:
        signal = sys.modules["django.core.signals"].got_request_exception
        signal.disconnect(dispatch_uid=("watchkeeper", id(handler)))


def traced_by_contrib() -> bool:
    """Whether OpenTelemetry's own middleware, which makes the request's span, is among those of the settings."""
    conf: Any = sys.modules.get("django.conf")
    return any(name.startswith(_CONTRIB) for name in conf.settings.MIDDLEWARE)


def _leave_template(request: Any, match: Any) -> bool:
    """Leaves it where the middleware looks for it. False if the request did not come through one."""
    template = django_template(match.route)
    environ = getattr(request, "environ", None)
    if environ is not None:
        environ[ROUTE_KEY] = template
        return ENVIRON_KEY in environ
    request.scope["route"] = Route(template)
    return SCOPE_KEY in request.scope


def _note_error(**_signal: Any) -> None:
    """Keeps the exception that Django is about to answer with a 500: it sends the signal while handling it."""
    request, error = current_request(), sys.exc_info()[1]
    if isinstance(request, Exchange) and error is not None:
        request.note_unhandled(error)
