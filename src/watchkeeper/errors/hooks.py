"""The interpreter's hooks for exceptions that nobody handles. Those that were there before are always called on.

What reaches `sys.unraisablehook` (a finalizer's exception, mostly) and an event loop's handler may come up at any
instruction of any thread, where any lock may be held: such errors are kept, and taken in by the export thread.
"""

from __future__ import annotations

import asyncio
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
        self._placed: list[tuple[Any, str, Any, Any]] = []  # (module, name, ours, the former one)
        self._loops: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()

    def install(self) -> None:
        """Hooks in, in front of whatever is there. Idempotent."""
        if self._placed:
            return
        for module, name, make in (
            (sys, "excepthook", _excepthook),
            (threading, "excepthook", _threading_excepthook),
            (sys, "unraisablehook", _unraisablehook),
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


class LoopHandler:
    """An event loop's exception handler, in front of the application's own or, without one, of asyncio's."""

    def __init__(self, former: Any) -> None:
        self.former = former

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What asyncio calls."""
        error = context.get("exception")
        if isinstance(error, BaseException):
            source = Source("asyncio", handled=False, message=str(context.get("message") or ""))
            # A task knows its context from Python 3.12 on; the current one may be any request's.
            task: Any = context.get("task") or context.get("future")
            inside = task.get_context().copy() if hasattr(task, "get_context") else Context()
            inside.run(collector.defer, error, source)
        if self.former is not None:
            self.former(loop, context)
        else:
            loop.default_exception_handler(context)


hooks = Hooks()
