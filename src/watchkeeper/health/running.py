"""Running one check once, in a thread of its own.

Whatever the function does becomes a result: what it returns, what it raises, that it took too long. A coroutine runs on
the application's event loop, because the pools it uses belong to that loop: one that ran elsewhere would leave them
connections that the application cannot use. Where there is no such loop, the check keeps one for itself.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
from collections.abc import Awaitable, Callable

from opentelemetry.context import (
    _SUPPRESS_INSTRUMENTATION_KEY,  # what instrumentation packages look for, published under no other name
    attach,
    detach,
    set_value,
)

from watchkeeper.export.boundary import boundary
from watchkeeper.health.registry import Check
from watchkeeper.health.results import HealthResult, result_of
from watchkeeper.tracing.span import type_name
from watchkeeper.values import text_of

Loop = asyncio.AbstractEventLoop
_GRACE_SECONDS = 0.5  # for a loop to say by itself that the time was up
_LONGEST_MESSAGE = 500


class _Withdrawn(Exception):  # noqa: N818  # no error: there is nothing to report
    """There is no event loop for the check, or none that runs it."""


def run(check: Check, application: Loop | None, own: Callable[[], Loop] | None) -> HealthResult | None:
    """What the check finds; None if it is async and no event loop runs it. Never raises.

    `own` gives the check's own loop; None means that the application has one, which is not known yet.
    """
    token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))  # a probe each ten seconds is no trace
    try:
        found = check.function()
        if inspect.isawaitable(found):
            return _awaited(found, check, application, own)
        return result_of(found)
    except _Withdrawn:
        return None
    except BaseException as error:  # noqa: BLE001  # an application's function may raise anything, even SystemExit
        return failed(error)
    finally:
        detach(token)


def failed(error: BaseException) -> HealthResult:
    """The result of a check that raised: what kind of error, and its own words on one line."""
    words = " ".join(text_of(error).split())
    return HealthResult("unhealthy", f"{type_name(error)}: {words}"[:_LONGEST_MESSAGE] if words else type_name(error))


def timed_out(seconds: float) -> HealthResult:
    """The result of a check that has not returned."""
    return HealthResult("unhealthy", f"timed out after {seconds:g} s")


def _awaited(
    awaitable: Awaitable[object], check: Check, application: Loop | None, own: Callable[[], Loop] | None
) -> HealthResult:
    if application is None or not application.is_running():
        if own is None:
            boundary.say_once(
                f"health check {check.name}",
                f"health check {check.name} is async and waits for the application's event loop:"
                " call watchkeeper.configure() within it",
            )
            _close(awaitable)
            raise _Withdrawn
        return own().run_until_complete(_guarded(awaitable, check.timeout_seconds))
    guarded = _guarded(awaitable, check.timeout_seconds)
    try:
        future = asyncio.run_coroutine_threadsafe(guarded, application)
    except RuntimeError:  # closed just now
        guarded.close()
        _close(awaitable)
        raise _Withdrawn from None
    try:
        return future.result(check.timeout_seconds + _GRACE_SECONDS)
    except concurrent.futures.CancelledError:
        raise _Withdrawn from None
    except TimeoutError:  # the loop is blocked, or the coroutine will not be cancelled: overdue it is already
        future.cancel()
        raise _Withdrawn from None


def _close(awaitable: object) -> None:
    """Lets a coroutine go that will never be awaited."""
    if inspect.iscoroutine(awaitable):
        awaitable.close()


async def _guarded(awaitable: Awaitable[object], seconds: float) -> HealthResult:
    """Lets nothing out but a cancellation: SystemExit would end the application's loop."""
    deadline = asyncio.timeout(seconds)
    try:
        async with deadline:
            return result_of(await awaitable)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return failed(error)
    except TimeoutError as error:
        return timed_out(seconds) if deadline.expired() else failed(error)
    except BaseException as error:  # noqa: BLE001  # likewise
        return failed(error)
