"""Wrapping functions of other people's libraries, and taking every wrapper off again."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

import wrapt

from watchkeeper.export.boundary import boundary

Wrapper = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
"""(the function, what it is bound to, arguments, keyword arguments) -> what the caller gets"""


class Patches:
    """The changes that one integration makes to a library."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def __bool__(self) -> bool:
        return bool(self._undo)

    def wrap(self, target: Any, path: str, wrapper: Wrapper) -> None:
        """Puts `wrapper` around `path` of `target` (a module, or its name): `Session.request`, say.

        What kind of function it is does not change: a method of the class or none, a coroutine function or none (for
        which `wrapper` is one, too). Raises AttributeError if there is no such function; nothing has changed then.
        """
        if isinstance(target, str):
            target = importlib.import_module(target)
        parent, attribute, original = wrapt.resolve_path(target, path)
        own = attribute in vars(parent)  # else it is inherited
        working = True
        wrapped = wrapt.FunctionWrapper(original, wrapper, lambda: working)
        setattr(parent, attribute, wrapped)

        def undo() -> None:
            nonlocal working
            working = False  # for those who hold it: a bound method that was kept, or whoever has wrapped it since
            if vars(parent).get(attribute) is not wrapped:
                return  # somebody else's, around ours or in its place: it stays
            if own:
                setattr(parent, attribute, original)
            else:
                delattr(parent, attribute)

        self._undo.append(undo)

    def wrap_once_imported(self, module: str, path: str, wrapper: Wrapper) -> None:
        """Wraps as `wrap` does, as soon as the application imports that module: a package may be lazy about it."""
        begun = sys.modules.get(module)
        importing = getattr(getattr(begun, "__spec__", None), "_initializing", False)
        if begun is not None and not importing:
            self.wrap(module, path, wrapper)
            return
        wanted = True

        def forget() -> None:
            nonlocal wanted
            wanted = False

        def imported(found: Any) -> None:
            if wanted:
                try:
                    self.wrap(found, path, wrapper)
                except Exception as failure:  # noqa: BLE001  # it would be raised from the application's import
                    boundary.failed(f"integration of {module}", failure)

        self._undo.append(forget)
        if importing:
            # No hook is called for it any more, and it may be this very thread that imports it: another one waits.
            threading.Thread(
                target=lambda: imported(importlib.import_module(module)), name="watchkeeper-imports", daemon=True
            ).start()
        else:
            wrapt.register_post_import_hook(imported, module)

    def on_undo(self, undo: Callable[[], None]) -> None:
        """Something else to take back, such as a listener."""
        self._undo.append(undo)

    def undo(self) -> None:
        """Takes everything back, the last change first. What cannot be taken back keeps nothing else from it."""
        while self._undo:
            try:
                self._undo.pop()()
            except Exception as failure:  # noqa: BLE001  # other people's code
                boundary.failed("uninstall", failure)


def argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], position: int, name: str) -> Any:
    """What a wrapped function was given, by position or by name; None if it was not."""
    return args[position] if len(args) > position else kwargs.get(name)


def with_argument(
    args: tuple[Any, ...], kwargs: dict[str, Any], position: int, name: str, value: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same arguments, but for that one."""
    if len(args) > position:
        return (*args[:position], value, *args[position + 1 :]), kwargs
    return args, {**kwargs, name: value}


def instrumented_by_contrib(package: str, instrumentor: str) -> bool:
    """Whether the application has switched OpenTelemetry's own instrumentation of a library on.

    `package` is the last part of `opentelemetry.instrumentation.…`. Its spans are enough; metrics it has none of ours.
    Raises nothing.
    """
    module = sys.modules.get(f"opentelemetry.instrumentation.{package}")
    kind = getattr(module, instrumentor, None)
    if kind is None:
        return False
    try:
        return bool(kind().is_instrumented_by_opentelemetry)
    except Exception as failure:  # noqa: BLE001  # a version that we do not know
        boundary.failed("opentelemetry's instrumentation", failure)
        return False
