"""Run by each Python process that `watchkeeper run` leads to, at its start: this folder is first on its PYTHONPATH.

Whatever Python that is: it may be older than the SDK, or know nothing of it. So this stays simple, and silent where
nobody asked for it.
"""

import importlib
import os
import sys


def _import_hidden():
    # type: () -> None
    """Imports the sitecustomize that this one hides, as if we were not here; nor do we stay on sys.path."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if not path or os.path.abspath(path) != here]
    ours = sys.modules.pop("sitecustomize", None)
    try:
        importlib.import_module("sitecustomize")
    except ImportError as error:
        if getattr(error, "name", "sitecustomize") != "sitecustomize":
            raise
    finally:
        if ours is not None:
            sys.modules.setdefault("sitecustomize", ours)


def _start():
    # type: () -> None
    try:
        from watchkeeper.launch.start import start
    except Exception as error:
        asked = os.environ.get("WATCHKEEPER_RUN_PID") == str(os.getpid())  # else something that the program started
        if asked and sys.stderr is not None:
            advice = ""
            if isinstance(error, ImportError):
                advice = "; it is installed by: %s -m pip install watchkeeper" % sys.executable
            sys.stderr.write(
                "watchkeeper run: the program runs unwatched, since %s cannot import watchkeeper (%s)%s\n"
                % (sys.executable, error, advice)
            )
        return
    start()


try:
    _import_hidden()
finally:
    _start()
