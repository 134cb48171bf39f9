"""Measuring a block, or as a decorator every call of a function: `with durations.time(): …`, `@durations.time()`.

A coroutine function is measured until it has returned, not until it has been called.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from time import perf_counter
from types import TracebackType
from typing import Any, Self, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


class Block:
    """What is done around a block. An object may be entered again, also before it was left."""

    def again(self) -> Block:
        """One for another call, which may run at the same time."""
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is held back."""

    def __call__(self, function: Function) -> Function:
        """The function, with every call in such a block."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def measured(*args: Any, **kwargs: Any) -> Any:
                with self.again():
                    return await function(*args, **kwargs)
        else:

            @functools.wraps(function)
            def measured(*args: Any, **kwargs: Any) -> Any:
                with self.again():
                    return function(*args, **kwargs)

        return measured  # type: ignore[return-value]


class Timing(Block):
    """Tells a metric how many seconds it took."""

    def __init__(self, metric: Any, tell: Callable[[Any, float], None]) -> None:
        self._metric = metric
        self._tell = tell
        self._began: list[float] = []

    def labels(self, *values: object, **named: object) -> None:
        """Says which series it is for, where that is known no sooner than in the block."""
        self._metric = self._metric.labels(*values, **named)

    def again(self) -> Timing:
        """One of the same metric."""
        return Timing(self._metric, self._tell)

    def __enter__(self) -> Self:
        self._began.append(perf_counter())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._tell(self._metric, perf_counter() - self._began.pop())


class InProgress(Block):
    """Counts those that are in the block now."""

    def __init__(self, gauge: Any) -> None:
        self._gauge = gauge

    def __enter__(self) -> Self:
        self._gauge.inc()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._gauge.dec()


class Exceptions(Block):
    """Counts exceptions of some types that leave the block."""

    def __init__(self, counter: Any, types: type[BaseException] | tuple[type[BaseException], ...]) -> None:
        self._counter = counter
        self._types = types

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, self._types):
            self._counter.inc()
