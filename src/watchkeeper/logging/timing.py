"""Durations in the log: of a block or a function (`timed`), and between named moments (`mark`, `measure`).

What takes longer than `slow_seconds` (by default `LogOptions.slow_seconds`) is said as a warning, whatever its level.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self, TypeVar

from watchkeeper.context import Request, current_request
from watchkeeper.export.boundary import boundary
from watchkeeper.logging.levels import INFO, WARNING, level_of
from watchkeeper.logging.pipeline import pipeline
from watchkeeper.tracing.current import in_span
from watchkeeper.tracing.span import type_name
from watchkeeper.values import text_of

Function = TypeVar("Function", bound=Callable[..., Any])

LOGGER = "timing"
MOST_MARKS = 128  # of one request or context; the oldest give way

# Marks belong to the request they are made in: a thread that serves the next one must not find them.
_marks: ContextVar[tuple[Request | None, dict[str, int]] | None] = ContextVar("watchkeeper-marks", default=None)


class Timed:
    """A duration being taken. `seconds` is what it came to, 0 until then."""

    __slots__ = ("_fields", "_level", "_operation", "_slow_seconds", "_started", "seconds")

    def __init__(self, operation: str, level: int, slow_seconds: float | None, fields: dict[str, Any]) -> None:
        self._operation = operation
        self._level = level
        self._slow_seconds = slow_seconds
        self._fields = fields
        self.seconds = 0.0

    def __enter__(self) -> Self:
        """Starts."""
        self.begin()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Says how long it took."""
        self.finish(exc_val)

    def __call__(self, function: Function) -> Function:
        """Decorates `function`: each call is timed."""
        return in_span(function, lambda: Timed(self._operation, self._level, self._slow_seconds, self._fields))

    def begin(self) -> None:
        """Starts."""
        self._started = pipeline.clock.monotonic_ns()

    def finish(self, error: BaseException | None) -> None:
        """Says how long it took, and by which exception it ended if it did."""
        self.seconds = (pipeline.clock.monotonic_ns() - self._started) / 1e9
        fields = {**self._fields, "failed_by": type_name(error)} if isinstance(error, Exception) else self._fields
        _say(self._operation, self.seconds, self._level, self._slow_seconds, fields)

    @staticmethod
    def run_step(step: Callable[[], Any]) -> Any:
        """One step of a generator."""
        return step()

    @staticmethod
    async def run_step_async(step: Callable[[], Awaitable[Any]]) -> Any:
        """One step of an async generator."""
        return await step()


def timed(operation: str, /, *, level: int | str = INFO, slow_seconds: float | None = None, **fields: Any) -> Timed:
    """Logs how long a block takes, or each call of a function: plain, async, generator or async generator.

    The line is the operation's name with `duration_seconds`, `failed_by` if an exception ended it, and `fields`. It is
    a warning with `slow=True` where it took longer than `slow_seconds`.

    Example:
        >>> import watchkeeper as wk
        >>> with wk.timed("load catalogue", shop="north") as timer:
        ...     pass
        >>> @wk.timed("settle", slow_seconds=0.5)
        ... async def settle() -> None: ...
    """
    return Timed(operation, level_of(level, INFO), slow_seconds, fields)


def mark(name: str) -> None:
    """Names this moment, for `measure`: in the request being served, elsewhere in the current context.

    Example:
        >>> import watchkeeper as wk
        >>> wk.mark("payment begins")
    """
    marks = dict(_current_marks())  # a copy: a task that was started before keeps its own
    name = _mark_name(name)
    marks.pop(name, None)
    if len(marks) >= MOST_MARKS:
        del marks[next(iter(marks))]
    marks[name] = pipeline.clock.monotonic_ns()
    _marks.set((current_request(), marks))


def measure(
    operation: str,
    start: str,
    end: str | None = None,
    *,
    level: int | str = INFO,
    slow_seconds: float | None = None,
    **fields: Any,
) -> float | None:
    """Logs the time from one mark to another, or to now, as `timed` does; gives it back in seconds.

    None, and a warning once, where a mark was never made.

    Example:
        >>> import watchkeeper as wk
        >>> wk.mark("payment begins")
        >>> seconds = wk.measure("payment", "payment begins", order_id=7)
    """
    marks = _current_marks()
    start, end = _mark_name(start), None if end is None else _mark_name(end)
    missing = [name for name in (start, end) if name is not None and name not in marks]
    if missing:
        boundary.say_once(
            "measure",
            f"measure({text_of(operation)!r}) finds no mark named {missing[0]!r} here: call mark({missing[0]!r}) first",
        )
        return None
    ended = pipeline.clock.monotonic_ns() if end is None else marks[end]
    seconds = (ended - marks[start]) / 1e9
    _say(operation, seconds, level_of(level, INFO), slow_seconds, fields)
    return seconds


def _mark_name(name: Any) -> str:
    return name if type(name) is str else text_of(name)


def _current_marks() -> dict[str, int]:
    kept = _marks.get()
    return {} if kept is None or kept[0] is not current_request() else kept[1]


def _say(operation: str, seconds: float, level: int, slow_seconds: float | None, fields: dict[str, Any]) -> None:
    fields = {**fields, "duration_seconds": round(seconds, 9)}
    if seconds > (slow_seconds if isinstance(slow_seconds, int | float) else pipeline.slow_seconds):
        level = max(level, WARNING)
        fields["slow"] = True
    if pipeline.level <= level:
        pipeline.emit(level, LOGGER, operation, fields)
