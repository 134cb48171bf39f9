"""What the process and its interpreter do, beside what prometheus_client's own collectors say.

Those give CPU, memory, open files and start time (`process_*`), and garbage collections (`python_gc_*`). Here are
threads, uptime, the pauses of the garbage collector, and event loops: how late they run, and how many tasks they have.
Everything is read when somebody asks; in between costs one clock read around each collection of garbage, and a timer
in each watched loop.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import weakref
from bisect import bisect_left
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from watchkeeper.export.boundary import boundary
from watchkeeper.metrics.declare import declarations
from watchkeeper.metrics.sockets import Sockets, read_sockets

GC_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
LAG_INTERVAL_SECONDS = 0.25
_IMPORTED = time.monotonic()


class Distribution:
    """Counts in buckets, without a lock: whoever observes must be alone in doing so."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Counts a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def fields(self) -> tuple[list[tuple[str, float]], float]:
        """(cumulative count at each bound, sum), as a HistogramMetricFamily wants them."""
        total, buckets = 0, []
        for bound, count in zip((*self._bounds, float("inf")), list(self._counts), strict=True):
            total += count
            buckets.append((floatToGoString(bound), float(total)))  # type: ignore[no-untyped-call]
        return buckets, self._sum


class GarbagePauses:
    """How long the collector of garbage stops everything, by generation.

    The interpreter calls back in any thread, even one that holds a metric's lock: nothing here may take one.
    Collections never overlap.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self.reset()

    def install(self) -> None:
        """Watches from now on."""
        if self._heard not in gc.callbacks:
            gc.callbacks.append(self._heard)

    def uninstall(self) -> None:
        """Watches no more."""
        if self._heard in gc.callbacks:
            gc.callbacks.remove(self._heard)

    def reset(self) -> None:
        """Begins at zero."""
        self._started: float | None = None
        self._pauses = [Distribution(GC_BUCKETS) for _ in range(3)]

    def family(self) -> Metric:
        """`python_gc_pause_seconds`."""
        family = HistogramMetricFamily(
            "python_gc_pause_seconds",
            "Time for which the collection of garbage stopped the interpreter",
            labels=["generation"],
        )
        for generation, pauses in enumerate(self._pauses):
            family.add_metric([str(generation)], *pauses.fields())
        return family

    def _heard(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._started = self._clock()
        elif self._started is not None:
            self._pauses[info["generation"]].observe(self._clock() - self._started)
            self._started = None


class EventLoops:
    """How late asyncio's loops run what is due, by a timer in each, and how many tasks they have.

    A timer, not a task: it keeps no loop alive, and nobody who lists or cancels tasks ever meets it.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begins at zero, without loops: a forked child runs none of its parent's."""
        self._watched: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
        self._dues: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, float] = weakref.WeakKeyDictionary()
        self._lag = Distribution(LAG_BUCKETS)
        self._worst = 0.0
        self._lock = threading.Lock()  # of the set and the counts: loops run in threads of their own

    def watch(self) -> None:
        """Watches the running loop; does nothing outside of asyncio, or if it is watched already."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # another kind of loop, or none
            return
        with self._lock:
            if loop in self._watched:
                return
            self._watched.add(loop)
        self._wait(loop)

    def stop(self) -> None:
        """Watches no loop any more."""
        with self._lock:
            self._watched.clear()

    def take_worst_lag(self) -> float | None:
        """The worst lag in seconds since this was last asked, that of a loop blocked just now included.

        None where no watched loop runs.
        """
        with self._lock:
            running = [loop for loop in self._watched if loop.is_running()]
            overdue = [loop.time() - self._dues[loop] for loop in running if loop in self._dues]
            worst, self._worst = max(self._worst, *overdue, 0.0), 0.0
        return worst if running else None

    def families(self) -> Iterable[Metric]:
        """`asyncio_event_loop_lag_seconds` and `asyncio_tasks`, once a loop has been watched."""
        with self._lock:
            loops = [loop for loop in self._watched if not loop.is_closed()]
            buckets, total = self._lag.fields()
        if not loops and not buckets[-1][1]:
            return
        yield HistogramMetricFamily(
            "asyncio_event_loop_lag_seconds", "How late the event loop runs a timer", buckets=buckets, sum_value=total
        )
        tasks = sum(len(asyncio.all_tasks(loop)) for loop in loops)
        yield GaugeMetricFamily("asyncio_tasks", "Tasks that have not ended", value=tasks)

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + LAG_INTERVAL_SECONDS
        self._dues[loop] = due
        loop.call_later(LAG_INTERVAL_SECONDS, self._due, loop, due)

    def _due(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        late = max(0.0, loop.time() - due)
        with self._lock:
            if loop not in self._watched:
                return
            self._lag.observe(late)
            self._worst = max(self._worst, late)
        self._wait(loop)


class Runtime(Collector):
    """The collector of all that, in a registry from `install` to `uninstall`."""

    def __init__(
        self,
        registry: CollectorRegistry,
        sockets: Callable[[], Sockets | None] = read_sockets,
    ) -> None:
        self.garbage = GarbagePauses()
        self.loops = EventLoops()
        self._registry = registry
        self._sockets = sockets
        self._installed = False

    def install(self) -> None:
        """Begins."""
        self.garbage.install()
        if not self._installed:
            self._registry.register(self)
            self._installed = True
        self.watch_loop()  # of a program that configures itself in one; a server's is watched when it calls

    def uninstall(self) -> None:
        """Ends: no callback of the interpreter and no timer is left."""
        self.garbage.uninstall()
        self.loops.stop()
        if self._installed:
            self._registry.unregister(self)
            self._installed = False

    def watch_loop(self) -> None:
        """Watches the event loop that is running, if there is one."""
        try:
            self.loops.watch()
        except Exception as error:  # noqa: BLE001  # a loop of a kind of its own
            boundary.failed("watching the event loop", error)

    def after_fork(self) -> None:
        """A child counts its own."""
        self.garbage.reset()
        self.loops.reset()

    def collect(self) -> Iterable[Metric]:
        """What is known; a part that cannot be read is left out."""
        parts: tuple[Callable[[], Iterable[Metric]], ...] = (
            self._process,
            lambda: [self.garbage.family()],
            self.loops.families,
            self._connections,
        )
        for part in parts:
            try:
                yield from list(part())
            except Exception as error:  # noqa: BLE001  # the rest of the scrape is worth more
                boundary.failed("runtime metrics", error)

    def describe(self) -> Iterable[Metric]:
        """Claims no name."""
        return ()

    def _process(self) -> Iterable[Metric]:
        threads, seconds = threads_and_age()
        yield GaugeMetricFamily("process_threads", "Threads of the process", value=threads)
        yield GaugeMetricFamily("process_uptime_seconds", "Time since the process started", value=seconds)

    def _connections(self) -> Iterable[Metric]:
        sockets = self._sockets()
        if sockets is None:
            return
        yield GaugeMetricFamily(
            "active_connections", "Open TCP connections to ports this process listens at", value=sockets.connections
        )
        yield GaugeMetricFamily(
            "request_queue_depth", "TCP connections that wait to be accepted", value=sockets.waiting
        )


def threads_and_age() -> tuple[int, float]:
    """How many threads the process has, and for how many seconds it has been running."""
    try:
        with open("/proc/self/stat", encoding="utf-8", errors="replace") as stat:  # noqa: PTH123
            fields = stat.read().rpartition(")")[2].split()  # proc(5), from the third field on
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return int(fields[17]), max(0.0, age)
    except (OSError, AttributeError):  # not Linux: the interpreter's own threads, and the time since we were imported
        return threading.active_count(), time.monotonic() - _IMPORTED


runtime = Runtime(declarations.standard)
