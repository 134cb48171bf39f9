"""Exceptions taken apart: the chain and the members of groups, and the frames each of them went through.

Nothing here runs the application's code except an exception's own `__str__`, and nothing raises: exceptions may have
broken methods, cycles in their chain, and tracebacks as deep as the recursion that killed them.
"""

from __future__ import annotations

import linecache
import sysconfig
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import FrameType, TracebackType
from typing import Any

from watchkeeper.errors.event import Frame, Problem
from watchkeeper.values import text_of, truncated

MOST_PROBLEMS = 50
OUTER_FRAMES, INNER_FRAMES = 30, 70  # kept of a long traceback
Variables = Callable[[Mapping[str, Any]], dict[str, str]]

_MOST_REMEMBERED = 4_096
_INSTALLED = ("site-packages", "dist-packages")
_LIBRARY = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})


class InApp:
    """Whether code is the application's own: by modules where they are named, else by where it lies."""

    def __init__(self, modules: tuple[str, ...] = ()) -> None:
        self._modules = modules
        self._known: dict[tuple[str, str], bool] = {}

    def __call__(self, module: str, path: str) -> bool:
        """Of a module and its file."""
        known = self._known.get((module, path))
        if known is None:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            known = self._known[module, path] = self._judge(module, path)
        return known

    def _judge(self, module: str, path: str) -> bool:
        if self._modules:
            return any(within(module, name) for name in self._modules)
        return not (
            within(module, "watchkeeper")
            or path.startswith(_LIBRARY)
            or path.startswith("<frozen ")
            or any(part in path for part in _INSTALLED)
        )


def within(module: str, package: str) -> bool:
    """Whether a module is that package or below it."""
    return module == package or module.startswith(f"{package}.")


def problems_of(error: BaseException, in_app: InApp, variables: Variables | None = None) -> tuple[Problem, ...]:
    """The exception and what led to it, each once: depth first, causes before members."""
    found: list[Problem] = []
    seen: set[int] = set()
    waiting: deque[tuple[BaseException, int, str]] = deque([(error, -1, "")])
    while waiting and len(found) < MOST_PROBLEMS:
        each, parent, source = waiting.popleft()
        if id(each) in seen:
            continue
        seen.add(id(each))
        waiting.extendleft(reversed([(other, len(found), how) for other, how in _led_to_by(each)]))
        frames, left_out = _frames_of(each.__traceback__, in_app, variables)
        kind = type(each)
        found.append(
            Problem(
                text_of(kind.__qualname__),
                text_of(kind.__module__),
                message_of(each),
                frames,
                left_out,
                parent,
                source,
                isinstance(each, BaseExceptionGroup),
            )
        )
    return tuple(found)


def message_of(error: BaseException) -> str:
    """What an exception says, of a KeyError with its quotes taken off."""
    if isinstance(error, KeyError) and len(error.args) == 1 and type(error.args[0]) is str:
        return truncated(error.args[0])
    return text_of(error)


def _led_to_by(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    if error.__cause__ is not None:
        yield error.__cause__, "__cause__"
    elif error.__context__ is not None and not error.__suppress_context__:
        yield error.__context__, "__context__"
    if isinstance(error, BaseExceptionGroup):
        for at, member in enumerate(error.exceptions[:MOST_PROBLEMS]):
            yield member, f"exceptions[{at}]"


def _frames_of(
    traceback: TracebackType | None, in_app: InApp, variables: Variables | None
) -> tuple[tuple[Frame, ...], int]:
    outer: list[tuple[FrameType, int]] = []
    inner: deque[tuple[FrameType, int]] = deque(maxlen=INNER_FRAMES)
    left_out = 0
    while traceback is not None:
        line: int | None = traceback.tb_lineno  # None where the bytecode has no line
        if len(outer) < OUTER_FRAMES:
            outer.append((traceback.tb_frame, line or 0))
        else:
            left_out += len(inner) == INNER_FRAMES
            inner.append((traceback.tb_frame, line or 0))
        traceback = traceback.tb_next
    return tuple(_frame(*each, in_app, variables) for each in (*outer, *inner)), left_out


def _frame(frame: FrameType, line: int, in_app: InApp, variables: Variables | None) -> Frame:
    code = frame.f_code
    module = frame.f_globals.get("__name__")
    if type(module) is not str:
        module = ""
    # Source lines are read when the event is sent; of a module in an archive only its globals tell how.
    linecache.lazycache(code.co_filename, frame.f_globals)
    return Frame(
        module,
        code.co_qualname,
        code.co_filename,
        line,
        in_app(module, code.co_filename),
        variables(frame.f_locals) if variables is not None else {},
    )
