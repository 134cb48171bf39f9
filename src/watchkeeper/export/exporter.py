"""The export threads: take batches from the queues, encode, send, and keep what must be tried again.

Each destination (a host and port) has a thread of its own, so that a server that says nothing until the timeout holds
up nobody else. It serves all signals that go there and never waits for a retry: each signal is a lane with its own "not
before", so a refusing log endpoint does not hold up spans. Nothing here is ever called by a request. A lane that cannot
deliver keeps one batch aside while its queue fills, overflows and counts.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from opentelemetry.context import (
    _SUPPRESS_INSTRUMENTATION_KEY,  # what instrumentation packages look for, published under no other name
    attach,
    set_value,
)

from watchkeeper.export.boundary import DROPPED, boundary
from watchkeeper.export.queue import Queue
from watchkeeper.export.transport import Answer, Outlet, Payload
from watchkeeper.values import told

LARGEST_BODY = 4 * 1024 * 1024  # bytes before compression; servers refuse bodies somewhere above
LONGEST_RETRY = 60.0  # seconds for which one batch is tried again
FIRST_BACKOFF, LONGEST_BACKOFF = 1.0, 30.0
THREAD = "watchkeeper-export"
_REASONS = ("queue_full", "unreachable", "shutdown")  # for which items of any lane are given up


class Lane:
    """One signal on its way out: what to encode, where to send it, and what waits to be sent again."""

    def __init__(
        self,
        signal: str,
        endpoint: Outlet,
        encode: Callable[[Sequence[Any]], bytes],
        queue: Queue,
        jitter: Callable[[], float] = random.random,
        seen: Callable[[list[Any]], None] | None = None,
    ) -> None:
        self.signal = signal
        self.queue = queue
        self.payloads: deque[Payload] = deque()
        self.not_before = 0.0
        self.trouble = ""  # why the last delivery failed
        self._endpoint = endpoint
        self._encode = encode
        self._jitter = jitter
        self._seen = seen  # shown each batch once, before it is encoded
        self._tries = 0
        self._first_try = 0.0
        for reason in _REASONS:  # at zero from the start: of a series that begins with a drop, no increase is seen
            DROPPED.labels(signal, reason)

    @property
    def destination(self) -> str:
        """Where it goes."""
        return self._endpoint.destination

    @property
    def fullness(self) -> float:
        """The share of the queue that is in use."""
        return len(self.queue) / self.queue.capacity

    def prepare(self) -> bool:
        """Encodes the next batch if none waits; False if there is nothing to send."""
        if not self.payloads:
            items = self.queue.take()
            if items:
                if self._seen is not None:
                    self._seen(items)
                self.payloads.extend(self._encoded(items))
        return bool(self.payloads)

    def send(self, timeout_seconds: float, *, last_chance: bool = False) -> bool:
        """One attempt at the first waiting payload.

        True if the lane can go on at once; `last_chance` gives up rather than wait.
        """
        payload = self.payloads[0]
        now = time.monotonic()
        if not self._tries:
            self._first_try = now
        self._tries += 1
        answer = self._answer(payload.body, timeout_seconds)
        self.trouble = "" if answer.delivered else answer.detail or answer.reason
        if not self.payloads:  # given up, and counted, by a shutdown that could not wait
            return True
        for refused in answer.refused:
            boundary.dropped(self.signal, refused.reason, refused.items, refused.detail)
        if answer.again is not None:
            payload = self.payloads[0] = answer.again
        if answer.retry and not last_chance and now - self._first_try < LONGEST_RETRY:
            self.not_before = time.monotonic() + self._backoff(answer)
            return False
        self.payloads.popleft()
        self._tries = 0
        lost = answer.rejected if answer.delivered else payload.items
        if lost:
            boundary.dropped(self.signal, answer.reason, lost, answer.detail)
        return True

    def abandon(self, reason: str) -> None:
        """Gives up everything that waits, counted."""
        lost = sum(payload.items for payload in self.payloads) + len(self.queue)
        self.payloads.clear()
        if lost:
            boundary.dropped(self.signal, reason, lost)

    def close(self) -> None:
        """Closes the connection."""
        self._endpoint.close()

    def _answer(self, body: bytes, timeout_seconds: float) -> Answer:
        try:
            return self._endpoint.post(body, timeout_seconds)
        except Exception as error:  # noqa: BLE001  # nothing that another try would mend, and the lane must go on
            boundary.failed_in_background(f"export of {self.signal}", error)
            return Answer(delivered=False, reason="failed", detail=told(error))

    def _backoff(self, answer: Answer) -> float:
        if answer.retry_after_seconds is not None:
            return answer.retry_after_seconds * (1 + self._jitter() / 10)
        backoff: float = min(FIRST_BACKOFF * 2 ** (self._tries - 1), LONGEST_BACKOFF) * (0.5 + self._jitter())
        return backoff

    def _encoded(self, items: list[Any]) -> list[Payload]:
        """Payloads of a bounded size.

        An item that cannot be encoded is left out, counted, and takes no other with it.
        """
        try:
            body = self._encode(items)
        except Exception as error:  # noqa: BLE001  # values come from the application
            if len(items) == 1:
                boundary.dropped(self.signal, "unencodable")
                boundary.failed_in_background(f"encoding {self.signal}", error)
                return []
        else:
            if len(body) <= LARGEST_BODY or len(items) == 1:
                return [Payload(body, len(items))]
        half = len(items) // 2
        return self._encoded(items[:half]) + self._encoded(items[half:])


class _Worker:
    """Runs lanes in one daemon thread; calls `every_round` once a round and `collect` (metrics) when it is due."""

    def __init__(
        self,
        name: str,
        lanes: Sequence[Lane],
        delay_seconds: float,
        every_round: Callable[[], None] | None,
        collect: Callable[[], None] | None,
        collect_seconds: float,
    ) -> None:
        self.lanes = list(lanes)
        self._name = name
        self._delay = delay_seconds
        self._every_round = every_round
        self._collect = collect
        self._collect_seconds = collect_seconds
        self._collect_at = 0.0
        self._calls: SimpleQueue[None] = SimpleQueue()  # no Event: a signal's handler may come while its lock is held
        self._flush_asked = 0
        self._flush_done = 0
        self._flushed = threading.Condition()
        self._stop_at: float | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the thread."""
        self._collect_at = time.monotonic() + self._collect_seconds
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Says that a whole batch waits."""
        self._calls.put(None)

    def ask_to_flush(self) -> int:
        """Asks for everything to be sent now; gives what `flushed` is to be told."""
        with self._flushed:
            self._flush_asked += 1
            self._calls.put(None)
            return self._flush_asked

    def flushed(self, asked: int, timeout_seconds: float) -> bool:
        """Waits until that was done; True if all was settled (delivered or given up) within the timeout."""
        if self._thread is None or not self._thread.is_alive():
            return False
        with self._flushed:
            self._flushed.wait_for(lambda: self._flush_done >= asked, timeout_seconds)
        return self._flush_done >= asked and not any(lane.payloads or len(lane.queue) for lane in self.lanes)

    def ask_to_stop(self, deadline: float) -> None:
        """Asks for what can be sent until then, by the monotonic clock, and for the thread's end."""
        self._stop_at = deadline
        self._calls.put(None)

    def stopped(self, deadline: float) -> None:
        """Waits for that, and gives up the rest, counted. A thread stuck in a send is left behind."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()))
        for lane in self.lanes:
            lane.abandon("shutdown")
            if thread is None or not thread.is_alive():
                lane.close()

    def _run(self) -> None:
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))  # our own requests must not become spans
        while self._stop_at is None:
            self._wait(self._pause())
            asked = self._flush_asked
            self._round(flushing=asked > self._flush_done)
            with self._flushed:
                self._flush_done = asked
                self._flushed.notify_all()
        self._round(flushing=True)

    def _wait(self, seconds: float) -> None:
        """Until somebody calls; all calls so far are answered by one round."""
        with contextlib.suppress(Empty):
            self._calls.get(timeout=seconds)
            while True:
                self._calls.get_nowait()

    def _pause(self) -> float:
        now = time.monotonic()
        due = [self._collect_at - now] if self._collect else []
        due += [lane.not_before - now for lane in self.lanes if lane.payloads]
        return max(0.0, min([self._delay, *due]))

    def _round(self, *, flushing: bool) -> None:
        """Everything that is due."""
        try:
            if self._every_round is not None:
                self._every_round()
        except Exception as error:  # noqa: BLE001  # no part takes the others with it
            boundary.failed_in_background("round", error)
        try:
            if self._collect is not None and (flushing or time.monotonic() >= self._collect_at):
                self._collect_at = time.monotonic() + self._collect_seconds
                self._collect()
        except Exception as error:  # noqa: BLE001  # collectors are the application's too
            boundary.failed_in_background("metrics", error)
        for lane in self.lanes:
            try:
                self._drain(lane, flushing=flushing)
            except Exception as error:  # noqa: BLE001  # the thread outlives any one batch
                boundary.failed_in_background(f"export of {lane.signal}", error)

    def _drain(self, lane: Lane, *, flushing: bool) -> None:
        rounds = 1 + len(lane.queue) // lane.queue.batch  # what is there now: arrivals wait for the next round
        while rounds and (flushing or time.monotonic() >= lane.not_before) and lane.prepare():
            remaining = float("inf") if self._stop_at is None else self._stop_at - time.monotonic()
            # Four fifths: who stops us waits that long for this thread, and it has to count what it could not send.
            if remaining <= 0 or not lane.send(remaining * 0.8, last_chance=self._stop_at is not None):
                return
            if not lane.payloads:
                rounds -= 1


class Exporter:
    """Runs the lanes, those of each destination in a thread.

    The first lane's thread also calls `every_round`, once a round, and `collect`, every `collect_seconds`, which may
    fill lanes of that thread.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        delay_seconds: float,
        *,
        every_round: Callable[[], None],
        collect: Callable[[], None] | None = None,
        collect_seconds: float = 15.0,
    ) -> None:
        together: dict[str, list[Lane]] = {}
        for lane in lanes:
            together.setdefault(lane.destination, []).append(lane)
        self._workers = [
            _Worker(f"{THREAD}-{found[0].signal}", found, delay_seconds, None, None, collect_seconds)
            if at
            else _Worker(THREAD, found, delay_seconds, every_round, collect, collect_seconds)
            for at, found in enumerate(together.values())
        ]

    def start(self) -> None:
        """Starts the threads."""
        for worker in self._workers:
            worker.start()

    def wake(self) -> None:
        """Says that a whole batch waits."""
        for worker in self._workers:
            worker.wake()

    def flush(self, timeout_seconds: float) -> bool:
        """Sends everything now; True if all of it was settled (delivered or given up) within the timeout."""
        deadline = time.monotonic() + timeout_seconds
        asked = [(worker, worker.ask_to_flush()) for worker in self._workers]
        settled = [worker.flushed(number, max(0.0, deadline - time.monotonic())) for worker, number in asked]
        return all(settled)  # whoever is late, the others were waited for

    def stop(self, timeout_seconds: float) -> None:
        """Sends what it can within the timeout, then gives up the rest, counted."""
        deadline = time.monotonic() + timeout_seconds
        for worker in self._workers:
            worker.ask_to_stop(deadline)
        for worker in self._workers:
            worker.stopped(deadline)
