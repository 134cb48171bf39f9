"""concurrent.futures' thread pools: what is submitted belongs to the request and the span that submitted it.

`loop.run_in_executor` and `Executor.map` submit as well. Only OpenTelemetry's context goes along, one variable: the
application's own context variables stay where Python leaves them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from watchkeeper.context import Context, attach, detach, get_current
from watchkeeper.integrations.patching import Patches

_patches = Patches()


def install() -> None:
    """Carries the context into every pool's threads."""
    if not _patches:
        _patches.wrap("concurrent.futures.thread", "ThreadPoolExecutor.submit", _submit)


def uninstall() -> None:
    """Stops that."""
    _patches.undo()


def _submit(wrapped: Callable[..., Any], _executor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    context = get_current()
    if not context or not args:
        return wrapped(*args, **kwargs)
    return wrapped(_within, context, *args, **kwargs)


def _within(context: Context, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    token = attach(context)
    try:
        return function(*args, **kwargs)
    finally:
        detach(token)
