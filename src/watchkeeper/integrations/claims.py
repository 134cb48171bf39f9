"""Whether an application has a route of its own at a path, as far as its framework tells.

Starlette's and FastAPI's routes and mounts, Flask's `url_map` and Django's resolver are asked; of other applications
nothing is known. What takes any path (a front end's fallback, a proxy, a mount at the root) is no route at this one: a
route of its own does not take the same path with another first part, too.
"""

from __future__ import annotations

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
    find = _router(app, attributes)
    if find is None:
        return False
    _, slash, rest = path[1:].partition("/")
    for ending in ("", "/"):
        own = _found(find, path + ending)
        if own is not None and own != _found(find, _NOBODYS + slash + rest + ending):
            return True
    return False


def _found(find: Callable[[str], Any], path: str) -> Any:
    try:
        return find(path)
    except Exception:  # noqa: BLE001  # a router says so that it has none; or cannot say, of a request that is none
        return None


def _router(app: Any, attributes: Iterable[str]) -> Callable[[str], Any] | None:
    """Of the first router among the application's layers: what finds the route that takes a path."""
    base: Any = sys.modules.get("django.core.handlers.base")
    for layer in layers(app, *attributes):
        owner = getattr(layer, "__self__", layer)  # of Flask's bound wsgi_app
        if hasattr(owner, "url_map"):
            match = owner.url_map.bind("localhost").match
            return lambda path: match(path, method="GET", return_rule=True)[0]
        if base is not None and isinstance(owner, base.BaseHandler):
            return lambda path: sys.modules["django.urls"].resolve(path).route
        routes = getattr(owner, "routes", None)
        if isinstance(routes, list | tuple):
            return lambda path: _starlette(owner.routes, _scope(path))
    return None


def _starlette(routes: Iterable[Any], scope: Mapping[str, Any]) -> Any:
    """The first route, below mounts too, that takes a request; None if there is none."""
    for route in routes:
        match, child = route.matches(dict(scope))
        if match.value != _FULL:
            continue
        below = getattr(route, "routes", None)
        found = _starlette(below, {**scope, **child}) if below else _within(route, scope)
        if found is not None:
            return found
    return None


def _within(route: Any, scope: Mapping[str, Any]) -> Any:
    """The route itself; of a router that FastAPI includes, which is one route to Starlette, the one that it chose."""
    while (choose := getattr(route, "_match", None)) is not None:
        route = choose(dict(scope))[2]
    return route


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
