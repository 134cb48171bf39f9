"""What the SDK itself answers over the application's own port: a path, and whoever answers there."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import ClassVar, NamedTuple

MOST_THREADS = 4  # that answer at the same time; who asks meanwhile waits


class Asked(NamedTuple):
    """A GET or a HEAD of an endpoint."""

    path: str
    accept: str  # the header Accept
    query: str  # the query string, as it came
    accept_encoding: str = ""  # the header Accept-Encoding


class Answer(NamedTuple):
    """What is sent; of a HEAD, all but the body."""

    status: int
    content_type: str
    body: bytes
    encoding: str = ""  # the header Content-Encoding


class Endpoint(ABC):
    """Answers at a path."""

    yields: ClassVar[bool] = False  # to a route that the application has at this path itself

    def now(self, asked: Asked) -> Answer | None:  # noqa: ARG002
        """The answer, if it takes no time (a tenth of a millisecond): it is asked for on an event loop's thread."""
        return None

    @abstractmethod
    def answer(self, asked: Asked) -> Answer:
        """The answer, in a thread that may wait. Never raises."""


class Endpoints:
    """By path. Replaced whole at each change, since servers' threads read it."""

    def __init__(self) -> None:
        self.by_path: dict[str, Endpoint] = {}

    def add(self, path: str, endpoint: Endpoint) -> None:
        """Answers at `path` from now on."""
        self.by_path = {**self.by_path, path: endpoint}

    def remove(self, path: str) -> None:
        """Leaves the path to the application again."""
        self.by_path = {each: endpoint for each, endpoint in self.by_path.items() if each != path}


class Answering:
    """Threads for answers that take time: not the event loop's own, which the application needs and waits for.

    They end when nobody waits for an answer any more, and keep no process from ending.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begins anew: a forked child has none of its parent's threads."""
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._threads = 0

    async def answer(self, endpoint: Endpoint, asked: Asked) -> Answer:
        """The endpoint's answer, for the running event loop."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Answer] = loop.create_future()

        def settle(answer: Answer | None, failure: BaseException | None) -> None:
            if answered.done():  # nobody waits: the client has left
                return
            if answer is not None:
                answered.set_result(answer)
            elif failure is not None:
                answered.set_exception(failure)

        def work() -> None:
            answer: Answer | None = None
            failure: BaseException | None = None
            try:
                answer = endpoint.answer(asked)
            except BaseException as error:  # noqa: BLE001  # it is raised where somebody waits
                failure = error
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(settle, answer, failure)

        self._start(work)
        return await answered

    def _start(self, work: Callable[[], None]) -> None:
        with self._lock:
            self._waiting.append(work)
            if self._threads >= MOST_THREADS:
                return
            self._threads += 1
        try:
            threading.Thread(target=self._run, name="watchkeeper-endpoint", daemon=True).start()
        except RuntimeError:  # no more threads, or the interpreter is ending: the server says 500
            with self._lock:
                self._threads -= 1
            raise

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                work = self._waiting.popleft()
            work()


answering = Answering()
endpoints = Endpoints()
