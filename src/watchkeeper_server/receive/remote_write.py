"""Remote write, whatever carries it: check a request, make its samples durable, say what became of them.

Scraping, pushed text and rules write through the same receiver, as remote write 1.0 requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from watchkeeper_server.model.errors import BacklogFullError
from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.receive.known_series import KnownSeries
from watchkeeper_server.receive.options import ReceiveOptions
from watchkeeper_server.receive.otlp import ReceiveEvents
from watchkeeper_server.receive.refusal import Reason, RefusedError
from watchkeeper_server.receive.remote_write_v1 import decode_v1
from watchkeeper_server.receive.sample_batch import CheckedSamples, SampleCheck, Sent, TimeBounds

Decode = Callable[[bytes, KnownSeries], Sent]
SIGNAL = "metrics"
# Larger requests are checked in a thread, so that the event loop goes on. This takes 3 ms where series are known, 60 ms
# where none is.
_QUICK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Written:
    """What of a request is durable; `message` says what is not, and why."""

    samples: int = 0
    histograms: int = 0
    exemplars: int = 0
    message: str = ""


class RemoteWriteReceiver:
    """Takes decompressed requests of either version."""

    def __init__(
        self,
        append: Callable[[Kind, bytes], Awaitable[None]],
        options: ReceiveOptions,
        now_ns: Callable[[], int],
        retention_days: Callable[[str], int | None],
        events: ReceiveEvents,
    ) -> None:
        """`append` makes a payload durable; `retention_days` tells how long a signal is kept, None for ever."""
        self.options = options
        self.events = events
        self._append = append
        self._now_ns = now_ns
        self._retention_days = retention_days
        self._check = SampleCheck(options.attributes)

    async def receive(self, body: bytes, decode: Decode = decode_v1) -> Written:
        """Store what can be stored of a request, durably.

        Raises:
            RefusedError: nothing of it was stored; the message says why.
        """
        try:
            if len(body) <= _QUICK_BYTES:
                checked = self._checked(body, decode)
            else:
                checked = await asyncio.to_thread(self._checked, body, decode)
            if checked.payload:
                await self._append(Kind.SAMPLES, checked.payload)
        except BacklogFullError as error:
            self.events.rejected(SIGNAL, Reason.BUSY.label, 1)
            raise RefusedError(Reason.BUSY, str(error), error.retry_seconds) from error
        except RefusedError as error:
            self.events.rejected(SIGNAL, error.reason.label, 1)
            raise
        checked.remember()
        self.events.received(SIGNAL, checked.samples + checked.histograms + checked.exemplars, len(body))
        if checked.rejected:
            self.events.rejected(SIGNAL, "invalid", checked.rejected)
        return Written(checked.samples, checked.histograms, checked.exemplars, checked.message)

    def forget_series(self) -> None:
        """To be called when series have been deleted from the store: it needs their labels again."""
        self._check.forget()

    def _checked(self, body: bytes, decode: Decode) -> CheckedSamples:
        now_ms = self._now_ns() // 1_000_000
        days = self._retention_days(SIGNAL)
        oldest = 0 if days is None else now_ms - days * 86_400_000
        return self._check.check(partial(decode, body), TimeBounds(oldest, now_ms + self.options.future_seconds * 1000))
