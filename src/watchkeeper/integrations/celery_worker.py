"""A Celery worker's processes: how many tasks they run, their log lines, and the end of a child.

Celery's logging keeps its levels and its log file; only what it would print is written as every other line is.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY  # published under no other name

from watchkeeper.context import Context, attach, detach, get_current
from watchkeeper.integrations import stdlib_logging
from watchkeeper.integrations.calls import CACHE, QUEUE
from watchkeeper.integrations.part import requests
from watchkeeper.metrics.sets import queues


class Slots:
    """How many tasks this process can run at a time, and how many it does."""

    def __init__(self) -> None:
        self.in_child = False  # of a prefork pool
        self._lock = threading.Lock()
        self._all = self._taken = 0

    def open(self, count: int, *, in_child: bool = False) -> None:
        """This process runs that many from now on."""
        self.in_child = in_child
        self._lock = threading.Lock()  # a child's own
        self._all, self._taken = count, 0
        self._tell()

    def take(self) -> None:
        """One begins."""
        self._change(1)

    def give_back(self) -> None:
        """One has ended."""
        self._change(-1)

    def _change(self, by: int) -> None:
        if self._all:  # else an eager task, in a process that is no worker
            with self._lock:
                self._taken += by
                self._tell()

    def _tell(self) -> None:
        queues().workers("busy", self._taken)
        queues().workers("idle", max(0, self._all - self._taken))


slots = Slots()


def quiet() -> Context:
    """A context in which what is said to the broker is no call of its own: it may be Redis, or a service by HTTP."""
    return Context({**get_current(), CACHE: True, _SUPPRESS_HTTP_INSTRUMENTATION_KEY: True})


def consume(wrapped: Callable[..., Any], _consumer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The main process' loop, which asks the broker over and over. Tasks start from a context of their own."""
    token = attach(quiet())
    try:
        return wrapped(*args, **kwargs)
    finally:
        detach(token)


def ask_sqs(wrapped: Callable[..., Any], _channel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What kombu asks SQS for: it counts when Celery has received it."""
    token = attach(Context({**quiet(), QUEUE: True}))
    try:
        return wrapped(*args, **kwargs)
    finally:
        detach(token)


def receivers(signals: Any) -> Iterable[tuple[Any, Any]]:
    """What is listened to."""
    yield signals.worker_init, _adopt
    yield signals.beat_init, _adopt
    yield signals.worker_ready, _ready
    yield signals.worker_process_init, _child_started
    yield signals.worker_process_shutdown, _child_ends
    yield signals.after_setup_logger, _root_logger_set_up
    yield signals.after_setup_task_logger, _task_logger_set_up


def _adopt(**_named: Any) -> None:
    requests.settings.on_server_start()


def _ready(sender: Any, **_named: Any) -> None:
    """Of the main process; a prefork pool's children speak for themselves."""
    pool = sender.pool
    if pool is not None and type(pool).__module__ != "celery.concurrency.prefork":
        slots.open(pool.limit or 1)


def _child_started(**_named: Any) -> None:
    attach(Context())  # not that of the moment at which the parent happened to fork
    slots.open(1, in_child=True)


def _child_ends(**_named: Any) -> None:
    """It leaves past atexit. What it said last is sent first, in a bounded time."""
    requests.settings.on_server_stop()


def _root_logger_set_up(**_named: Any) -> None:
    stdlib_logging.capture.set_up_anew()
    stdlib_logging.capture.listen(logging.getLogger("multiprocessing"))  # the pool's


def _task_logger_set_up(logger: logging.Logger, **_named: Any) -> None:
    stdlib_logging.capture.listen(logger)
