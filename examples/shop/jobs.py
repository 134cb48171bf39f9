"""Work that no customer waits for: a bounded queue and one worker thread.

A job runs in the context of the request that asked for it, so its spans and log lines join that request's trace. A job
that fails is tried again; one that keeps failing, or finds the queue full, is given up, logged and counted.
"""

import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import watchkeeper as wk

TRIES = 3
FIRST_PAUSE_SECONDS = 0.2  # before the second try; doubled before each further one

log = wk.get_logger(__name__)
outcomes = wk.counter("shop_jobs_total", "Background jobs by how they ended", ["job", "outcome"])
durations = wk.histogram("shop_job_duration_seconds", "How long background jobs take, retries included", ["job"])
waiting = wk.gauge("shop_jobs_waiting", "Background jobs that have not started")

Work = Callable[[], None]


class JobQueue:
    """Runs jobs one after another; at most `capacity` wait. Jobs that wait when the process ends are lost."""

    def __init__(self, *, capacity: int = 1000) -> None:
        self._capacity = capacity
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="jobs")
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._waiting = 0

    def put(self, name: str, work: Work) -> bool:
        """Queue `work`; false if the queue is full."""
        with self._lock:
            full = self._waiting >= self._capacity
            if not full:
                self._waiting += 1
                waiting.set(self._waiting)
        if full:
            log.error("job queue is full", job=name, capacity=self._capacity)
            outcomes.labels(job=name, outcome="refused").inc()
            return False
        self._worker.submit(contextvars.copy_context().run, self._do, name, work)
        return True

    def stop(self) -> None:
        """Finish the job at work, without waiting before a next try; give up the jobs that wait."""
        self._stopping.set()
        self._worker.shutdown(cancel_futures=True)
        if self._waiting:
            log.warning("jobs given up at shutdown", jobs=self._waiting)

    def _do(self, name: str, work: Work) -> None:
        with self._lock:
            self._waiting -= 1
            waiting.set(self._waiting)
        began = time.perf_counter()
        with wk.span(f"job {name}"):
            outcome = self._try(name, work)
        durations.labels(job=name).observe(time.perf_counter() - began)
        outcomes.labels(job=name, outcome=outcome).inc()

    def _try(self, name: str, work: Work) -> str:
        for number in range(1, TRIES + 1):
            try:
                work()
            except Exception as error:  # whatever a job raises must not end the worker
                if number == TRIES:
                    log.exception("job given up", job=name, tries=number)
                    return "failed"
                log.warning("job failed, will retry", job=name, tries=number, reason=str(error))
                self._stopping.wait(FIRST_PAUSE_SECONDS * 2 ** (number - 1))
            else:
                log.info("job done", job=name, tries=number)
                return "done"
        raise AssertionError("the last try returns")
