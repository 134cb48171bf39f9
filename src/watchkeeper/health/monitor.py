"""The checks at work: one daemon thread that runs what is due, and the snapshot that everybody reads.

Checks run side by side, each in a thread that ends with it. One that does not return in time is reported so, and not
started again before it has returned: it costs one thread, whatever it hangs on. Readers take `snapshot`, which is
replaced whole; nobody's question starts a check, except the very first.

Nothing runs before a client is configured; then checks begin when a server calls the application, when somebody asks,
or after ten seconds. A process that forks others without serving anybody itself (a gunicorn master that has preloaded
the application, Celery's parent) stops until it is asked: connections that it opened would be its children's, too.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable

from watchkeeper.clock import SYSTEM_CLOCK, Clock
from watchkeeper.export.boundary import boundary
from watchkeeper.health.options import LONGEST_TIMEOUT, HealthOptions
from watchkeeper.health.registry import Check, Registry, registry
from watchkeeper.health.results import Change, CheckReport, HealthReport, HealthResult, Snapshot, report_of
from watchkeeper.health.running import Loop, failed, run, timed_out

UNASKED_SECONDS = 10.0  # until checks begin in a process that neither serves nor is asked
_FORK_SECONDS = 0.05  # until the next try, while this process is being forked
_LONGEST_PAUSE = 60.0
_ENDING_SECONDS = 0.1
_SIGNALLED_SECONDS = 0.1  # for a lock that the thread may hold itself, where a signal's handler has interrupted it
_FIRST_RESULTS_SECONDS = LONGEST_TIMEOUT + 1

Clean = Callable[[HealthResult, Check], HealthResult]
"""Takes secrets out of a result, and makes it safe to keep and to encode. Never raises."""


class _Run:
    """A check under way."""

    __slots__ = ("deadline", "overdue", "started")

    def __init__(self, started: float, deadline: float) -> None:
        self.started = started
        self.deadline = deadline
        self.overdue = False


class _Entry:
    """A check, when it is due, and how it went last."""

    __slots__ = ("check", "due", "loop", "report", "run")

    def __init__(self, check: Check) -> None:
        self.check = check
        self.due = 0.0
        self.run: _Run | None = None
        self.report: CheckReport | None = None
        self.loop: Loop | None = None  # the check's own, once it has needed one

    def own_loop(self) -> Loop:
        """A loop that outlives a run, since clients keep connections that belong to it."""
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
        return self.loop


class Monitor:
    """Runs the registry's checks between `start` and `stop`."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._clock = SYSTEM_CLOCK
        self._interval = HealthOptions.interval_seconds
        self._clean: Clean = lambda result, _check: result
        self._say: Callable[[Change], None] = lambda _change: None
        self._inherited: list[Loop] = []
        self._reset()

    def _reset(self) -> None:
        """Everything that belongs to one process."""
        self.busy = threading.Lock()  # held while checks are under way, so that forks wait, not long, for their end
        self._changed = threading.Condition(threading.Lock())
        self._poked = False
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._entries: dict[str, _Entry] = {}
        self._active = 0  # runs that are not overdue
        self._begun = False
        self._first_results_by = 0.0
        self._begin_at = 0.0
        self._first_pass = False
        self._starting_up = False  # between lifespan.startup and its completion
        self._draining = False
        self._application: Loop | None = None
        self._loopless = False  # the application has no event loop: async checks may have their own
        self._serving = False
        self.snapshot = Snapshot(HealthReport(), started=False, draining=False)

    # Its life

    def start(
        self,
        interval_seconds: float,
        clock: Clock = SYSTEM_CLOCK,
        clean: Clean | None = None,
        say: Callable[[Change], None] | None = None,
        *,
        thread: bool = True,
    ) -> None:
        """Begins to work, or goes on with other settings. Without a thread, whoever tests calls `step`."""
        with self._changed:
            self._clock = clock
            self._interval = interval_seconds
            self._clean = clean or self._clean
            self._say = say or self._say
            self._stopping = False
            self._begun = False
            if self._serving:
                self._set_out()
            self._begin_at = self._now() + UNASKED_SECONDS
            self._sync()
            if thread and self._thread is None:
                self._thread = threading.Thread(target=self._work, name="watchkeeper-health", daemon=True)
                self._thread.start()
            self._poke()

    def stop(self, timeout_seconds: float) -> None:
        """Starts nothing more, and forgets what was found. Checks that are not soon over are left to their ends."""
        with self._changed:
            self._stopping = True
            self._poke()
            thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_seconds)
        if self.busy.acquire(timeout=min(timeout_seconds, _ENDING_SECONDS)):
            self.busy.release()
        with self._changed:
            self._forget()
            self._publish()

    def begin(self) -> None:
        """Somebody serves or asks: checks are wanted from now on."""
        if self._begun:
            return
        with self._changed:
            self._set_out()
            self._poke()

    def note_loop(self) -> bool:
        """The running event loop is the application's. False if there is none."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        if loop is not self._application:
            with self._changed:
                self._application = loop
                for entry in self._entries.values():
                    if entry.report is None:  # it may have waited for this
                        entry.due = 0.0
                self._poke()
        return True

    def server_started(self) -> None:
        """A server calls the application for the first time, in its event loop's thread if it has one."""
        self._loopless = not self.note_loop()
        self._serving = True
        self.begin()

    def lifespan(self, message: str) -> None:
        """The type of a message of ASGI's lifespan protocol, as it passes; empty when the application has returned."""
        with self._changed:
            if message == "lifespan.startup":
                self._draining = False
            elif message == "lifespan.shutdown":
                self._draining = True
            self._starting_up = message == "lifespan.startup"
            self._publish()

    def drain(self) -> None:
        """No new requests from now on: readiness says so."""
        self._draining = True
        held = self._changed.acquire(timeout=_SIGNALLED_SECONDS)
        try:
            self._publish()
        finally:
            if held:
                self._changed.release()

    def registry_changed(self) -> None:
        """Takes in what was registered since."""
        with self._changed:
            self._sync()
            self._poke()

    def locks(self) -> Iterable[threading.Lock]:
        """What a fork must not find taken, in this order."""
        return (self.busy, self._changed._lock)  # type: ignore[attr-defined]  # noqa: SLF001  # the one given to it

    def forked(self) -> None:
        """This process has a child now. If it serves nobody, it leaves the checks to its children."""
        if self._serving or self._has_loop():
            return
        with self._changed:
            self._begun = False
            self._begin_at = float("inf")
            self._forget()
            self._publish()

    def after_fork(self) -> None:
        """In a child: nothing of the parent's."""
        # Closing a loop takes its file descriptors off an epoll instance that the parent shares: keep them for ever.
        self._inherited += [entry.loop for entry in self._entries.values() if entry.loop is not None]
        self._reset()
        self._sync()

    # What is asked

    def is_fresh(self) -> bool:
        """Whether the first results may still be on their way: later, nobody needs to wait for what is missing."""
        return self._now() < self._first_results_by

    def report(self) -> HealthReport:
        """What is known now."""
        self.note_loop()
        self.begin()
        return self.snapshot.report

    def wait(self, timeout_seconds: float = _FIRST_RESULTS_SECONDS) -> None:
        """Until every check has had a result; not longer than a check may take."""
        self.begin()
        with self._changed:
            self._changed.wait_for(lambda: not self.snapshot.report.pending or self._thread is None, timeout_seconds)

    def refresh(self, timeout_seconds: float = _FIRST_RESULTS_SECONDS) -> None:
        """Runs every check that is not running already, and waits for all of them."""
        self._loopless = self._loopless or not self._has_loop()  # who waits is in none
        self.begin()
        with self._changed:
            if self._thread is None:
                return
            before = {}
            for entry in self._entries.values():
                if entry.run is None:
                    entry.due = self._now()
                if entry.run is None or not entry.run.overdue:
                    before[entry] = entry.report
            self._poke()
            self._changed.wait_for(
                lambda: all(
                    entry.report is not report or self._entries.get(entry.check.name) is not entry
                    for entry, report in before.items()
                ),
                timeout_seconds,
            )

    # The thread

    def step(self) -> float:
        """Starts what is due, reports what is overdue. Gives the seconds until there may be something to do."""
        changes: list[Change] = []
        with self._changed:
            now = self._now()
            if not self._begun:
                if now < self._begin_at:
                    return min(self._begin_at - now, _LONGEST_PAUSE)
                self._set_out()
            pause = _LONGEST_PAUSE
            for entry in self._entries.values():
                under_way = entry.run
                if under_way is not None and now >= (entry.due if under_way.overdue else under_way.deadline):
                    changes += self._overdue(entry, under_way, now)
                elif under_way is None and now >= entry.due and not self._launch(entry, now):
                    pause = _FORK_SECONDS
                next_at = entry.run.deadline if entry.run is not None and not entry.run.overdue else entry.due
                pause = min(pause, max(0.001, next_at - self._now()))
            if not self._entries:
                self._publish()
        self._tell(changes)
        return pause

    def _work(self) -> None:
        while True:
            try:
                pause = self.step()
            except Exception as error:  # noqa: BLE001  # the thread outlives any one mistake
                boundary.failed_in_background("health checks", error)
                pause = 1.0
            with self._changed:
                self._changed.wait_for(lambda: self._poked or self._stopping, pause)
                self._poked = False
                if self._stopping or self._thread is not threading.current_thread():
                    return

    def _launch(self, entry: _Entry, now: float) -> bool:
        """Starts a run in a thread. False while a fork is under way."""
        if not self._active and not self.busy.acquire(blocking=False):
            return False
        self._active += 1
        entry.run = under_way = _Run(now, now + entry.check.timeout_seconds)
        entry.due = now + self._interval_of(entry)
        name = f"health-check-{entry.check.name}"  # not as our own threads are named, whose log lines nobody hears
        try:
            threading.Thread(target=self._execute, args=(entry, under_way), name=name, daemon=True).start()
        except RuntimeError as error:  # no more threads, or the interpreter is ending
            entry.run = None
            self._settle()
            self._record(entry, failed(error), 0.0)
        return True

    def _execute(self, entry: _Entry, under_way: _Run) -> None:
        """A run, in its thread."""
        check = entry.check
        application = self._application
        result = run(check, application, entry.own_loop if self._loopless else None)
        cleaned = None if result is None else self._clean(result, check)
        changes: list[Change] = []
        with self._changed:
            if entry.run is not under_way:  # forgotten meanwhile
                _close(entry)
                return
            entry.run = None
            now = self._now()
            if not under_way.overdue:
                self._settle()
                if cleaned is not None:
                    changes = self._record(entry, cleaned, now - under_way.started)
                elif application is not self._application:  # known just now
                    entry.due = now
            elif result is not None and result != timed_out(check.timeout_seconds):
                entry.due = now  # it is back: what it says is stale, so it is asked again at once
            self._poke()
        self._tell(changes)

    def _overdue(self, entry: _Entry, under_way: _Run, now: float) -> list[Change]:
        if not under_way.overdue:
            under_way.overdue = True
            self._settle()
            result = timed_out(entry.check.timeout_seconds)
        else:
            result = HealthResult("unhealthy", f"has not returned for {now - under_way.started:.0f} s")
        entry.due = now + self._interval_of(entry)
        return self._record(entry, result, now - under_way.started)

    def _settle(self) -> None:
        """One run less to wait for."""
        self._active -= 1
        if not self._active:
            self.busy.release()

    def _record(self, entry: _Entry, result: HealthResult, seconds: float) -> list[Change]:
        check, before = entry.check, entry.report
        entry.report = CheckReport(
            check.name,
            result.status,
            result.message,
            result.details,
            seconds,
            self._clock.wall_ns(),
            check.critical,
            check.weight,
            check.kind,
        )
        if self._entries.get(check.name) is not entry:
            return []
        self._publish()
        self._changed.notify_all()  # whoever waits for results
        was = None if before is None else before.status
        changed = result.status != was and (was is not None or result.status != "healthy")
        return [Change(was, entry.report)] if changed else []

    def _publish(self) -> None:
        """Replaces the snapshot."""
        entries = self._entries.values()
        report = report_of(
            [entry.report for entry in entries if entry.report is not None],
            [entry.check.name for entry in entries if entry.report is None],
        )
        if self._begun and not report.pending:
            self._first_pass = True
        started = self._first_pass and not self._starting_up
        self.snapshot = Snapshot(report, started, self._draining)

    def _sync(self) -> None:
        """Entries for the checks that are registered; one that was replaced starts anew."""
        known = self._entries
        self._entries = {
            name: known[name] if name in known and known[name].check is check else _Entry(check)
            for name, check in self._registry.checks().items()
        }
        self._abandon([entry for entry in known.values() if self._entries.get(entry.check.name) is not entry])
        self._publish()

    def _forget(self) -> None:
        """All results, and whatever is under way."""
        self._abandon(self._entries.values())
        self._entries = {name: _Entry(entry.check) for name, entry in self._entries.items()}

    def _abandon(self, entries: Iterable[_Entry]) -> None:
        for entry in entries:
            under_way, entry.run = entry.run, None
            if under_way is None:
                _close(entry)
            elif not under_way.overdue:
                self._settle()

    def _interval_of(self, entry: _Entry) -> float:
        return entry.check.interval_seconds or self._interval

    def _set_out(self) -> None:
        self._begun = True
        self._first_results_by = self._now() + _FIRST_RESULTS_SECONDS

    def _has_loop(self) -> bool:
        return self._application is not None and self._application.is_running()

    def _poke(self) -> None:
        self._poked = True
        self._changed.notify_all()

    def _tell(self, changes: list[Change]) -> None:
        for change in changes:
            self._say(change)

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9


def _close(entry: _Entry) -> None:
    """Gives the check's own loop up, once nothing runs on it."""
    loop, entry.loop = entry.loop, None
    if loop is not None and not loop.is_running():
        loop.close()


monitor = Monitor(registry)
registry.listeners.append(monitor.registry_changed)
