"""multiprocessing's children that are not forked: spawned, or of its fork server, they begin without a client.

A program that configures the SDK where only its main process comes by (`if __name__ == "__main__"`) would hear nothing
of its workers. They get the options of the parent's client, before they import anything of the program.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from watchkeeper.client import configure, running_client
from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.patching import Patches
from watchkeeper.values import told

# What the child runs while it reads how to begin. It may be a Python that knows nothing of us, and must not care.
_BEGIN = """
try:
    import watchkeeper.integrations.spawned
    watchkeeper.integrations.spawned.begin(carried)
except Exception:
    pass
"""
_patches = Patches()


class Carried:
    """Options on their way into a child, where nothing is left of them but their effect."""

    def __init__(self, options: bytes) -> None:
        self._options = options

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str, dict[str, bytes]]]:
        return exec, (_BEGIN, {"carried": self._options})


def install() -> None:
    """Gives every child that multiprocessing starts from now on the parent's options."""
    if not _patches:
        _patches.wrap("multiprocessing.spawn", "get_preparation_data", _prepare)


def uninstall() -> None:
    """Stops that."""
    _patches.undo()


def begin(carried: bytes) -> None:
    """In the child: runs a client as its parent did. Says so if it cannot."""
    try:
        options = pickle.loads(carried)  # noqa: S301  # from our own parent, by the pipe that multiprocessing uses
        configure(options)
    except Exception as error:  # noqa: BLE001  # a function of the script, which is not imported yet
        _say(error)


def _prepare(wrapped: Callable[..., Any], _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    data = wrapped(*args, **kwargs)
    client = running_client()
    if client is not None and isinstance(data, dict):
        try:
            data["watchkeeper"] = Carried(pickle.dumps(client.options))
        except Exception as error:  # noqa: BLE001  # an option that is a lambda, say: the child does without
            _say(error)
    return data


def _say(error: Exception) -> None:
    boundary.say_once(
        "spawned",
        "watchkeeper's options do not reach a process that multiprocessing starts, which so runs without it"
        f" ({told(error)}): let what is a function among them (before_send) be one of a module, neither a lambda nor"
        " the script's own, or call watchkeeper.configure() in that process",
    )
