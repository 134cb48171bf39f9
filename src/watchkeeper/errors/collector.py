"""Where every caught error ends, whoever caught it: told apart, counted, and handed on if it is to leave.

The same exception, caught in several places on its way, is one event: it carries a mark. Whatever goes wrong in here
goes wrong alone: nothing is raised, and an error that comes up inside (a broken `__str__` that logs, a finalizer that
runs just now) waits until there is room for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from watchkeeper.clock import Clock
from watchkeeper.context import Request
from watchkeeper.errors.building import Builder, Scene, Source, scene_of
from watchkeeper.errors.event import ErrorEvent
from watchkeeper.errors.options import BeforeSend, ErrorOptions
from watchkeeper.errors.repeats import Repeats
from watchkeeper.errors.stats import tally
from watchkeeper.export.boundary import DROPPED, boundary

MARK = "__watchkeeper_error__"
MOST_WAITING = 100  # errors that came up while another was being taken in
_MARK_HOLDS_NS = 300_000_000_000  # libraries raise one exception object again and again: after this it is a new error
# How programs, threads and tasks end when they are asked to.
_NO_ERRORS = (SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError)

Deliver = Callable[[ErrorEvent, BaseException | None], None]


class Mark(NamedTuple):
    """What an exception carries once it was taken in. `event_id` is empty if it is ignored."""

    event_id: str
    category: str
    fingerprint: str
    request_id: str
    taken_ns: int


class Office:
    """What one client takes errors in with."""

    def __init__(
        self,
        options: ErrorOptions,
        builder: Builder,
        clock: Clock,
        deliver: Deliver,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.clock = clock
        self.builder = builder
        self._deliver = deliver
        self._sample_rate = options.sample_rate
        self._before_send: BeforeSend | None = options.before_send
        self._chance = chance
        self._repeats = Repeats(options.repeat_window_seconds, options.most_per_minute)
        self._lock = threading.Lock()  # of the repeats; nothing that is not ours runs while it is held

    def take(self, error: BaseException | None, source: Source, scene: Scene) -> str:
        """Takes one in: the id of the event that tells of it."""
        event = self.builder.draft(error, source, scene)
        if event is None:
            self.mark(error, scene, None)
            return ""
        event_id, leaves = self.judge(event)
        self.mark(error, scene, event, event_id)
        if leaves:
            self.send(self.builder.complete(event, error, source, scene), error)
        return event_id

    def judge(self, event: ErrorEvent) -> tuple[str, bool]:
        """Counts it: (the id by which it is known, whether it is to leave)."""
        tally.count(event)
        now = self.clock.monotonic_ns()
        self.send_ended()
        with self._lock:
            known = self._repeats.again(event.fingerprint, now, event.time_ns)
            if known:
                return known, False
            reason = ""
            if self._chance() >= self._sample_rate:
                reason = "sampled"
            elif not self._repeats.may_leave(now):
                reason = "rate_limited"
            else:
                self._repeats.open(event, now)
        if reason == "rate_limited":
            boundary.dropped("errors", reason)
        elif reason:
            DROPPED.labels("errors", reason).inc()  # as it was asked for: nothing to warn of
        return event.event_id, not reason

    def send_ended(self, *, every: bool = False) -> None:
        """Tells of what was repeated in windows that have ended."""
        with self._lock:
            events, lost = self._repeats.ended(self.clock.monotonic_ns(), every=every)
        if lost:
            boundary.dropped("errors", "rate_limited", lost)
        for event in events:
            self.send(replace(event, event_id=self.builder.new_id()), None)

    def send(self, event: ErrorEvent, error: BaseException | None) -> None:
        """Hands an event on, unless the application keeps it back."""
        if self._before_send is not None:
            try:
                changed = self._before_send(event)
            except Exception as failure:  # noqa: BLE001  # the application's; what it was to take out must not leave
                boundary.dropped("errors", "before_send_failed")
                boundary.say_once("before_send", f"before_send failed, and the error was not sent: {failure!r}")
                return
            if changed is None:
                DROPPED.labels("errors", "before_send").inc()
                return
            event = changed
        self._deliver(event, error)

    def mark(self, error: BaseException | None, scene: Scene, event: ErrorEvent | None, event_id: str = "") -> None:
        """Leaves the mark on an exception that was taken in, or is ignored."""
        if error is None:
            return
        request_id = scene.request.request_id if scene.request is not None else ""
        category, fingerprint = (event.category, event.fingerprint) if event is not None else ("", "")
        mark = (event_id, category, fingerprint, request_id, self.clock.monotonic_ns())
        with contextlib.suppress(Exception):
            BaseException.__setattr__(error, MARK, mark)  # its own class may forbid attributes


class Collector:
    """Takes errors in while a client runs; before and after, it does nothing."""

    def __init__(self) -> None:
        self._office: Office | None = None
        self.restart()

    def restart(self) -> None:
        """Forgets what waits: a forked child's errors are its own."""
        self._inside = threading.local()
        self._waiting: deque[ErrorEvent] = deque()
        self._lost = 0  # for want of room there

    def wire(self, office: Office | None) -> None:
        """Works for another client, or for none."""
        self._office = office

    def take(self, error: BaseException | None, source: Source, request: Request | None = None) -> str:
        """The id of the event that tells of this error, empty if there is none. Never raises."""
        office = self._office
        if office is None:
            return ""
        try:
            return self._take(office, error, source, request)
        except RecursionError:
            return ""  # too deep for us to look at it: it will be seen again on its way up
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("errors", failure)
            return ""

    def _take(self, office: Office, error: BaseException | None, source: Source, request: Request | None) -> str:
        if not (is_error(error) if error is not None else source.message):
            return ""
        scene = scene_of(error, request)
        mark = self.mark_of(error, scene.request)
        if mark is not None:
            return mark.event_id
        if getattr(self._inside, "now", False):
            return self.defer(error, source)
        self._inside.now = True
        try:
            return office.take(error, source, scene)
        finally:
            self._inside.now = False

    def defer(self, error: BaseException | None, source: Source) -> str:
        """Keeps an error for later where nothing may be locked: its event's id. Never raises."""
        office = self._office
        if office is None:
            return ""
        try:
            scene = scene_of(error)
            if error is not None and (not is_error(error) or self.mark_of(error, scene.request) is not None):
                return ""
            event = office.builder.draft(error, source, scene)
            event_id = event.event_id if event is not None else ""
            office.mark(error, scene, event, event_id)
            if event is not None and len(self._waiting) >= MOST_WAITING:
                self._lost += 1
            elif event is not None:
                self._waiting.append(office.builder.complete(event, error, source, scene))
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("errors", failure)
            return ""
        return event_id

    def catch_up(self, *, closing: bool = False) -> None:
        """Takes in what waited, and tells of repeats whose window has ended; of all when `closing`."""
        office = self._office
        if office is None or getattr(self._inside, "now", False):
            return
        self._inside.now = True
        try:
            lost, self._lost = self._lost, 0
            if lost:
                boundary.dropped("errors", "queue_full", lost)
            while self._waiting:
                event = self._waiting.popleft()
                if office.judge(event)[1]:
                    office.send(event, None)
            office.send_ended(every=closing)
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed_in_background("errors", failure)
        finally:
            self._inside.now = False

    def mark_of(self, error: BaseException | None, request: Request | None = None) -> Mark | None:
        """What tells that an exception was taken in already, in this request or lately."""
        office = self._office
        try:
            mark = Mark(*BaseException.__getattribute__(error, MARK)) if error is not None else None
        except (AttributeError, TypeError):
            return None
        if mark is None or office is None or office.clock.monotonic_ns() - mark.taken_ns > _MARK_HOLDS_NS:
            return None
        if request is not None and mark.request_id and mark.request_id != request.request_id:
            return None
        return mark


def is_error(error: BaseException) -> bool:
    """Whether it is one: neither a request to end nor a group of nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return any(is_error(member) for member in error.exceptions)
    return not isinstance(error, _NO_ERRORS)


collector = Collector()
