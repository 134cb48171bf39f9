"""Whether an application has a route of its own at a path, as far as its framework tells.

Starlette's and FastAPI's routes and mounts, Flask's `url_map` and Django's resolver are asked; of other applications
nothing is known. What takes any path (a front end's fallback, a proxy, a mount at the root) has no route at this one:
a route is one that does not take the same path with another first part.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from watchkeeper.integrations.opening import layers

_NOBODYS = "/watchkeeper-asks-for-what-nobody-has"
_FULL = 2  # starlette.routing.Match.FULL: path and method


def claims(app: Any, path: str, *attributes: str) -> bool:
    """Whether the application answers a GET of `path` by a route of its own, with or without a slash at its end.

    `attributes` are those under which middlewares keep what they wrap.
    """
    first, slash, rest = path[1:].partition("/")
    for takes in _routers(app, attributes):
        # Other people's code, with a request that is none: what cannot say so has no such route.
        with contextlib.suppress(Exception):
            if not takes(_NOBODYS + slash + rest) and (takes(path) or takes(f"{path}/")):
                return bool(first)
    return False


def _routers(app: Any, attributes: Iterable[str]) -> Iterable[Callable[[str], bool]]:
    """For each router among the application's layers, whether it takes a path."""
    base: Any = sys.modules.get("django.core.handlers.base")
    for layer in layers(app, *attributes):
        owner = getattr(layer, "__self__", layer)  # of Flask's bound wsgi_app
        if hasattr(owner, "url_map"):
            yield owner.url_map.bind("localhost").test
            return
        if base is not None and isinstance(owner, base.BaseHandler):
            yield _django
            return
        routes = getattr(owner, "routes", None)
        if isinstance(routes, list | tuple):
            yield lambda path, routes=routes: _starlette(routes, _scope(path))  # type: ignore[misc]
            return


def _starlette(routes: Iterable[Any], scope: Mapping[str, Any]) -> bool:
    for route in routes:
        match, child = route.matches(dict(scope))
        if match.value != _FULL:
            continue
        below = getattr(route, "routes", None)
        if not below or _starlette(below, {**scope, **child}):
            return True
    return False


def _scope(path: str) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "path_params": {},
    }


def _django(path: str) -> bool:
    urls: Any = sys.modules["django.urls"]
    try:
        urls.resolve(path)
    except urls.Resolver404:
        return False
    return True
