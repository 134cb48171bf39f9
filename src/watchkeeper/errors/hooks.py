"""The interpreter's hooks for exceptions that nobody handles. Those that were there before are always called on.

What reaches `sys.unraisablehook` (a finalizer's exception, mostly) and an event loop's handler may come up at any
instruction of any thread, where any lock may be held: such errors are kept, and taken in by the export thread.

An event loop without a handler of its own asks its class what to do, whoever runs it and whenever: that is hooked in.
One that has a handler, or is not asyncio's own, is heard of if it runs when somebody looks.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from contextvars import Context
from types import TracebackType
from typing import Any

from watchkeeper.errors.building import Source
from watchkeeper.errors.collector import collector
from watchkeeper.integrations.stdlib_logging import OWN_THREADS


class Hooks:
    """The hooks, from `install` to `uninstall`."""

    def __init__(self) -> None:
        self._placed: list[tuple[Any, str, Any, Any]] = []  # (module or class, name, ours, the former one)
        self._loops: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()

    def install(self) -> None:
        """Hooks in, in front of whatever is there. Idempotent."""
        if self._placed:
            return
        for module, name, make in (
            (sys, "excepthook", _excepthook),
            (threading, "excepthook", _threading_excepthook),
            (sys, "unraisablehook", _unraisablehook),
            (asyncio.BaseEventLoop, "default_exception_handler", _default_exception_handler),
        ):
            former = getattr(module, name)
            ours = make(former)  # a new one each time: an older one may be below somebody else's still
            setattr(module, name, ours)
            self._placed.append((module, name, ours, former))

    def uninstall(self) -> None:
        """Gives the former hooks back. Where somebody has hooked in since, ours stays below and only hands on."""
        for module, name, ours, former in self._placed:
            if getattr(module, name) is ours:
                setattr(module, name, former)
        self._placed.clear()
        for loop in list(self._loops):
            handler = loop.get_exception_handler()
            if isinstance(handler, LoopHandler):
                loop.set_exception_handler(handler.former)
        self._loops.clear()

    def watch_running_loop(self) -> None:
        """Hears of what the running event loop's callbacks and tasks leave unhandled; outside of asyncio, nothing."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        current = loop.get_exception_handler()
        if not isinstance(current, LoopHandler):
            loop.set_exception_handler(LoopHandler(current))
            self._loops.add(loop)


def _excepthook(former: Any) -> Any:
    def excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        collector.take(error, Source("excepthook", handled=False, severity="critical"))
        former(kind, error, traceback)

    return excepthook


def _threading_excepthook(former: Any) -> Any:
    def excepthook(args: Any) -> None:
        name = args.thread.name if args.thread is not None else ""
        if args.exc_value is not None and not name.startswith(OWN_THREADS):
            collector.take(args.exc_value, Source("thread", handled=False, extra={"thread": name}))
        former(args)

    return excepthook


def _unraisablehook(former: Any) -> Any:
    def unraisablehook(unraisable: Any) -> None:
        error = unraisable.exc_value
        if error is not None:
            message = unraisable.err_msg or "Exception ignored in a finalizer"
            # Whatever context is current, it is not the finalizer's.
            Context().run(collector.defer, error, Source("unraisable", handled=False, message=message))
        former(unraisable)

    return unraisablehook


def _default_exception_handler(former: Any) -> Any:
    def default_exception_handler(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), BaseException):
            # It does nothing but to log, and the line is of whom the error is of.
            _deferred(context).run(former, loop, context)
        else:
            former(loop, context)

    return default_exception_handler


class LoopHandler:
    """An event loop's exception handler, in front of the application's own or, without one, of asyncio's."""

    def __init__(self, former: Any) -> None:
        self.former = former

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What asyncio calls."""
        failed = isinstance(context.get("exception"), BaseException)
        inside = _deferred(context) if failed else Context()
        if self.former is not None:
            self.former(loop, context)
        elif failed:
            inside.run(loop.default_exception_handler, context)
        else:
            loop.default_exception_handler(context)


def _deferred(context: dict[str, Any]) -> Context:
    """Keeps the error of which an event loop tells: the context it came up in. The current one may be any request's."""
    own = (_context_of(context.get(name)) for name in ("task", "future", "handle"))
    inside = next((found.copy() for found in own if found is not None), None) or Context()
    source = Source("asyncio", handled=False, message=str(context.get("message") or ""))
    inside.run(collector.defer, context["exception"], source)
    return inside


def _context_of(failed: Any) -> Context | None:
    """That of a task or a callback. Python tells it from 3.12 on; before that, its garbage collector does."""
    if hasattr(failed, "get_context"):
        found = failed.get_context()
        return found if isinstance(found, Context) else None
    return next((found for found in gc.get_referents(failed) if isinstance(found, Context)), None)


hooks = Hooks()
