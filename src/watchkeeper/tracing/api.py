"""`span` and `traced`: the two words applications need."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar, overload

from opentelemetry import trace

from watchkeeper.tracing.current import CurrentSpan, in_span
from watchkeeper.tracing.sampling import always_off
from watchkeeper.tracing.tracer import TracerProvider

Function = TypeVar("Function", bound=Callable[..., Any])

SCOPE = "watchkeeper"
try:
    VERSION = version("watchkeeper")
except PackageNotFoundError:  # run from its sources
    VERSION = "0"

# Keeps nothing until `configure` wires it.
provider = TracerProvider(sink=lambda _span: None, sampler=always_off)


class Origin:
    """Where our own spans come from: our provider, or the one the application had installed before us."""

    tracer: trace.Tracer = provider.get_tracer(SCOPE, VERSION)


def span(name: str, /, **attributes: Any) -> CurrentSpan:
    """A span around a block, `with` or `async with`; it fails if an exception leaves the block.

    Example:
        >>> import watchkeeper as wk
        >>> with wk.span("charge card", order_id=7) as current:
        ...     current.set_attribute("attempts", 1)
    """
    return CurrentSpan(lambda: Origin.tracer.start_span(name, attributes=attributes))


@overload
def traced(function: Function, /) -> Function: ...


@overload
def traced(*, name: str = "", **attributes: Any) -> Callable[[Function], Function]: ...


def traced(function: Any = None, /, *, name: str = "", **attributes: Any) -> Any:
    """A span around each call of a function: plain, async, generator, async generator, method or property.

    A generator's span lives as long as the generator, and is current only in its body.

    Example:
        >>> import watchkeeper as wk
        >>> @wk.traced
        ... def settle(order_id: int) -> None: ...
        >>> @wk.traced(name="settle all", batch=True)
        ... async def settle_all() -> None: ...
    """
    if function is None:
        return lambda wrapped: _traced(wrapped, name, attributes)
    return _traced(function, name, attributes)


def _traced(function: Any, name: str, attributes: dict[str, Any]) -> Any:
    if isinstance(function, staticmethod | classmethod):
        return type(function)(_traced(function.__func__, name, attributes))
    if isinstance(function, property):
        get, put, delete = (
            part and _traced(part, name, attributes) for part in (function.fget, function.fset, function.fdel)
        )
        return property(get, put, delete, function.__doc__)
    if isinstance(function, functools.cached_property):
        return functools.cached_property(_traced(function.func, name, attributes))
    if not callable(function):
        raise TypeError(f"traced() is a decorator of functions, not of a {type(function).__name__}")
    title = name or getattr(function, "__qualname__", type(function).__qualname__).replace("<locals>.", "")
    return in_span(function, lambda: span(title, **attributes))
