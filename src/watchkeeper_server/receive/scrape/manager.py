"""All of scraping: reads `prometheus.yml`, again whenever it changes, and scrapes by it.

A file that cannot be used is refused with its message, and the configuration before it goes on. Jobs that a new
configuration leaves as they were are not touched.
"""

from __future__ import annotations

import asyncio
import glob
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from watchkeeper_server.model.targets import Targets
from watchkeeper_server.receive.scrape.config import Config, Stamp, load_config, stamp
from watchkeeper_server.receive.scrape.discovery.groups import Sleep
from watchkeeper_server.receive.scrape.events import ScrapeEvents, Unheard
from watchkeeper_server.receive.scrape.loop import Scraping
from watchkeeper_server.receive.scrape.options import ScrapeOptions
from watchkeeper_server.receive.scrape.pool import ScrapePool
from watchkeeper_server.receive.scrape.scraped import Scraped
from watchkeeper_server.receive.scrape.yaml_reader import ConfigError
from watchkeeper_server.telemetry import logger


class ScrapeManager:
    """Scrapes what a configuration file says."""

    def __init__(
        self,
        write: Callable[[Scraped], Awaitable[str]],
        now: Callable[[], float],
        *,
        sleep: Sleep = asyncio.sleep,
        options: ScrapeOptions | None = None,
        events: ScrapeEvents | None = None,
    ) -> None:
        """Nothing is scraped before a configuration is loaded and `start` called, in either order.

        Args:
            write: makes a scrape durable, and answers what of it was left out and why, '' if nothing; a
                WatchkeeperError drops that scrape, and it is counted.
            now: Unix seconds.
            sleep: waits for so many seconds.
            options: what the file does not say.
            events: told of each scrape.
        """
        options = options or ScrapeOptions()
        self._scraping = Scraping(write, now, sleep, options, events or Unheard())
        self._path: Path | None = None
        self._config = Config()
        self._pools: Mapping[str, ScrapePool] = {}
        self._watch: asyncio.Task[None] | None = None
        self._stamps: Mapping[str, Stamp] = {}
        self._loading = asyncio.Lock()  # one at a time: a signal may come while a change is noticed

    @property
    def config(self) -> Config:
        """The configuration in use."""
        return self._config

    async def start(self) -> None:
        """Scrape by the configuration that is or will be loaded, and watch its files."""
        async with self._loading:
            self._watch = asyncio.create_task(self._watch_files(), name="watch configuration")
            self._apply()

    async def stop(self) -> None:
        """Stop scraping; idempotent. Series are not ended: after a restart they go on."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            await asyncio.wait([watch])
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.stop()
        while background := list(self._scraping.background):  # what ends may have begun something
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)

    async def reload(self, path: Path) -> None:
        """Go on by a configuration file.

        Raises:
            ConfigError: it cannot be used; the configuration before it goes on.
        """
        async with self._loading:
            self._path = path
            await self._load(path, await asyncio.to_thread(self._stamped, path))

    async def _load(self, path: Path, stamps: Mapping[str, Stamp]) -> None:
        """Read the file, which was like this before."""
        self._stamps = stamps
        try:
            self._config = await asyncio.to_thread(load_config, path)
        except ConfigError:
            self._scraping.events.reloaded(successful=False)
            raise
        self._stamps = self._config.files  # stamped before each was read: what changed meanwhile is read again
        self._scraping.events.reloaded(successful=True)
        if self._watch is not None:  # else it is stopped, or not started yet
            self._apply()

    def targets(self) -> Targets:
        """Everything that is scraped, and what is not; from any thread."""
        pools = self._pools
        dropped = {name: pool.dropped() for name, pool in pools.items()}
        return Targets(
            pools=list(pools),
            active=[target for pool in pools.values() for target in pool.active()],
            dropped=[target for targets, _ in dropped.values() for target in targets],
            dropped_counts={name: count for name, (_, count) in dropped.items()},
        )

    def _apply(self) -> None:
        """Have exactly the configuration's jobs at work."""
        wanted = {config.job_name: config for config in self._config.scrape_configs}
        before, pools = self._pools, {}
        for name, config in wanted.items():
            known = before.get(name)
            if known is None:
                known = ScrapePool(self._scraping, config)
                known.start()
            else:
                known.update(config)
            pools[name] = known
        self._pools = pools  # at once: threads look at them
        for name in before.keys() - pools.keys():
            before[name].stop(ending=True)

    async def _watch_files(self) -> None:
        seconds = self._scraping.options.reload_seconds
        while seconds:
            await self._scraping.sleep(seconds)
            async with self._loading:
                await self._look()

    async def _look(self) -> None:
        """Load the files again if one has changed."""
        path = self._path
        if path is None:
            return
        stamps = await asyncio.to_thread(self._stamped, path)
        if stamps == self._stamps:
            return
        try:
            await self._load(path, stamps)
            logger.info("the configuration %s has changed and was loaded", path)
        except ConfigError as error:
            logger.error("the changed configuration is not used, the one before goes on: %s", error)
        except Exception:  # noqa: BLE001  the next change may be one that can be used
            self._stamps = stamps
            logger.exception("the changed configuration could not be put to use")

    def _stamped(self, path: Path) -> Mapping[str, Stamp]:
        """Every file of the configuration as it is now, those that its patterns match now among them."""
        names = {str(path), *self._config.files}
        names.update(*map(glob.glob, self._config.scrape_config_files))
        return {name: stamp(name) for name in names}
