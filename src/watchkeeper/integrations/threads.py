"""threading: a thread belongs to the request and the span that started it, for as long as it lives.

Only OpenTelemetry's context goes along. A pool's threads are left out, since what they do is another's at each turn
(`executors` sees to it), and so are our own.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Callable
from typing import Any

from watchkeeper.context import Context, attach, get_current
from watchkeeper.integrations.patching import Patches
from watchkeeper.integrations.stdlib_logging import OWN_THREADS

_patches = Patches()


def install() -> None:
    """Carries the context into every thread that is started."""
    if not _patches:
        _patches.wrap(threading, "Thread.start", _start)


def uninstall() -> None:
    """Stops that."""
    _patches.undo()


def _start(wrapped: Callable[..., Any], thread: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    context = get_current()
    with contextlib.suppress(Exception):  # a thread of a class that lets nobody change it goes without
        if context and "run" not in vars(thread) and not _is_nobodys(thread):
            thread.run = functools.partial(_run, thread, context)
    return wrapped(*args, **kwargs)


def _run(thread: Any, context: Context) -> None:
    """Runs in the new thread. The context is never left: `threading.excepthook` is called in it, and then the end."""
    attach(context)
    del thread.run
    thread.run()


def _is_nobodys(thread: Any) -> bool:
    if thread.name.startswith(OWN_THREADS):
        return True
    pools = sys.modules.get("concurrent.futures.thread")
    return pools is not None and getattr(thread, "_target", None) is getattr(pools, "_worker", pools)
