"""Caches as a part of the SDK."""

from __future__ import annotations

from watchkeeper.caches.servers import servers
from watchkeeper.caches.state import Reading
from watchkeeper.parts import Part, Wiring


class Caches(Part):
    """Asks caches how they are, where the options say so."""

    def __init__(self) -> None:
        self._reading = Reading(servers)
        self._seconds = 0.0

    def wire(self, wiring: Wiring) -> None:
        """Takes the options over."""
        self._seconds = wiring.options.caches.state_seconds

    def every_round(self) -> None:
        """Begins a reading when it is due."""
        if self._seconds:
            self._reading.round(self._seconds)

    def unwire(self, timeout_seconds: float) -> None:  # noqa: ARG002
        """No further readings."""
        self._seconds = 0.0

    def after_fork(self) -> None:
        """A child reads for itself."""
        servers.renew_lock()
        self._reading.after_fork()


caches = Caches()
