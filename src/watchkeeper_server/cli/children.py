"""Child processes that never outlive this one.

Each child has a process group of its own, so that a Ctrl-C in the terminal reaches only the parent, which then ends
its children in the order it wants. If the parent is killed (`kill -9`) the kernel kills the children; elsewhere than
on Linux, which alone offers that, they would survive such a death.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType, TracebackType

POLL_SECONDS = 0.05
LAUNCH = Path(__file__).with_name("launch.py")


@dataclass(frozen=True, slots=True)
class Child:
    """A running program; all it writes goes to `log`."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def last_lines(self, number: int) -> list[str]:
        """The end of its log."""
        return self.log.read_text(errors="replace").splitlines()[-number:]


class ChildEndedError(Exception):
    """A child ended that nobody had asked to."""

    def __init__(self, child: Child) -> None:
        super().__init__(f"{child.name} ended with code {child.process.returncode}")
        self.child = child


class StopRequest:
    """Notes SIGINT, SIGTERM and SIGHUP instead of obeying them: within the `with` block, `received` tells.

    SIGINT counts even where it is ignored, as shells have it for what they start in the background. SIGHUP does not:
    it is ignored for programs that shall go on when the terminal is closed (`nohup`).
    """

    def __init__(self) -> None:
        self.received = False
        self._before: dict[int, signal.Handlers | int | Callable[[int, FrameType | None], object] | None] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.received = True


class Children:
    """The children of this process; leaving the `with` block ends those that are left, at once.

    Must be used in the main thread: the kernel counts the end of the thread that started a child as its parent's.
    """

    def __init__(self, logs: Path, stop: StopRequest) -> None:
        self._logs = logs
        self._stop = stop
        self._running: dict[str, Child] = {}

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(*self._running, timeout_seconds=0.0)

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a program, given by its path, with its output in `<logs>/<name>.log`."""
        log = self._logs / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603  our own programs
                [sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                process_group=0,
            )
        self._running[name] = Child(name, process, log)

    def watch(self, until: Callable[[], bool]) -> bool:
        """Wait: true once `until` says so, false if a signal asked to stop before.

        Raises:
            ChildEndedError: a child ended meanwhile.
        """
        while not self._stop.received:
            for child in self._running.values():
                if child.process.poll() is not None:
                    raise ChildEndedError(child)
            if until():
                return True
            time.sleep(POLL_SECONDS)
        return False

    def end(self, *names: str, timeout_seconds: float) -> None:
        """End those children together: politely, then after `timeout_seconds` (for all of them) by force."""
        ending = [self._running.pop(name) for name in names if name in self._running]
        for child in ending:
            _signal_group(child, signal.SIGTERM)
        deadline = time.monotonic() + timeout_seconds
        for child in ending:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, deadline - time.monotonic()))
            _signal_group(child, signal.SIGKILL)  # whatever is left of the group
            child.process.wait()


def _signal_group(child: Child, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.process.pid, number)
