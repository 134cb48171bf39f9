"""Several processes: what each shares with the others, and what it does at its end.

multiprocessing's children leave through `os._exit`, past atexit; its own finalizers are what they do run.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, MutableMapping
from typing import Any

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # of prometheus_client, where processes that serve together keep their metrics


def ensure_folder(environ: MutableMapping[str, str] = os.environ) -> str:
    """Makes the folder of the metrics, without which prometheus_client raises at the first of them.

    Where that cannot be, another one is used, of this process and its children. Gives what is to be said of it.
    """
    folder = environ.get(FOLDER)
    if not folder:
        return ""
    try:
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103  # Path raises for what no file can be named
        if os.access(folder, os.W_OK):
            return ""
        reason = "it cannot be written to"
    except (OSError, ValueError) as error:
        reason = str(error)
    environ[FOLDER] = tempfile.mkdtemp(prefix="watchkeeper-metrics-")
    return f"{FOLDER} is {folder!r}, which cannot be used ({reason}): {environ[FOLDER]} is"


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
