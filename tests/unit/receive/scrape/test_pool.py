from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from support.scraping import Clock, Written
from watchkeeper_server.receive.scrape import pool
from watchkeeper_server.receive.scrape.config import GlobalConfig, ScrapeConfig
from watchkeeper_server.receive.scrape.discovery.static import StaticConfig
from watchkeeper_server.receive.scrape.events import Unheard
from watchkeeper_server.receive.scrape.http_config import HttpConfig
from watchkeeper_server.receive.scrape.loop import Scraping
from watchkeeper_server.receive.scrape.options import ScrapeOptions
from watchkeeper_server.receive.scrape.pool import ScrapePool
from watchkeeper_server.receive.scrape.target import Target

TARGETS = 100


def job(labels: Mapping[str, str], **fields: object) -> ScrapeConfig:
    static = StaticConfig(tuple(f"host-{i}:80" for i in range(TARGETS)), labels)
    return ScrapeConfig(job_name="j", static_configs=(static,), **fields).completed(GlobalConfig())  # type: ignore[arg-type]  a table of cases


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        (job({"env": "b"}), False),
        (job({"env": "a"}, http=HttpConfig(follow_redirects=False)), True),
    ],
)
async def test_changing_all_targets_compares_each_with_those_like_it_alone(
    changed: ScrapeConfig, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[Target] = []
    key = pool._key

    def counted(target: Target) -> object:
        compared.append(target)
        return key(target)

    monkeypatch.setattr(pool, "_key", counted)
    clock = Clock()
    scraping = Scraping(Written(), clock.now, clock.sleep, ScrapeOptions(), Unheard())
    scraped = ScrapePool(scraping, job({"env": "a"}))
    scraped.start()
    before = {loop.target.url: loop.series for loop in scraping.loops}
    compared.clear()
    scraped.update(changed)
    after = {loop.target.url: loop.series for loop in scraping.loops}
    assert len(compared) <= 2 * TARGETS
    assert len(after) == TARGETS
    assert (after == before) is kept
    scraped.stop()
    for task in scraping.background:
        task.cancel()
    await asyncio.sleep(0)
