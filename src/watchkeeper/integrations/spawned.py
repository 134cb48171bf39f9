"""multiprocessing's children that are not forked: spawned, or of its fork server, they begin without a client.

A program that configures the SDK where only its main process comes by (`if __name__ == "__main__"`) would hear nothing
of its workers. They get the options of the parent's client, before they import anything of the program.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from watchkeeper.client import configure, running_client
from watchkeeper.integrations.patching import Patches

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
    """In the child: runs a client as its parent did."""
    configure(pickle.loads(carried))  # noqa: S301  # from our own parent, by the pipe that multiprocessing pickles over


def _prepare(wrapped: Callable[..., Any], _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    data = wrapped(*args, **kwargs)
    client = running_client()
    if client is not None and isinstance(data, dict):
        try:
            data["watchkeeper"] = Carried(pickle.dumps(client.options))
        except Exception:  # noqa: BLE001  # an option that is a function of the main module, say: the child does without
            return data
    return data
