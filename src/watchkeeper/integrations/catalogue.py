"""Instrumenting libraries as the application imports them, and giving them back.

Each integration is a module with `install()` and `uninstall()`. Installing one waits until its library is imported:
nothing is imported on the application's behalf, and an import that comes late is not missed.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Collection
from typing import Any

import wrapt

from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.names import INTEGRATIONS


class Catalogue:
    """What is wanted, and what is installed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # never held while anything is imported: whoever imports may come here
        self._wanted: frozenset[str] = frozenset()
        self._installed: set[str] = set()
        self._hooked: set[str] = set()

    def want(self, names: Collection[str]) -> None:
        """These integrations from now on, and no others: one that is installed beside them is uninstalled.

        What the application has imported is left to `install_imported`; what it imports later is installed at once.
        """
        with self._lock:
            self._wanted = frozenset(names)
            unwanted = sorted(self._installed - self._wanted)
            self._installed.difference_update(unwanted)
            late = sorted(self._wanted - self._hooked)
            self._hooked.update(late)
        for name in unwanted:
            _call(name, "uninstall")
        for name in late:
            if name not in sys.modules:
                self._hook(name)

    def install_imported(self) -> None:
        """Installs what is wanted and imported."""
        for name in INTEGRATIONS:
            if name in self._wanted and name not in self._installed and _is_imported(name):
                self._install(name)

    def after_fork(self) -> None:
        """In a child: a lock of its own."""
        self._lock = threading.Lock()

    def _hook(self, name: str) -> None:
        """Installs at the end of the library's import. Hooks cannot be taken back: what is wanted is looked up then."""
        registered = False

        def imported(_module: Any) -> None:
            # Called while it is registered, it says that another thread has begun to import, not that it has ended.
            if registered:
                self._install(name)

        wrapt.register_post_import_hook(imported, name)
        registered = True

    def _install(self, name: str) -> None:
        with self._lock:
            if name in self._installed or name not in self._wanted:
                return
            self._installed.add(name)
        _call(name, "install")
        with self._lock:
            if name in self._wanted:
                return
            self._installed.discard(name)
        _call(name, "uninstall")  # it was given up meanwhile, by a `want` that may have come too early to take all off


def _is_imported(name: str) -> bool:
    """Whether all of it is: another thread may be importing it just now."""
    module = sys.modules.get(name)
    return module is not None and not getattr(getattr(module, "__spec__", None), "_initializing", False)


def _call(name: str, what: str) -> None:
    try:
        getattr(importlib.import_module(INTEGRATIONS[name]), what)()
    except Exception as error:  # noqa: BLE001  # a library of a version that we do not know
        boundary.failed(f"integration of {name}", error)


catalogue = Catalogue()
