"""The beginning of a process of a program that `watchkeeper run` started: before any of its own code."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

from watchkeeper.client import configure
from watchkeeper.environment import ConfigurationError
from watchkeeper.export.boundary import boundary
from watchkeeper.launch.frameworks import frameworks

_HELPER = re.compile(r"from \S*(resource_tracker|forkserver) import main")


def start() -> None:
    """Configures the SDK from the environment, and instruments what comes. Never raises.

    multiprocessing starts helpers of its own. Its resource tracker is nobody's business; its fork server is not
    either, but what it forks is the program.
    """
    helper = helper_in(sys.orig_argv)
    if helper == "resource_tracker":
        return
    if helper == "forkserver":
        os.register_at_fork(after_in_child=_start)
        return
    _start()


def helper_in(command: Sequence[str]) -> str:
    """Which of multiprocessing's helpers a command line starts; empty if none."""
    code = command[command.index("-c") + 1 :][:1] if "-c" in command else []
    found = _HELPER.match(code[0]) if code else None
    return found[1] if found else ""


def _start() -> None:
    try:
        frameworks.watch()
        configure()
    except ConfigurationError as error:
        if sys.stderr is not None:  # it is where the program's owner has closed it: Python itself would not start
            sys.stderr.write(f"watchkeeper run: the program runs unwatched: {error}\n")
    except Exception as error:  # noqa: BLE001  # the boundary
        boundary.failed("run", error)
