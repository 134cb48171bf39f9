"""A scrape manager at work, with a clock that is turned by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from support.scraping import Clock, Written, until, values
from watchkeeper_server.model.targets import Target
from watchkeeper_server.receive.scrape.manager import ScrapeManager
from watchkeeper_server.receive.scrape.options import ScrapeOptions


class Events:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def scraped(self, job: str, samples: int, size_bytes: int) -> None:
        self.told.append(("scraped", job, samples, size_bytes))

    def failed(self, job: str) -> None:
        self.told.append(("failed", job))

    def left_out(self, job: str, reason: str, samples: int) -> None:
        self.told.append(("left_out", job, reason, samples))

    def not_written(self, job: str) -> None:
        self.told.append(("not_written", job))

    def reloaded(self, *, successful: bool) -> None:
        self.told.append(("reloaded", successful))


class Scraping:
    """A manager at work."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "prometheus.yml"
        self.clock = Clock()
        self.written = Written()
        self.events = Events()
        options = ScrapeOptions(reload_seconds=0)
        self.manager = ScrapeManager(
            self.written, self.clock.now, sleep=self.clock.sleep, options=options, events=self.events
        )

    async def load(self, config: str) -> None:
        """Write a configuration of 10-second intervals and go on by it."""
        self.file.write_text("global: {scrape_interval: 10s, scrape_timeout: 2s}\n" + config)
        await self.manager.reload(self.file)
        await self.settle()

    async def settle(self) -> None:
        """Let everything that does not wait for the clock happen."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def scrape(self, times: int = 1) -> list[bytes]:
        """The requests of the next interval, of as many scrapes as are expected in it."""
        await self.settle()  # a target that was just discovered waits for the clock only once its loop has begun
        before = self.written.attempts
        wrote = len(self.written.requests)
        await self.clock.advance(10)
        await until(lambda: self.written.attempts >= before + times)
        return self.written.requests[wrote:]

    async def scraped(self) -> dict[str, float | str]:
        """The values that one target's next scrape wrote."""
        [request] = await self.scrape()
        return values(request)

    def target(self) -> Target:
        [target] = self.manager.targets().active
        return target


@asynccontextmanager
async def scraping(folder: Path) -> AsyncIterator[Scraping]:
    running = Scraping(folder)
    await running.manager.start()
    try:
        yield running
    finally:
        await running.manager.stop()


def job(address: str, more: str = "") -> str:
    return f"scrape_configs:\n- job_name: j\n  static_configs: [{{targets: ['{address}']}}]\n{more}"
