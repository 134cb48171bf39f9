"""Flask: the middleware in place, at `app.wsgi_app`; Flask's signals tell the route and the exception of a 500.

Of an exception that an error handler answers no signal tells: `handle_user_exception`, which looks for the handler, is
preceded by a look at the exception.

The template is `request.url_rule`'s. Werkzeug leaves the request in the environ, which serves a Flask that is mounted
below another application; but a thread with a copy of the request's context takes it out of there when it is done,
so that an instrumented Flask tells of its route as soon as it is known.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from watchkeeper.context import current_request
from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.exchange import Exchange, Settings
from watchkeeper.integrations.wsgi import Middleware, WsgiExchange


def is_application(app: Any) -> bool:
    """Whether it is Flask's."""
    flask: Any = sys.modules.get("flask")
    return flask is not None and isinstance(app, flask.Flask)


def instrument(app: Any, settings: Settings) -> Middleware:
    """Puts the middleware around `app.wsgi_app`. Gives it back, for `uninstrument`."""

    def traced_inside() -> bool:
        # Contrib's instrumentation makes its span in a before_request function, and may come and go at any time.
        return bool(getattr(app, "_is_instrumented_by_opentelemetry", False))

    app.wsgi_app = middleware = Middleware(app.wsgi_app, settings, traced_inside)
    flask: Any = sys.modules["flask"]
    flask.request_started.connect(_note_route, app)
    flask.got_request_exception.connect(_note_error, app)
    app.handle_user_exception = _Handling(app.handle_user_exception)
    return middleware


def uninstrument(app: Any, middleware: Middleware) -> None:
    """Takes it off again. If something else has been put around it, it stays there and only hands on."""
    middleware.active = False
    flask: Any = sys.modules["flask"]
    flask.request_started.disconnect(_note_route, app)
    flask.got_request_exception.disconnect(_note_error, app)
    handling = vars(app).get("handle_user_exception")
    if isinstance(handling, _Handling):
        app.handle_user_exception = handling.former
        if handling.former == type(app).handle_user_exception.__get__(app):
            del app.handle_user_exception
    if vars(app).get("wsgi_app") is not middleware:
        return
    app.wsgi_app = middleware.app
    if middleware.app == type(app).wsgi_app.__get__(app):  # the class's own: it needs no attribute
        del app.wsgi_app


class _Handling:
    """An application's `handle_user_exception`, which keeps what it is to handle."""

    def __init__(self, former: Callable[[Exception], Any]) -> None:
        self.former = former

    def __call__(self, error: Exception) -> Any:
        """What Flask calls with what a view has raised; of an HTTPException the status says it all."""
        request = current_request()
        if isinstance(request, Exchange) and not hasattr(error, "get_response"):
            request.note(error)
        return self.former(error)


def _note_route(_app: Any, **_more: Any) -> None:
    request = current_request()
    if isinstance(request, WsgiExchange):
        try:
            request.note_route()
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("request", failure)


def _note_error(_app: Any, exception: BaseException, **_more: Any) -> None:
    """Keeps what Flask is about to answer with a 500."""
    request = current_request()
    if isinstance(request, Exchange):
        request.note_unhandled(exception)
