"""What all receivers share: room for the bodies that are on their way in, and threads that take large ones apart.

The bytes of all bodies together, as they are read and once more when they are decompressed, have a bound. Nobody waits
for room, which many slow senders could make last for ever: who finds none is told to come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from watchkeeper_server.receive.options import ReceiveOptions
from watchkeeper_server.receive.refusal import Reason, RefusedError

T = TypeVar("T")

# What is larger is worked on in a thread, so that the event loop goes on. A body of nothing but the smallest items
# there are, all of them bad, takes some 50 ms at this size; a thread costs 0.07 ms.
QUICK_BYTES = 16 * 1024
# A payload decoded may be ten times its size, and Python runs one thread at a time anyway.
_THREADS = 2
_RETRY_SECONDS = 1


class Intake:
    """One for all receivers of a server; but for what `run` runs, it lives on the event loop."""

    def __init__(self, options: ReceiveOptions) -> None:
        """Nothing is on its way."""
        self.options = options
        self.held_bytes = 0
        self._threads = ThreadPoolExecutor(_THREADS, "receive")

    async def run(self, size_bytes: int, work: Callable[..., T], *arguments: object, quick: int = QUICK_BYTES) -> T:
        """Do what takes as long as so many bytes do: here, or in a thread if they are more than `quick`."""
        if size_bytes <= quick:
            return work(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def take(self, size_bytes: int) -> None:
        """Have room for so many bytes more, to be given back.

        Raises:
            RefusedError: there is none; nothing was taken.
        """
        if self.held_bytes + size_bytes > self.options.in_flight_bytes:
            raise RefusedError(
                Reason.CROWDED,
                f"{self.held_bytes:,} bytes of other requests are being received, the most allowed; "
                "send this again later, in smaller batches or fewer at once",
                _RETRY_SECONDS,
            )
        self.held_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """What was taken is no longer needed."""
        self.held_bytes -= size_bytes
