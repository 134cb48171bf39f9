"""One way to ask whatever an application has: calls that answer at once and calls that answer with an awaitable.

What is written here as a coroutine runs in a thread where everything answers at once (`without_a_loop`), and on the
application's event loop where something does not.
"""

from __future__ import annotations

import inspect
from collections.abc import Coroutine
from typing import Any, TypeVar

Answer = TypeVar("Answer")


async def settled(value: Any) -> Any:
    """The value itself, or what it comes to."""
    return await value if inspect.isawaitable(value) else value


def without_a_loop(coroutine: Coroutine[Any, Any, Answer]) -> Answer:
    """The answer of a coroutine that never has to wait for a loop."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        answer: Answer = end.value
        return answer
    coroutine.close()
    raise TypeError("it answered with an awaitable only later: give a function that does so at once")
