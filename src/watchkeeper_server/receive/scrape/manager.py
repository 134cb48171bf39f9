"""All of scraping: reads `prometheus.yml`, again whenever it changes, and scrapes by it.

A file that cannot be used is refused with its message, and the configuration before it goes on. Jobs that a new
configuration leaves as they were are not touched.
"""

from __future__ import annotations

import asyncio
import glob
from collections.abc import Awaitable, Callable
from pathlib import Path

from watchkeeper_server.model.targets import Targets
from watchkeeper_server.receive.scrape.config import Config, load_config
from watchkeeper_server.receive.scrape.discovery.groups import Sleep
from watchkeeper_server.receive.scrape.events import ScrapeEvents, Unheard
from watchkeeper_server.receive.scrape.loop import Scraping
from watchkeeper_server.receive.scrape.options import ScrapeOptions
from watchkeeper_server.receive.scrape.pool import ScrapePool
from watchkeeper_server.receive.scrape.yaml_reader import ConfigError
from watchkeeper_server.telemetry import logger


class ScrapeManager:
    """Scrapes what a configuration file says."""

    def __init__(
        self,
        write: Callable[[bytes], Awaitable[None]],
        now: Callable[[], float],
        *,
        sleep: Sleep = asyncio.sleep,
        options: ScrapeOptions | None = None,
        events: ScrapeEvents | None = None,
    ) -> None:
        """Nothing is scraped before a configuration is loaded and `start` called, in either order.

        Args:
            write: makes the bytes of one uncompressed remote-write 1.0 request durable; a WatchkeeperError drops that
                scrape, and it is counted.
            now: Unix seconds.
            sleep: waits for so many seconds.
            options: what the file does not say.
            events: told of each scrape.
        """
        options = options or ScrapeOptions()
        self._scraping = Scraping(write, now, sleep, options, events or Unheard())
        self._path: Path | None = None
        self._config = Config()
        self._pools: dict[str, ScrapePool] = {}
        self._watch: asyncio.Task[None] | None = None
        self._stamps: dict[str, int] = {}

    @property
    def config(self) -> Config:
        """The configuration in use."""
        return self._config

    async def start(self) -> None:
        """Scrape by the configuration that is or will be loaded, and watch its files."""
        self._watch = asyncio.create_task(self._watch_files(), name="watch configuration")
        await self._apply()

    async def stop(self) -> None:
        """Stop scraping; idempotent. Series are not ended: after a restart they go on."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            await asyncio.wait([watch])
        pools, self._pools = list(self._pools.values()), {}
        await asyncio.gather(*(pool.stop() for pool in pools))
        background = list(self._scraping.background)
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)

    async def reload(self, path: Path) -> None:
        """Go on by a configuration file.

        Raises:
            ConfigError: it cannot be used; the configuration before it goes on.
        """
        self._path = path
        self._stamps = await asyncio.to_thread(_stamps, (path, *self._config.files), self._config.scrape_config_files)
        try:
            self._config = await asyncio.to_thread(load_config, path)
        except ConfigError:
            self._scraping.events.reloaded(successful=False)
            raise
        self._stamps = await asyncio.to_thread(_stamps, self._config.files, self._config.scrape_config_files)
        self._scraping.events.reloaded(successful=True)
        if self._watch is not None:
            await self._apply()

    def targets(self) -> Targets:
        """Everything that is scraped, and what is not."""
        pools = self._pools
        dropped = {name: pool.dropped() for name, pool in pools.items()}
        return Targets(
            pools=list(pools),
            active=[target for pool in pools.values() for target in pool.active()],
            dropped=[target for targets, _ in dropped.values() for target in targets],
            dropped_counts={name: count for name, (_, count) in dropped.items()},
        )

    async def _apply(self) -> None:
        """Have exactly the configuration's jobs at work."""
        wanted = {config.job_name: config for config in self._config.scrape_configs}
        for name in [name for name in self._pools if name not in wanted]:
            await self._pools.pop(name).stop(ending=True)
        before, self._pools = self._pools, {}
        for name, config in wanted.items():
            known = before.get(name)
            if known is None:
                known = ScrapePool(self._scraping, config)
                known.start()
            else:
                known.update(config)
            self._pools[name] = known

    async def _watch_files(self) -> None:
        seconds = self._scraping.options.reload_seconds
        while seconds:
            await self._scraping.sleep(seconds)
            if self._path is None:
                continue
            stamps = await asyncio.to_thread(
                _stamps, (self._path, *self._config.files), self._config.scrape_config_files
            )
            if stamps == self._stamps:
                continue
            try:
                await self.reload(self._path)
                logger.info("the configuration %s has changed and was loaded", self._path)
            except ConfigError as error:
                self._stamps = stamps
                logger.error("the changed configuration is not used, the one before goes on: %s", error)
            except Exception:  # noqa: BLE001  the next change may be one that can be used
                self._stamps = stamps
                logger.exception("the changed configuration could not be put to use")


def _stamps(files: tuple[Path, ...], patterns: tuple[str, ...]) -> dict[str, int]:
    """When each file was changed last; those that patterns match now are among them."""
    names = {str(file) for file in files} | {name for pattern in patterns for name in glob.glob(pattern)}  # noqa: PTH207
    stamps = {}
    for name in names:
        try:
            stamps[name] = Path(name).stat().st_mtime_ns
        except OSError:
            stamps[name] = 0
    return stamps
