"""Making a span current: for a `with` block, or around a function of any kind."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from opentelemetry.trace import Span, StatusCode

from watchkeeper.context import SPAN_KEY, Context, attach, detach, get_current
from watchkeeper.values import text_of

if TYPE_CHECKING:
    from types import TracebackType

Function = TypeVar("Function", bound=Callable[..., Any])


class Around(Protocol):
    """What happens around a call: a `with` block, or for a generator its beginning, its steps and its end."""

    def __enter__(self) -> Any: ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None: ...

    def begin(self) -> None:
        """Before the first step."""

    def finish(self, error: BaseException | None) -> None:
        """After the last one."""

    def run_step(self, step: Callable[[], Any]) -> Any:
        """One step."""

    async def run_step_async(self, step: Callable[[], Awaitable[Any]]) -> Any:
        """One step of an async generator."""


class CurrentSpan:
    """A span for the length of a `with` block; as a decorator, a new one for each call."""

    __slots__ = ("_end", "_record", "_set_status", "_start", "_token", "span")

    def __init__(
        self, start: Callable[[], Span], record: bool = True, set_status: bool = True, end: bool = True
    ) -> None:
        self._start = start
        self._record = record
        self._set_status = set_status
        self._end = end

    def __enter__(self) -> Span:
        """Starts the span and makes it current."""
        self.span = self._start()
        self.resume()
        return self.span

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Gives the former span back and ends this one."""
        detach(self._token)
        self.finish(exc_val)

    async def __aenter__(self) -> Span:
        """As `with`: nothing is waited for."""
        return self.__enter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """As `with`."""
        self.__exit__(exc_type, exc_val, exc_tb)

    def __call__(self, function: Function) -> Function:
        """Decorates `function`."""
        return in_span(function, lambda: CurrentSpan(self._start, self._record, self._set_status, self._end))

    def resume(self) -> None:
        """Makes the span current."""
        self._token = attach(Context({**get_current(), SPAN_KEY: self.span}))

    def finish(self, error: BaseException | None) -> None:
        """Ends the span, failed by an Exception (a cancellation, an exit or a closed generator is no failure)."""
        if isinstance(error, Exception):
            if self._record:
                self.span.record_exception(error)
            if self._set_status:
                self.span.set_status(StatusCode.ERROR, f"{type(error).__name__}: {text_of(error)}")
        if self._end:
            self.span.end()

    def run_step(self, step: Callable[[], Any]) -> Any:
        """One step of a generator's body, with the span current in it and not in the consumer."""
        self.resume()
        try:
            return step()
        finally:
            detach(self._token)

    async def run_step_async(self, step: Callable[[], Awaitable[Any]]) -> Any:
        """One step of an async generator's body, likewise."""
        self.resume()
        try:
            return await step()
        finally:
            detach(self._token)

    def begin(self) -> None:
        """Starts the span without making it current."""
        self.span = self._start()


def in_span(function: Function, make: Callable[[], Around]) -> Function:
    """`function` with a span (or the like) around each call. What kind of function it is does not change."""
    wrapped: Callable[..., Any]
    if inspect.isasyncgenfunction(function):
        wrapped = _around_async_generator(function, make)
    elif inspect.isgeneratorfunction(function):
        wrapped = _around_generator(function, make)
    elif inspect.iscoroutinefunction(function):

        async def wrapped(*args: Any, **kwargs: Any) -> Any:
            with make():
                return await function(*args, **kwargs)

    else:

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with make():
                return function(*args, **kwargs)

    return functools.update_wrapper(wrapped, function)  # type: ignore[return-value]


def _around_generator(function: Callable[..., Any], make: Callable[[], Around]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        current = make()
        current.begin()
        steps = function(*args, **kwargs)
        step = functools.partial(steps.send, None)
        failure: BaseException | None = None
        try:
            while True:
                item = current.run_step(step)
                try:
                    step = functools.partial(steps.send, (yield item))
                except GeneratorExit:
                    current.run_step(steps.close)
                    raise
                except BaseException as thrown:  # noqa: BLE001  # what the consumer throws is the body's to handle
                    step = functools.partial(steps.throw, thrown)
        except StopIteration as stop:
            return stop.value
        except BaseException as error:
            failure = error
            raise
        finally:
            current.finish(failure)

    return wrapped


def _around_async_generator(function: Callable[..., Any], make: Callable[[], Around]) -> Callable[..., Any]:
    async def wrapped(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        current = make()
        current.begin()
        steps = function(*args, **kwargs)
        step = functools.partial(steps.asend, None)
        failure: BaseException | None = None
        try:
            while True:
                item = await current.run_step_async(step)
                try:
                    step = functools.partial(steps.asend, (yield item))
                except GeneratorExit:
                    await current.run_step_async(steps.aclose)
                    raise
                except BaseException as thrown:  # noqa: BLE001  # what the consumer throws is the body's to handle
                    step = functools.partial(steps.athrow, thrown)
        except StopAsyncIteration:
            return
        except BaseException as error:
            failure = error
            raise
        finally:
            current.finish(failure)

    return wrapped
