"""Applications that nobody instruments in code: found as frameworks make them, or as a server loads them.

Starlette, FastAPI and Flask applications are instrumented when they are made, Django's handlers when they first serve;
whatever else a server loads is wrapped there. `wk.instrument` in the code as well changes nothing: what is
instrumented is left as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import wrapt

from watchkeeper.client import instrument
from watchkeeper.export.boundary import boundary
from watchkeeper.integrations import apps, django, wsgi
from watchkeeper.integrations.opening import layers
from watchkeeper.integrations.part import requests
from watchkeeper.integrations.patching import Patches

_HANDLER = "_watchkeeper_middleware"  # on a Django handler


class Frameworks:
    """The hooks, by the modules whose import they wait for."""

    def __init__(self) -> None:
        self._patches = Patches()
        self._hooked: set[str] = set()
        self._watching = False

    def watch(self) -> None:
        """From now on. Hooks cannot be taken back: they ask whether they are wanted still."""
        if self._watching:
            return
        self._watching = True
        for name, hook in HOOKS.items():
            if name in sys.modules:
                self._imported(hook, sys.modules[name])
            elif name not in self._hooked:
                self._hooked.add(name)
                wrapt.register_post_import_hook(partial(self._imported, hook), name)

    def unwatch(self) -> None:
        """Leaves frameworks that are imported later alone, and takes the changes of others back."""
        self._watching = False
        self._patches.undo()

    def _imported(self, hook: Callable[[Patches, Any], None], module: Any) -> None:
        if not self._watching:
            return
        try:
            hook(self._patches, module)
        except Exception as error:  # noqa: BLE001  # a version that we do not know
            boundary.failed(f"hook of {module.__name__}", error)


def served(app: Any) -> Any:
    """What a server is to call for this application: itself, where a layer of it is instrumented or will be.

    What nobody can instrument is left to the server.
    """
    try:
        if any(apps.is_instrumented(layer) or django.handlers_in(layer) for layer in layers(app, *wsgi.HOLDERS)):
            return app
        return instrument(app)
    except TypeError:
        return app
    except Exception as error:  # noqa: BLE001  # the boundary
        boundary.failed("instrument", error)
        return app


def _made(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    wrapped(*args, **kwargs)
    try:
        apps.instrument(instance, requests.settings)
    except Exception as error:  # noqa: BLE001  # the boundary
        boundary.failed("instrument", error)


def _django_served(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A call of a Django handler, through a middleware of its own."""
    middleware = vars(instance).get(_HANDLER, wrapped)
    if middleware is wrapped:
        try:
            middleware = vars(instance)[_HANDLER] = apps.around_django(instance, wrapped, requests.settings)
        except Exception as error:  # noqa: BLE001  # the boundary
            boundary.failed("instrument", error)
    return middleware(*args, **kwargs)


def _returned(wrapped: Callable[..., Any], _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return served(wrapped(*args, **kwargs))


def _first_argument(wrapped: Callable[..., Any], _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return wrapped(served(args[0]), *args[1:], **kwargs) if args else wrapped(**kwargs)


def _uvicorn_loaded(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    wrapped(*args, **kwargs)
    instance.loaded_app = served(instance.loaded_app)


HOOKS: dict[str, Callable[[Patches, Any], None]] = {
    "starlette.applications": lambda patches, module: patches.wrap(module, "Starlette.__init__", _made),
    "fastapi.applications": lambda patches, module: patches.wrap(module, "FastAPI.__init__", _made),
    "flask.app": lambda patches, module: patches.wrap(module, "Flask.__init__", _made),
    "django.core.handlers.wsgi": lambda patches, module: patches.wrap(module, "WSGIHandler.__call__", _django_served),
    "django.core.handlers.asgi": lambda patches, module: patches.wrap(module, "ASGIHandler.__call__", _django_served),
    "uvicorn.config": lambda patches, module: patches.wrap(module, "Config.load", _uvicorn_loaded),
    "gunicorn.app.base": lambda patches, module: patches.wrap(module, "BaseApplication.wsgi", _returned),
    "hypercorn.utils": lambda patches, module: patches.wrap(module, "wrap_app", _first_argument),
    "waitress": lambda patches, module: patches.wrap(module, "serve", _first_argument),
    "wsgiref.simple_server": lambda patches, module: patches.wrap(module, "WSGIServer.set_app", _first_argument),
}

frameworks = Frameworks()
