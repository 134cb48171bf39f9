"""Databases as a part of the SDK."""

from __future__ import annotations

from watchkeeper.databases.pools import pools
from watchkeeper.databases.queries import settings
from watchkeeper.parts import Part, Wiring


class Databases(Part):
    """What statements are judged by."""

    def wire(self, wiring: Wiring) -> None:
        """Takes the options over."""
        settings.wire(wiring.options.databases)

    def after_fork(self) -> None:
        """A child finds no lock taken."""
        pools().renew_lock()


databases = Databases()
