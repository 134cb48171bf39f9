"""Which handlers of the standard library's logging print, whatever else is between them and the console."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Any

# As containers name their output for who can only write to files.
_DEVICES = frozenset({"/dev/stdout", "/dev/stderr", "/proc/1/fd/1", "/proc/1/fd/2"})
_OUTPUTS = (1, 2)


def prints(handler: Any) -> bool:
    """Whether all that a handler does is to print: by itself, or by handlers that it hands its records to."""
    with contextlib.suppress(Exception):  # other people's classes
        if isinstance(handler, logging.FileHandler):
            return handler.baseFilename in _DEVICES
        behind = behind_queue(handler)
        if behind:
            return all(map(prints, behind))
        target = getattr(handler, "target", None)  # of a MemoryHandler
        if isinstance(target, logging.Handler):
            return prints(target)
        stream = getattr(handler, "stream", None)
        if stream is None:
            stream = getattr(getattr(handler, "console", None), "file", None)  # rich's
        return is_console(stream)
    return False


def behind_queue(handler: Any) -> tuple[Any, ...]:
    """The handlers that another thread calls for this one, where it says so: since Python 3.12, and in Litestar."""
    found = getattr(getattr(handler, "listener", None), "handlers", ())
    return tuple(found) if isinstance(found, tuple | list) else ()


def is_console(stream: Any) -> bool:
    """Whether what is written to a stream is standard output or error."""
    if stream is None:
        return False
    for ours in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        if ours is not None and (stream is ours or stream is getattr(ours, "buffer", ours)):
            return True
    with contextlib.suppress(Exception):  # no file at all, a closed one, other people's classes
        return stream.fileno() in _OUTPUTS
    return False
