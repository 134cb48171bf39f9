"""multiprocessing's children leave through `os._exit`, past atexit; its own finalizers are what they do run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


class AtEnd:
    """What a child of multiprocessing calls when its work is done."""

    def __init__(self, deliver: Callable[[], None]) -> None:
        self._deliver = deliver

    def watch(self) -> None:
        """In whatever process: a child calls it at its end, however it was started. Cheap, and may be told twice."""
        util: Any = sys.modules.get("multiprocessing.util")
        if util is None:
            return
        # A child forgets its parent's finalizers as it begins, and runs this then.
        util.register_after_fork(self, AtEnd._finalize)
        process: Any = sys.modules["multiprocessing.process"]
        if process.parent_process() is not None:
            self._finalize()

    def _finalize(self) -> None:
        sys.modules["multiprocessing.util"].Finalize(None, self._deliver, exitpriority=0)
