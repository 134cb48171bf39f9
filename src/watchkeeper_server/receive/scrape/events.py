"""What scraping has to tell about itself, for whoever counts."""

from __future__ import annotations

from typing import Protocol


class ScrapeEvents(Protocol):
    """Called for each scrape; must be quick."""

    def scraped(self, job: str, samples: int, size_bytes: int) -> None:
        """A scrape succeeded; `size_bytes` is the response's, decompressed."""

    def failed(self, job: str) -> None:
        """A scrape failed; the target is down."""

    def left_out(self, job: str, reason: str, samples: int) -> None:
        """Samples of a scrape were not stored: `duplicate`, `out_of_bounds`."""

    def not_written(self, job: str) -> None:
        """A whole scrape was not stored, because storing is behind."""

    def reloaded(self, *, successful: bool) -> None:
        """A configuration was read."""


class Unheard:
    """Tells nobody."""

    def scraped(self, job: str, samples: int, size_bytes: int) -> None:
        """See the protocol."""

    def failed(self, job: str) -> None:
        """See the protocol."""

    def left_out(self, job: str, reason: str, samples: int) -> None:
        """See the protocol."""

    def not_written(self, job: str) -> None:
        """See the protocol."""

    def reloaded(self, *, successful: bool) -> None:
        """See the protocol."""
