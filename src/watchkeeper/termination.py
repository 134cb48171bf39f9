"""A process that is told to end (SIGTERM) and has no handler for that still delivers what waits.

Python runs no exit handlers then. It is how containers with an init stop a script, how uvicorn ends when it has no
lifespan to tell of it, and how multiprocessing's pools end their workers. Whoever has a handler of their own keeps it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


class Termination:
    """Our handler of SIGTERM, where it stands in for the default."""

    def __init__(self) -> None:
        self._deliver: Callable[[], None] = lambda: None
        self._longest_seconds = 0.0
        self._held = False
        self._due = 0  # the signal that came meanwhile

    def watch(self, deliver: Callable[[], None], longest_seconds: float) -> None:
        """Calls `deliver`, and waits for it at most so long, before the process dies of SIGTERM as it would have."""
        self._deliver = deliver
        self._longest_seconds = longest_seconds
        with contextlib.suppress(ValueError):  # not in the main thread, which alone may set handlers
            if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                signal.signal(signal.SIGTERM, self._handle)

    def unwatch(self) -> None:
        """Gives the default back."""
        with contextlib.suppress(ValueError):
            if signal.getsignal(signal.SIGTERM) == self._handle:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def after_fork(self) -> None:
        """In a child: whatever another thread of the parent was beginning or ending is not ours to wait for."""
        self._held = False
        self._due = 0

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Lets what this thread begins or ends be whole: a signal that comes meanwhile is obeyed afterwards.

        multiprocessing's pools tell their workers to end in both ways at once, by a message and by SIGTERM, as soon as
        there is nothing to do: that may be while a worker is still coming up.
        """
        # Signals come to the main thread alone.
        if self._held or threading.current_thread() is not threading.main_thread():
            yield
            return
        self._held = True
        try:
            yield
        finally:
            self._held = False
            if self._due:
                _die(self._due)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() == 1:  # a container's first process: without a handler the kernel spares it, and it goes on
            return
        if self._held:
            self._due = number
            return
        # In a thread: this one may be holding any lock, of ours too, just where the signal came.
        with contextlib.suppress(RuntimeError):  # the interpreter ends already
            thread = threading.Thread(target=self._deliver, name="watchkeeper-termination", daemon=True)
            thread.start()
            thread.join(self._longest_seconds)
        _die(number)


def _die(number: int) -> None:
    """Of the signal, as without us."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


termination = Termination()
