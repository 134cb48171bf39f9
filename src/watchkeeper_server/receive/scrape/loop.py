"""One target, scraped at its own moment of each interval, with `up` and its like about each scrape."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from watchkeeper_server.model.errors import WatchkeeperError
from watchkeeper_server.model.targets import Health
from watchkeeper_server.model.targets import Metadata as TargetMetadata
from watchkeeper_server.model.targets import Target as TargetStatus
from watchkeeper_server.receive.exposition.content import accept_header, format_of
from watchkeeper_server.receive.exposition.exposed import Exposed, ExpositionError
from watchkeeper_server.receive.exposition.push import parse
from watchkeeper_server.receive.scrape.config import ScrapeConfig
from watchkeeper_server.receive.scrape.discovery.groups import Sleep
from watchkeeper_server.receive.scrape.events import ScrapeEvents
from watchkeeper_server.receive.scrape.http_client import (
    BodySizeError,
    FetchError,
    HttpClient,
    Response,
    TokenSource,
)
from watchkeeper_server.receive.scrape.ingest import Taken, TargetSeries, Window
from watchkeeper_server.receive.scrape.options import ScrapeOptions
from watchkeeper_server.receive.scrape.scraped import KeptSeries, Scraped
from watchkeeper_server.receive.scrape.series import report_head
from watchkeeper_server.receive.scrape.target import Target
from watchkeeper_server.receive.scrape.units import format_duration
from watchkeeper_server.telemetry import logger

_Result = TypeVar("_Result")
# Larger bodies are read in a thread, so that other targets go on. Reading this much takes some 5 ms, of series not seen
# before too.
_QUICK_BYTES, _QUICK_NEW_BYTES = 1024 * 1024, 8 * 1024
# A scrape that begins this late still counts as on time: even spaces between samples are stored in less room.
_TOLERANCE_SECONDS = 0.02
_REPORTS = (
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
)
_EXTRA_REPORTS = ("scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes")


@dataclass(frozen=True)
class Scraping:
    """What all jobs share.

    Attributes:
        write: makes a scrape durable and answers what of it was left out, '' if nothing; or raises a WatchkeeperError.
        now: Unix seconds.
        sleep: waits for that many seconds.
        loops: every target of every job that is scraped now.
        background: all that is at work, until it ends by itself or scraping stops.
    """

    write: Callable[[Scraped], Awaitable[str]]
    now: Callable[[], float]
    sleep: Sleep
    options: ScrapeOptions
    events: ScrapeEvents
    loops: set[ScrapeLoop] = field(default_factory=set)
    background: set[asyncio.Task[None]] = field(default_factory=set)

    def spawn(self, work: Coroutine[Any, Any, None], name: str | None = None) -> asyncio.Task[None]:
        """Do something in the background."""
        task = asyncio.create_task(work, name=name)
        self.background.add(task)
        task.add_done_callback(self.background.discard)
        return task


class ScrapeLoop:
    """Scrapes one target until it is stopped."""

    def __init__(
        self,
        scraping: Scraping,
        config: ScrapeConfig,
        target: Target,
        series: TargetSeries,
        tokens: TokenSource | None = None,
    ) -> None:
        """Nothing is scraped before `start`."""
        self.target = target
        self.series = series
        self.forced_error = ""  # why the target is not even asked
        self.last_tick: float | None = None
        self._scraping = scraping
        self.config = config
        self._client = HttpClient(config.http, tokens)
        self._task: asyncio.Task[None] | None = None
        self._health = Health.UNKNOWN
        self._last_error = ""
        self._kept = KeptSeries(())
        self._kept_of: tuple[bytes, ...] | None = None
        self._last_left_out = ""
        self._last_scrape_ns: int | None = None
        self._last_seconds = 0.0
        extra = scraping.options.extra_metrics or bool(config.reading.extra_scrape_metrics)
        names = _REPORTS + _EXTRA_REPORTS if extra else _REPORTS
        self.reports = [report_head(name, target.labels) for name in names]
        self._headers = {
            "accept": accept_header(config.scrape_protocols, config.metric_name_escaping_scheme),
            "accept-encoding": "gzip, zstd;q=0.9" if config.enable_compression else "identity",
            "x-prometheus-scrape-timeout-seconds": f"{target.timeout / 1000:g}",
        }
        self._most_bytes = config.limits.body_size_limit or scraping.options.largest_body_bytes

    def start(self) -> None:
        """Begin with the next moment that is the target's."""
        self._scraping.loops.add(self)
        self._task = self._scraping.spawn(self._run(), f"scrape {self.target.shown_url}")

    def stop(self) -> None:
        """End, a scrape in hand included."""
        self._scraping.loops.discard(self)
        if self._task:
            self._task.cancel()

    def status(self) -> TargetStatus:
        """The target and how its last scrape went; from any thread."""
        metadata = dict(self.series.cache.metadata).items()  # a copy, made at once: a scrape may add to it
        return TargetStatus(
            pool=self.config.job_name,
            url=self.target.shown_url,
            labels=self.target.labels,
            discovered_labels=self.target.shown_labels,
            interval=format_duration(self.target.interval),
            timeout=format_duration(self.target.timeout),
            health=self._health,
            last_error=self._last_error,
            last_scrape_ns=self._last_scrape_ns,
            last_scrape_seconds=self._last_seconds,
            metadata={name: TargetMetadata(type=what.type, help=what.help, unit=what.unit) for name, what in metadata},
        )

    async def _run(self) -> None:
        with closing(self._client):
            while True:
                tick = next_tick(self._scraping.now(), self.target, self._scraping.options.jitter, self.last_tick)
                # no longer than an interval, even if the clock was set back
                await self._scraping.sleep(max(0.0, min(tick - self._scraping.now(), 2 * self.target.interval / 1000)))
                now = self._scraping.now()
                self.last_tick = now if abs(now - tick) > _TOLERANCE_SECONDS else tick
                try:
                    await self._scrape(self.last_tick)
                except Exception:  # noqa: BLE001  one target's trouble is its own
                    logger.exception("scraping %s failed for a reason that should not be", self.target.shown_url)

    async def _scrape(self, time: float) -> None:
        time_ms = round(time * 1000)
        clock = asyncio.get_running_loop().time
        started = clock()
        error, size_bytes, taken = "", 0, Taken()
        try:
            if self.forced_error:
                raise FetchError(self.forced_error)
            response = await self._client.get(
                self.target.url,
                self._headers,
                most_bytes=self._most_bytes,
                timeout_seconds=self.target.timeout / 1000,
            )
            size_bytes = len(response.body)
            taken = await self._taken(response, time_ms)
            self._scraping.events.scraped(self.config.job_name, taken.scraped, size_bytes)
        except Exception as failure:  # noqa: BLE001  whatever it was, the target is down
            error = str(failure) or type(failure).__name__
            size_bytes = -1 if isinstance(failure, BodySizeError) else 0
            taken = await self._failed(failure, error, time)
        seconds = clock() - started
        self._health = Health.DOWN if error else Health.UP
        self._last_error, self._last_scrape_ns, self._last_seconds = error, time_ms * 1_000_000, seconds
        values = [0.0 if error else 1.0, seconds, taken.scraped, taken.kept, taken.added]
        values += [self.target.timeout / 1000, self.config.limits.sample_limit, size_bytes]
        await self._write(taken, values[: len(self.reports)], time_ms)

    async def _write(self, taken: Taken, reports: Sequence[float], time_ms: int) -> None:
        """Store what a scrape brought and how it went."""
        events, job = self._scraping.events, self.config.job_name
        for reason, samples in taken.left_out.items():
            events.left_out(job, reason, samples)
        if taken.heads is not self._kept_of:
            self._kept_of, self._kept = taken.heads, KeptSeries((*taken.heads, *self.reports))
        try:
            left_out = await self._scraping.write(
                Scraped(self._kept, np.concatenate([taken.values, reports]), time_ms, taken.others, taken.ended)
            )
        except WatchkeeperError as failure:
            self.series.not_written()
            events.not_written(job)
            logger.warning("a scrape of %s is dropped: %s", self.target.shown_url, failure)
            return
        except asyncio.CancelledError:
            self.series.not_written()  # or perhaps it was: saying things twice does no harm
            raise
        self._kept.stored = not left_out
        if left_out != self._last_left_out:
            self._last_left_out = left_out
            if left_out:
                logger.warning("scraping %s: %s", self.target.shown_url, left_out)
        if left_out and not self._last_error:
            self._last_error = left_out

    async def _taken(self, response: Response, time_ms: int) -> Taken:
        """What a response holds; until it has been read, nobody else reads with what the target has taught."""
        async with self.series.reading:
            if len(response.body) <= (_QUICK_BYTES if self.series.cache.heads else _QUICK_NEW_BYTES):
                return self._read(response, time_ms)
            try:
                return await _in_thread(self._read, response, time_ms)
            except asyncio.CancelledError:
                self.series.not_written()
                raise

    def _read(self, response: Response, time_ms: int) -> Taken:
        """The same; in any thread."""
        options, exposed = self._scraping.options, Exposed()
        window = Window(time_ms - round(options.past_seconds * 1000), time_ms + round(options.future_seconds * 1000))
        if response.body:
            body_format = format_of(response.content_type, self.config.fallback_scrape_protocol)
            exposed = parse(response.body, body_format, self.series.cache)
        return self.series.take(exposed, self.config, time_ms, window)

    async def _failed(self, failure: Exception, error: str, time: float) -> Taken:
        """What there is to store of a scrape that failed: the end of every series."""
        scraped = kept = 0
        if not isinstance(failure, (FetchError, ExpositionError)):
            logger.exception("scraping %s failed for a reason that should not be", self.target.shown_url)
        self._scraping.events.failed(self.config.job_name)
        self._log_failure(error, time)
        async with self.series.reading:  # a scrape given up may still be
            if isinstance(failure, ExpositionError):
                self.series.cache.forget(())  # what the lines before the bad one taught it may never come again
                scraped, kept = failure.scraped, failure.kept
            return Taken(ended=self.series.fail(), scraped=scraped, kept=kept)

    def _log_failure(self, error: str, time: float) -> None:
        file = self.config.scrape_failure_log_file
        if not file:
            return
        line = {
            "time": datetime.fromtimestamp(time, UTC).isoformat(),
            "level": "ERROR",
            "msg": error,
            "job_name": self.config.job_name,
            "target": self.target.shown_url,
        }
        try:
            with Path(file).open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
        except OSError as failure:
            logger.warning("scrape_failure_log_file %s cannot be written: %s", file, failure.strerror)


async def _in_thread(work: Callable[..., _Result], *arguments: object) -> _Result:
    """Work in a thread; who is cancelled goes only when it is done, as a thread cannot be stopped."""
    working = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        while not working.done():
            with suppress(asyncio.CancelledError):  # once is enough
                await asyncio.wait([working])
        if not working.cancelled():
            working.exception()  # looked at, so that nobody warns of one
        raise


def next_tick(now: float, target: Target, jitter: int, last: float | None = None) -> float:
    """The target's next moment, Unix seconds: at the same offset in each interval since 1970.

    It depends on nothing but the time, so that neither a late scrape nor a clock that was set moves the next.
    """
    interval, offset = target.interval / 1000, target.offset_ms(jitter) / 1000
    tick = (math.floor((now - offset) / interval) + 1) * interval + offset
    if last is not None and 0 <= tick - last < interval / 2:  # woken a little early, the last one is still ahead
        tick += interval
    return tick


async def end_series(scraping: Scraping, loop: ScrapeLoop) -> None:
    """Write that a target's series have ended, once it is sure that it has not come back.

    Waits a little more than two intervals, as the target may reappear in another scrape pool or under another
    address. What any loop scrapes by then has not ended. If it cannot be written, it is tried once more, an interval
    later.
    """
    if loop.last_tick is None:
        return
    interval = loop.target.interval / 1000
    time_ms = round((loop.last_tick + interval) * 1000)
    for wait_seconds in (2.1 * interval, interval):
        await scraping.sleep(wait_seconds)
        heirs = [other for other in scraping.loops if other.target.labels == loop.target.labels]
        ended = loop.series.tracked.union(() if heirs else loop.reports)
        ended = ended.difference(*(other.series.tracked for other in heirs))
        try:
            await scraping.write(Scraped(KeptSeries(()), np.empty(0), time_ms, ended=ended))
        except WatchkeeperError as failure:
            logger.warning("the end of %s is not stored: %s", loop.target.shown_url, failure)
        else:
            return
    scraping.events.not_written(loop.config.job_name)
