"""Putting the middleware around an application, and taking it off again.

Starlette and FastAPI build their own stack of middlewares; ours goes outside all of it, so that it sees the 500s too.
Flask has a place for it. Any other ASGI or WSGI application is wrapped, Django's with a look at its router. FastAPI's
own spans and metrics are switched off where they would come to our providers as well.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any, TypeVar

from opentelemetry import trace

from watchkeeper.integrations import asgi, django, flask, wsgi
from watchkeeper.integrations.exchange import Settings
from watchkeeper.metrics.otel import global_provider_is_another
from watchkeeper.tracing.tracer import TracerProvider

Application = TypeVar("Application")
Middleware = asgi.Middleware | wsgi.Middleware
_OUR_TRACERS = TracerProvider | trace.ProxyTracerProvider  # a proxy's are not anybody's yet, and will be ours
_ATTRIBUTE = "_watchkeeper"  # on an application instrumented in place: what uninstrument needs


class _Instrumented:
    """What was changed on a Starlette application."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.middleware: asgi.Middleware | None = None
        self.native: dict[str, bool] = {}  # what FastAPI would tell by itself, as it was


def instrument(app: Application, settings: Settings) -> Application | Middleware:
    """The application, instrumented in place if it can be, wrapped otherwise. A second call changes nothing."""
    if is_instrumented(app):
        return app
    if hasattr(app, "build_middleware_stack") and hasattr(app, "middleware_stack"):
        _instrument_starlette(app, settings)
        return app
    if flask.is_application(app):
        setattr(app, _ATTRIBUTE, flask.instrument(app, settings))
        return app
    return _wrapped(app, settings)


def is_instrumented(app: Any) -> bool:
    """Whether `instrument` has been here."""
    return isinstance(app, Middleware) or hasattr(app, _ATTRIBUTE)


def around_django(handler: Any, call: Any, settings: Settings) -> Middleware:
    """A middleware that serves by `call`, a Django handler's own, and knows the handler's routes."""
    django.instrument(handler, settings)
    traced_inside = django.traced_by_contrib()
    if _is_asgi(call):
        return asgi.Middleware(call, settings, traced_inside)
    return wsgi.Middleware(call, settings, (lambda: True) if traced_inside else None)


def uninstrument(app: Any) -> Any:
    """The application as it was before `instrument`."""
    if isinstance(app, Middleware):
        app.active = False
        for handler in django.handlers_in(app.app):
            django.uninstrument(handler)
        return app.app
    state: _Instrumented | wsgi.Middleware | None = getattr(app, _ATTRIBUTE, None)
    if state is None:
        return app
    delattr(app, _ATTRIBUTE)
    if isinstance(state, wsgi.Middleware):
        flask.uninstrument(app, state)
    else:
        _uninstrument_starlette(app, state)
    return app


def _wrapped(app: Any, settings: Settings) -> Middleware:
    is_asgi = _is_asgi(app)
    if not is_asgi and not _is_wsgi(app):
        raise TypeError(
            "instrument() takes an ASGI application (FastAPI, Starlette, Litestar, Django's get_asgi_application(), …)"
            " or a WSGI application (Flask, Django's get_wsgi_application(), …);"
            f" {type(app).__module__}.{type(app).__qualname__} is neither: it cannot be called with (scope, receive,"
            " send), nor with (environ, start_response). Pass the application itself, not its name, class or module."
        )
    handlers = django.handlers_in(app)
    for handler in handlers:
        django.instrument(handler, settings)
    traced_inside = bool(handlers) and django.traced_by_contrib()
    if is_asgi:
        return asgi.Middleware(app, settings, traced_inside)
    return wsgi.Middleware(app, settings, (lambda: True) if traced_inside else None)


def _instrument_starlette(app: Any, settings: Settings) -> None:
    state = _Instrumented(settings)
    build = app.build_middleware_stack

    def build_middleware_stack() -> asgi.Middleware:
        own = app.user_middleware
        if own:  # without any, nothing is answered that we would not hear of
            app.user_middleware = [*own, sys.modules["starlette.middleware"].Middleware(asgi.Inside)]
        try:
            state.middleware = asgi.Middleware(build(), settings)
        finally:
            app.user_middleware = own
        return state.middleware

    app.build_middleware_stack = build_middleware_stack
    if app.middleware_stack is not None:  # it serves already
        app.middleware_stack = state.middleware = asgi.Middleware(app.middleware_stack, settings)
    setattr(app, _ATTRIBUTE, state)
    _leave_telemetry_to_us(app, state)


def _uninstrument_starlette(app: Any, state: _Instrumented) -> None:
    del app.build_middleware_stack
    if state.middleware is not None:
        state.middleware.active = False
        if app.middleware_stack is state.middleware:
            app.middleware_stack = state.middleware.app
    if state.native:
        app._telemetry.update(state.native)  # noqa: SLF001


def _leave_telemetry_to_us(app: Any, state: _Instrumented) -> None:
    """Switches FastAPI's own spans and metrics off where they would double ours.

    FastAPI (since 0.142) begins with either as soon as a global provider exists, and ours will be one. A provider that
    the application has installed already keeps FastAPI's; of its spans the middleware sees, and makes none.
    """
    config = getattr(app, "_telemetry", None)
    if not isinstance(config, dict):
        return
    for what, provider, ours in (
        ("tracing", "tracer_provider", isinstance(trace.get_tracer_provider(), _OUR_TRACERS)),
        ("metrics", "meter_provider", not global_provider_is_another()),
    ):
        if ours and config.get(what) and config.get(provider) is None:
            state.native[what] = config[what]
            config[what] = False


def _is_asgi(app: Any) -> bool:
    call = app if inspect.isfunction(app) or inspect.ismethod(app) else getattr(app, "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(call) and len(inspect.signature(call).parameters) >= 3  # noqa: PLR2004


def _is_wsgi(app: Any) -> bool:
    """Whether it must be called with two arguments; what only can be is a factory, or a framework's own class."""
    if not callable(app) or inspect.iscoroutinefunction(app):
        return False
    try:
        signature = inspect.signature(app)
        signature.bind("environ", "start_response")
    except (TypeError, ValueError):
        return False
    return all(each.default is each.empty for each in list(signature.parameters.values())[:2])
