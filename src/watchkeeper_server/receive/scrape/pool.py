"""One job: its discoveries, the targets they find, and a loop for each of these."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from watchkeeper_server.model.targets import DroppedTarget
from watchkeeper_server.model.targets import Target as TargetStatus
from watchkeeper_server.receive.scrape.config import ScrapeConfig
from watchkeeper_server.receive.scrape.discovery.groups import Discovery, TargetGroup
from watchkeeper_server.receive.scrape.discovery.static import StaticConfig
from watchkeeper_server.receive.scrape.http_client import token_source
from watchkeeper_server.receive.scrape.ingest import TargetSeries, same_rules
from watchkeeper_server.receive.scrape.loop import ScrapeLoop, Scraping, end_series
from watchkeeper_server.receive.scrape.series import series_cache
from watchkeeper_server.receive.scrape.target import Target, resolve
from watchkeeper_server.telemetry import logger

# how long after a discovery failed in a way that it did not foresee
_DISCOVER_AGAIN_SECONDS = 30.0


@dataclass(eq=False)
class _Provider:
    """A discovery at work; before it has published any, its groups are those of the one in whose place it came."""

    discovery: Discovery
    groups: Sequence[TargetGroup] = ()
    task: asyncio.Task[None] | None = None


class ScrapePool:
    """Scrapes the targets of one job."""

    def __init__(self, scraping: Scraping, config: ScrapeConfig) -> None:
        """Nothing is discovered before `start`."""
        self.config = config
        self._scraping = scraping
        self._providers: list[_Provider] = []
        self._loops: dict[tuple[object, ...], ScrapeLoop] = {}
        self._dropped: Sequence[DroppedTarget] = ()
        self._dropped_count = 0
        self._failures: Sequence[str] = ()
        self._tokens = token_source(config.http)
        self._due = False

    def start(self) -> None:
        """Begin to discover and to scrape."""
        self._provide()
        self._sync()

    def stop(self, *, ending: bool = False) -> None:
        """Stop scraping; with `ending`, because the job is gone, its series are ended in a while."""
        for provider in self._providers:
            if provider.task:
                provider.task.cancel()
        self._providers = []
        loops, self._loops = self._loops, {}
        for loop in loops.values():
            self._drop(loop, ending=ending)
        if self._tokens:
            self._tokens.close()

    def update(self, config: ScrapeConfig) -> None:
        """Go on by another configuration: discoveries that it has too go on, targets keep their series."""
        if config == self.config:
            return
        before, self.config = self.config, config
        if config.http.oauth2 != before.http.oauth2:
            if self._tokens:
                self._tokens.close()
            self._tokens = token_source(config.http)
        self._provide()
        self._sync()

    def active(self) -> list[TargetStatus]:
        """What is scraped."""
        return [loop.status() for loop in self._loops.values()]

    def dropped(self) -> tuple[Sequence[DroppedTarget], int]:
        """What relabelling dropped, as far as it is kept, and how many that were in all."""
        return self._dropped, self._dropped_count

    def _provide(self) -> None:
        """Have exactly the configuration's discoveries at work."""
        wanted = list(self.config.discoveries)
        kept, gone = [], []
        for provider in self._providers:
            if provider.discovery in wanted:
                wanted.remove(provider.discovery)
                kept.append(provider)
                continue
            gone.append(provider)
            if provider.task:
                provider.task.cancel()
        self._providers = kept
        for discovery in wanted:
            provider = _Provider(discovery)
            if isinstance(discovery, StaticConfig):
                provider.groups = [discovery.group()]
            else:
                before = next((one for one in gone if type(one.discovery) is type(discovery)), None)
                if before:
                    gone.remove(before)
                    provider.groups = before.groups
                provider.task = self._scraping.spawn(self._discover(provider))
            self._providers.append(provider)

    async def _discover(self, provider: _Provider) -> None:
        def publish(groups: Sequence[TargetGroup]) -> None:
            provider.groups = groups
            if not self._due and provider in self._providers:  # several publish at once: looked at together
                self._due = True
                asyncio.get_running_loop().call_soon(self._sync_due)

        while True:
            try:
                await provider.discovery.discover(publish, self._scraping.sleep)
            except Exception:  # noqa: BLE001  the other discoveries go on, and so does this one
                logger.exception("a discovery of job %s failed for a reason that should not be", self.config.job_name)
                await self._scraping.sleep(_DISCOVER_AGAIN_SECONDS)
            else:
                return

    def _sync_due(self) -> None:
        self._due = False
        if self._providers:
            self._sync()

    def _sync(self) -> None:
        """Have exactly the discovered targets scraped, by the present configuration.

        Series go to whoever has the labels and the URL now.
        """
        config = self.config
        groups = [group for provider in self._providers for group in provider.groups]
        discovered = resolve(config, [labels for group in groups for labels in group.merged()])
        if discovered.failures != self._failures:
            self._failures = discovered.failures
            for failure in discovered.failures:
                logger.error("job %s: creating target failed: %s", config.job_name, failure)
        before = dict(self._loops)
        loops: dict[tuple[object, ...], ScrapeLoop] = {}
        news: list[Target] = []
        for target in discovered.targets:
            known = before.get(target.identity)
            if known is not None and known.config is config:
                known.target = target  # discovery may tell other things of it now
                loops[target.identity] = before.pop(target.identity)
            elif target.identity not in loops:
                news.append(target)
        leaving: dict[object, list[tuple[object, ...]]] = {}
        for identity, loop in reversed(before.items()):
            leaving.setdefault(_key(loop.target), []).append(identity)
        for target in news:
            like = leaving.get(_key(target))
            loops[target.identity] = self._scraped(target, before.pop(like.pop()) if like else None)
        for loop in before.values():
            self._drop(loop, ending=True)
        self._loops = loops
        self._enforce_limits(discovered.dropped)

    def _enforce_limits(self, dropped: Sequence[Mapping[str, str]]) -> None:
        limits, count = self.config.limits, len(self._loops)
        error = ""
        if limits.target_limit and count > limits.target_limit:
            error = f"target_limit exceeded (number of targets: {count}, limit: {limits.target_limit})"
        for loop in self._loops.values():
            loop.forced_error = error
        self._dropped_count = len(dropped)
        kept = dropped[: limits.keep_dropped_targets or None]
        self._dropped = [DroppedTarget(self.config.job_name, labels) for labels in kept]

    def _scraped(self, target: Target, before: ScrapeLoop | None) -> ScrapeLoop:
        """A loop for a target, with the series of the one before it, which ends."""
        if before is None:
            series = TargetSeries(series_cache(self.config, target.labels))
        elif same_rules(before.config, self.config):
            series = before.series
        else:
            series = before.series.successor(series_cache(self.config, target.labels))
        if before is not None:
            self._drop(before, ending=False)
        loop = ScrapeLoop(self._scraping, self.config, target, series, self._tokens)
        loop.start()
        return loop

    def _drop(self, loop: ScrapeLoop, *, ending: bool) -> None:
        loop.stop()
        if ending:
            self._scraping.spawn(end_series(self._scraping, loop))


def _key(target: Target) -> object:
    """What two targets share whose series are the same."""
    return target.url, *sorted(target.labels.items())
