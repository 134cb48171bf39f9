"""threading: a thread belongs to the request and the span that started it, for as long as it lives.

Only OpenTelemetry's context goes along. A pool's threads are left out, since what they do is another's at each turn
(`executors` sees to it), and so are our own.

Others put something in place of a thread's `run` as it starts, too, such as sentry-sdk, before us or after us. What we
put there is a method like any other, so that it may be taken apart (`run.__func__`) and called with the thread; and
whatever was there is called in turn.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from types import MethodType
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
    if not context or _is_nobodys(thread):
        return wrapped(*args, **kwargs)
    own = vars(thread).get("run")
    with contextlib.suppress(Exception):  # a thread of a class that lets nobody change it goes without
        thread.run = MethodType(_carrying(context, own), thread)
    try:
        return wrapped(*args, **kwargs)
    except BaseException:
        _give_back(thread, own)  # it may be started once more, and by somebody else
        raise


def _carrying(context: Context, own: Any) -> Callable[..., None]:
    """A `run` that enters the context. `own` is what the thread had in place of its class's, if anything."""

    def run(thread: Any) -> None:
        attach(context)  # and never left: `threading.excepthook` is called in it, and then the end
        _give_back(thread, own)
        thread.run()

    return run


def _give_back(thread: Any, own: Any) -> None:
    """The thread's own `run`. Holding ours, it would hold itself, and be freed late."""
    if own is None:
        vars(thread).pop("run", None)
    else:
        vars(thread)["run"] = own


def _is_nobodys(thread: Any) -> bool:
    if thread.name.startswith(OWN_THREADS):
        return True
    pools = sys.modules.get("concurrent.futures.thread")
    return pools is not None and getattr(thread, "_target", None) is getattr(pools, "_worker", pools)
