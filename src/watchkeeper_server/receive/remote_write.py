"""Remote write, whatever carries it: check a request, make its samples durable, say what became of them.

Scraping, pushed text and rules write through the same receiver, as remote write 1.0 requests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from watchkeeper_server.model.errors import BacklogFullError
from watchkeeper_server.model.kinds import Kind
from watchkeeper_server.receive.intake import Intake
from watchkeeper_server.receive.known_series import KnownSeries
from watchkeeper_server.receive.otlp import ReceiveEvents
from watchkeeper_server.receive.refusal import Reason, RefusedError
from watchkeeper_server.receive.remote_write_v1 import decode_v1
from watchkeeper_server.receive.sample_batch import CheckedSamples, SampleCheck, Sent, TimeBounds

Decode = Callable[[bytes, KnownSeries], Sent]
SIGNAL = "metrics"


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
        intake: Intake,
        now_ns: Callable[[], int],
        retention_days: Callable[[str], int | None],
        events: ReceiveEvents,
    ) -> None:
        """`append` makes a payload durable; `retention_days` tells how long a signal is kept, None for ever."""
        self.intake = intake
        self.events = events
        self._append = append
        self._now_ns = now_ns
        self._retention_days = retention_days
        self._check = SampleCheck(intake.options.attributes)

    async def receive(self, body: bytes, decode: Decode = decode_v1, *, size_bytes: int | None = None) -> Written:
        """Store what can be stored of a request, durably.

        What takes as long as `size_bytes` do is done in a thread if they are many; None says that it is the body alone.

        Raises:
            RefusedError: nothing of it was stored; the message says why.
        """
        try:
            size = len(body) if size_bytes is None else size_bytes
            checked = await self.intake.run(size, self._checked, body, decode)
            items = checked.samples + checked.histograms + checked.exemplars
            if checked.payload:
                await self._durable(checked.payload, items + checked.rejected)
        except RefusedError as error:
            self.events.refused(SIGNAL, error.reason.label, error.items)
            raise
        checked.remember()
        self.events.received(SIGNAL, items, len(body))
        if checked.new_series:
            self.events.new_series(checked.new_series)
        if checked.rejected:
            self.events.rejected(SIGNAL, "invalid", checked.rejected)
        return Written(checked.samples, checked.histograms, checked.exemplars, checked.message)

    def forget_series(self) -> None:
        """To be called when series have been deleted from the store: it needs their labels again."""
        self._check.forget()

    async def _durable(self, payload: bytes, items: int) -> None:
        try:
            await self._append(Kind.SAMPLES, payload)
        except BacklogFullError as error:
            raise RefusedError(Reason.BUSY, str(error), error.retry_seconds, items) from error

    def _checked(self, body: bytes, decode: Decode) -> CheckedSamples:
        now_ms = self._now_ns() // 1_000_000
        days = self._retention_days(SIGNAL)
        oldest = 0 if days is None else now_ms - days * 86_400_000
        newest = now_ms + self.intake.options.future_seconds * 1000
        return self._check.check(partial(decode, body), TimeBounds(oldest, newest))
