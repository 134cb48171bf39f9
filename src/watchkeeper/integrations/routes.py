"""A request's route template, from what the router left in the scope: never matched again.

Starlette leaves the route, and below a mount the part of the path it took. FastAPI (since 0.13x) leaves an included
router's route without its prefix, and the whole template in a context beside it. Litestar leaves the template itself.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

from watchkeeper.tracing.http import UNMATCHED

_TYPED = re.compile("{([^}:]+):[^}]+}")  # a parameter of Litestar's, with its type


def route_of(scope: MutableMapping[str, Any]) -> str:
    """The template, such as `/orders/{order_id}`; UNMATCHED if no route took the request."""
    route = scope.get("route")
    if route is None:
        litestars = scope.get("path_template")
        return UNMATCHED if litestars is None else _TYPED.sub(r"{\1}", litestars)
    fastapi = scope.get("fastapi")
    if fastapi is not None:
        effective = fastapi.get("effective_route_context")
        if effective is not None and effective.original_route is route:
            route = effective
    template: str = getattr(route, "path_format", None) or getattr(route, "path", None) or ""
    if "app_root_path" in scope:
        template = _mounted(scope, route, template)
    return template or "/"


def _mounted(scope: MutableMapping[str, Any], route: Any, template: str) -> str:
    """The template below a mount.

    The mount's own part is known only as it was in this path, so its parameters are put back.
    """
    prefix: str = scope.get("root_path", "")[len(scope["app_root_path"]) :]
    for name, value in scope.get("path_params", {}).items():
        prefix = "/".join(f"{{{name}}}" if part == str(value) else part for part in prefix.split("/"))
    is_mount = hasattr(route, "routes")  # nothing below the mount took it: its own template repeats the prefix
    return f"{prefix}/{{path}}" if is_mount else prefix + template
