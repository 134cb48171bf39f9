"""Scraping whole: a manager, real HTTP targets, a clock that is turned by hand."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

from support.ports import unused_port
from support.scrape_manager import job, scraping
from support.scraping import STALE, Clock, Reply, Written, samples, serving, text, until, values
from watchkeeper_server.model.errors import BacklogFullError
from watchkeeper_server.model.targets import Health
from watchkeeper_server.receive.scrape import manager
from watchkeeper_server.receive.scrape.config import Config, load_config
from watchkeeper_server.receive.scrape.discovery.file import FileDiscovery
from watchkeeper_server.receive.scrape.manager import ScrapeManager
from watchkeeper_server.receive.scrape.options import ScrapeOptions
from watchkeeper_server.receive.scrape.yaml_reader import ConfigError

EXPORTER = shutil.which("prometheus-node-exporter")


async def test_a_scrape_writes_its_samples_and_how_it_went(tmp_path: Path) -> None:
    async with serving(text("# TYPE a counter\n# HELP a A.\na 1\na 2\nb 2\n")) as server, scraping(tmp_path) as running:
        await running.load(job(server.address))
        assert running.target().health is Health.UNKNOWN
        [request] = await running.scrape()
        labels = f'{{instance="{server.address}",job="j"}}'
        got = {name.removesuffix(labels): value for name, value in values(request).items()}
        assert 0 < float(got.pop("scrape_duration_seconds")) < 2
        assert got == {
            "a": 1.0,
            "b": 2.0,
            "up": 1.0,
            "scrape_samples_scraped": 3.0,
            "scrape_samples_post_metric_relabeling": 3.0,
            "scrape_series_added": 2.0,
        }
        assert len({time for _, time, _ in samples(request)}) == 1
        target = running.target()
        assert (target.health, target.last_error, target.interval, target.timeout) == (Health.UP, "", "10s", "2s")
        assert target.url == f"http://{server.address}/metrics"
        assert target.metadata["a"] == {"type": "counter", "help": "A.", "unit": ""}
        assert running.events.told[1:] == [("scraped", "j", 3, 41), ("left_out", "j", "duplicate", 1)]
        sent = server.requests[0].headers
        assert sent["x-prometheus-scrape-timeout-seconds"] == "2"
        assert sent["accept"].startswith("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,")
        assert "gzip" in sent["accept-encoding"]


async def test_scrapes_are_an_interval_apart_to_the_millisecond(tmp_path: Path) -> None:
    async with serving(text("a 1\n")) as server, scraping(tmp_path) as running:
        await running.load(job(server.address))
        times = [samples((await running.scrape())[0])[0][1] for _ in range(4)]
        assert [after - before for before, after in pairwise(times)] == [10_000] * 3


@pytest.mark.parametrize(
    ("reply", "message", "scraped", "kept"),
    [
        (Reply(status="500 Oops"), "server returned HTTP status 500 Oops", 0, 0),
        # from here on as Prometheus 2.42 counts what it does not store
        (text("a 1\ndropped 1\nb one\nc 1\n"), "line 3: expected a number, got 'one'", 2, 1),
        (text("a 1\ndropped 1\nb{ 1\nc 1\n"), "line 3: ", 2, 1),
        (text('a 1\nb{x="1",y="2",z="3",w="4"} 1\nc 1\n'), "label_limit exceeded", 2, 1),
        (text("".join(f"m{i} 1\n" for i in range(11)) + "dropped 1\n"), "sample limit exceeded", 12, 11),
        (Reply(b"<html>", headers={"Content-Type": "text/html"}), "unsupported Content-Type .text/html.", 0, 0),
        (Reply(b"a 1\n", headers={}), "blank Content-Type", 0, 0),
        (Reply(raw=b"nonsense\r\n\r\n"), 'Get "http://127.0.0.1', 0, 0),
        (text("a 1\n" * 20_000), "body size limit exceeded", 0, 0),
    ],
)  # fmt: skip
async def test_a_bad_answer_fails_that_scrape_alone_and_ends_the_series(
    tmp_path: Path, reply: Reply, message: str, scraped: int, kept: int
) -> None:
    async with serving(text("a 1\n")) as server, scraping(tmp_path) as running:
        limits = "  body_size_limit: 64KB\n  sample_limit: 10\n  label_limit: 6\n"
        rules = "  metric_relabel_configs: [{source_labels: [__name__], regex: dropped, action: drop}]\n"
        await running.load(job(server.address, limits + rules))
        labels = f'{{instance="{server.address}",job="j"}}'
        await running.scrape()
        server.answer = reply
        got = await running.scraped()
        assert (got[f"a{labels}"], got[f"up{labels}"]) == (STALE, 0.0)
        assert got[f"scrape_samples_scraped{labels}"] == scraped
        assert got[f"scrape_samples_post_metric_relabeling{labels}"] == kept
        target = running.target()
        assert target.health is Health.DOWN
        assert re.search(message, target.last_error)
        server.answer = text("a 3\n")
        got = await running.scraped()
        assert (got[f"a{labels}"], got[f"up{labels}"]) == (3.0, 1.0)


async def test_an_empty_answer_is_a_scrape_without_samples(tmp_path: Path) -> None:
    async with serving(text("a 1\n")) as server, scraping(tmp_path) as running:
        await running.load(job(server.address))
        await running.scrape()
        server.answer = Reply(b"", headers={})
        got = await running.scraped()
        labels = f'{{instance="{server.address}",job="j"}}'
        assert (got[f"a{labels}"], got[f"up{labels}"]) == (STALE, 1.0)


async def test_extra_metrics_are_written_where_they_are_wanted(tmp_path: Path) -> None:
    async with serving(text("a 1\n")) as server, scraping(tmp_path) as running:
        await running.load(job(server.address, "  extra_scrape_metrics: true\n  sample_limit: 9\n"))
        got = {name.partition("{")[0]: value for name, value in (await running.scraped()).items()}
        assert (got["scrape_timeout_seconds"], got["scrape_sample_limit"]) == (2.0, 9.0)
        assert got["scrape_body_size_bytes"] == 4.0


async def test_a_target_that_hangs_delays_no_other(tmp_path: Path) -> None:
    hangs = asyncio.Event()
    async with serving(Reply(delay=hangs)) as slow, serving(text("a 1\n")) as quick, scraping(tmp_path) as running:
        more = f"- job_name: slow\n  static_configs: [{{targets: ['{slow.address}']}}]\n"
        await running.load(job(quick.address, more))
        for _ in range(3):
            [request] = await running.scrape()
            assert f'up{{instance="{quick.address}",job="j"}}' in values(request)
        assert len(slow.requests) == 1  # asked once, and not again while it hangs
        hangs.set()


async def test_a_backlog_drops_scrapes_and_counts_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(text("# TYPE a gauge\na 1\nb 1\n")) as server, scraping(tmp_path) as running:
        await running.load(job(server.address))
        await running.scrape()
        running.written.refusal = BacklogFullError("busy", 1)
        server.answer = text("# TYPE a gauge\na 2\n")
        assert await running.scrape() == await running.scrape() == []
        assert running.events.told.count(("not_written", "j")) == 2
        assert "is dropped: busy" in caplog.text
        running.written.refusal = None
        got = await running.scraped()
        labels = f'{{instance="{server.address}",job="j"}}'
        assert (got[f"a{labels}"], got[f"b{labels}"]) == (2.0, STALE)


async def test_a_target_that_is_gone_is_ended_after_two_intervals(tmp_path: Path) -> None:
    targets = tmp_path / "t.json"
    async with serving(text("a 1\n")) as server, scraping(tmp_path) as running:
        targets.write_text(json.dumps([{"targets": [server.address]}]))
        await running.load(f"scrape_configs: [{{job_name: j, file_sd_configs: [{{files: ['{targets}']}}]}}]\n")
        await until(lambda: running.manager.targets().active)
        await running.scrape()
        targets.write_text("[]")
        os.utime(targets, ns=(1, 1))
        await running.clock.advance(5)
        await until(lambda: not running.manager.targets().active)
        before = len(running.written.requests)
        last = samples(running.written.requests[-1])[0][1]
        await running.clock.advance(20)
        assert len(running.written.requests) == before
        await running.clock.advance(2)
        await until(lambda: len(running.written.requests) > before)
        ended = samples(running.written.requests[-1])
        assert {value for _, _, value in ended} == {STALE}
        # when the next scrape would have been; one more than that if one was under way
        assert {time for _, time, _ in ended} in ({last + 10_000}, {last + 20_000})
        assert {name.partition("{")[0] for name, _, _ in ended} >= {"a", "up", "scrape_duration_seconds"}


async def test_targets_that_differ_only_in_what_is_discovered_are_scraped_once_each(tmp_path: Path) -> None:
    def loops() -> int:
        return sum(task.get_name().startswith("scrape ") for task in asyncio.all_tasks())

    targets = tmp_path / "t.json"
    async with serving(text("a 1\n")) as server, scraping(tmp_path) as running:

        def discovered() -> set[str]:
            return {target.discovered_labels["__tmp_a"] for target in running.manager.targets().active}

        async def discover(*labels: str) -> None:
            groups = [{"targets": [server.address], "labels": {"__tmp_a": label}} for label in labels]
            targets.write_text(json.dumps(groups))
            os.utime(targets, ns=(1, next(stamps)))
            while discovered() != set(labels):
                await running.clock.advance(5)
                await asyncio.sleep(0.005)

        stamps = iter(range(1, 100))
        targets.write_text("[]")
        await running.load(f"scrape_configs: [{{job_name: j, file_sd_configs: [{{files: ['{targets}']}}]}}]\n")
        for i in range(4):
            await discover("same", f"changed {i}")
            await running.settle()
            assert loops() == 2
        await discover()
        await running.settle()
        assert loops() == 0


async def test_a_discovery_that_fails_unforeseen_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    targets = tmp_path / "t.json"
    failures = iter([RuntimeError("out of the blue")])
    ask = FileDiscovery.discover

    async def discover(self: FileDiscovery, *arguments: Any) -> None:
        for failure in failures:
            raise failure
        await ask(self, *arguments)

    monkeypatch.setattr(FileDiscovery, "discover", discover)
    async with serving(text("a 1\n")) as server, scraping(tmp_path) as running:
        targets.write_text(json.dumps([{"targets": [server.address]}]))
        await running.load(f"scrape_configs: [{{job_name: j, file_sd_configs: [{{files: ['{targets}']}}]}}]\n")
        await until(lambda: "out of the blue" in caplog.text)
        while not running.manager.targets().active:
            await running.clock.advance(30)
            await asyncio.sleep(0.005)


async def test_what_a_bad_exposition_taught_is_forgotten(tmp_path: Path) -> None:
    async with serving(text("a 1\n")) as server, scraping(tmp_path) as running:
        await running.load(job(server.address))
        await running.scrape()
        [pool] = running.manager._pools.values()
        [loop] = pool._loops.values()
        for i in range(5):
            lines = "".join(f'fresh{{i="{i}_{n}"}} 1\n' for n in range(3000))
            server.answer = text(f"{lines}bad line here\n")
            await running.scrape()
        assert len(loop.series.cache.heads) < 3000


async def test_a_target_that_comes_back_in_time_is_not_ended(tmp_path: Path) -> None:
    targets = tmp_path / "t.json"
    async with serving(text("a 1\n")) as server, scraping(tmp_path) as running:
        targets.write_text(json.dumps([{"targets": [server.address]}]))
        config = f"scrape_configs: [{{job_name: j, file_sd_configs: [{{files: ['{targets}']}}]}}]\n"
        await running.load(config)
        await until(lambda: running.manager.targets().active)
        await running.scrape()
        for content, stamp in (("[]", 1), (targets.read_text(), 2)):
            targets.write_text(content)
            os.utime(targets, ns=(stamp, stamp))
            await running.clock.advance(5)
            await until(lambda wanted=content: bool(running.manager.targets().active) == (wanted != "[]"))  # type: ignore[misc]
        before = len(running.written.requests)
        await running.scrape()
        await running.scrape()
        await running.clock.advance(10)
        await running.settle()
        values_written = [v for request in running.written.requests[before:] for _, _, v in samples(request)]
        assert STALE not in values_written


async def test_a_reload_keeps_what_did_not_change_and_refuses_what_is_wrong(tmp_path: Path) -> None:
    async with serving(text("a 1\n")) as server, scraping(tmp_path) as running:
        await running.load(job(server.address))
        await running.scrape()
        more = f"- job_name: more\n  static_configs: [{{targets: ['{server.address}']}}]\n"
        await running.load(job(server.address, more))
        first, second = await running.scrape(2)
        added = [v for r in (first, second) for n, v in values(r).items() if n.startswith("scrape_series_added")]
        assert sorted(map(float, added)) == [0.0, 1.0]
        with pytest.raises(ConfigError, match="line 5: field nonsense not found"):
            await running.load(job(server.address, "  nonsense: 1\n"))
        assert running.manager.targets().pools == ["j", "more"]
        assert len(await running.scrape(2)) == 2
        assert server.connections == 2
        assert ("reloaded", False) in running.events.told


async def test_a_target_taken_out_of_a_job_is_ended_and_the_others_go_on(tmp_path: Path) -> None:
    async with serving(text("a 1\n")) as kept, serving(text("a 1\n")) as gone, scraping(tmp_path) as running:
        await running.load(job(f"{kept.address}','{gone.address}"))
        await running.scrape(2)
        await running.load(job(kept.address))
        got = await running.scraped()
        assert got[f'scrape_series_added{{instance="{kept.address}",job="j"}}'] == 0.0
        assert STALE not in got.values()
        before = len(running.written.requests)
        await running.scrape()
        await running.scrape()
        await until(lambda: len(running.written.requests) >= before + 3)
        ended = [name for r in running.written.requests[before:] for name, _, value in samples(r) if value == STALE]
        assert f'a{{instance="{gone.address}",job="j"}}' in ended
        assert all(gone.address in name for name in ended)


async def test_targets_go_on_while_a_changed_discovery_has_not_spoken(tmp_path: Path) -> None:
    answered = asyncio.Event()
    json_type = {"Content-Type": "application/json"}
    async with serving(text("a 1\n")) as server, scraping(tmp_path) as running:
        content = json.dumps([{"targets": [server.address]}]).encode()
        async with serving(Reply(content, headers=json_type)) as discovery:
            sd = f"scrape_configs: [{{job_name: j, http_sd_configs: [{{url: 'http://{discovery.address}/%s'}}]}}]\n"
            await running.load(sd % "a")
            await until(lambda: running.manager.targets().active)
            await running.scrape()
            discovery.answer = Reply(content, headers=json_type, delay=answered)
            await running.load(sd % "b")
            await until(lambda: len(discovery.requests) == 2)
            got = await running.scraped()
            assert got[f'a{{instance="{server.address}",job="j"}}'] == 1.0
            answered.set()
            meta = f"http://{discovery.address}/b"
            await until(lambda: running.target().discovered_labels["__meta_url"] == meta)
            got = await running.scraped()
            assert got[f'scrape_series_added{{instance="{server.address}",job="j"}}'] == 0.0


async def test_a_discovery_that_never_answers_keeps_no_targets_of_others(tmp_path: Path) -> None:
    json_type = {"Content-Type": "application/json"}
    async with serving(text("a 1\n")) as server, scraping(tmp_path) as running:
        content = json.dumps([{"targets": [server.address]}]).encode()
        async with (
            serving(Reply(content, headers=json_type)) as discovery,
            serving(Reply(delay=asyncio.Event())) as mute,
        ):
            await running.load(f"""scrape_configs:
- job_name: j
  http_sd_configs:
  - {{url: 'http://{mute.address}/'}}
  - {{url: 'http://{discovery.address}/', refresh_interval: 10s}}
""")
            await until(lambda: running.manager.targets().active)
            await running.scrape()
            discovery.answer = Reply(b"[]", headers=json_type)
            await running.clock.advance(10)
            await until(lambda: not running.manager.targets().active)
            await running.load(f"""scrape_configs:
- job_name: j
  static_configs: [{{targets: ['{server.address}']}}]
  http_sd_configs: [{{url: 'http://{mute.address}/'}}]
""")
            await until(lambda: running.manager.targets().active)
            await running.load(
                f"scrape_configs: [{{job_name: j, http_sd_configs: [{{url: 'http://{mute.address}/'}}]}}]"
            )
            assert not running.manager.targets().active


async def test_what_the_receiver_leaves_out_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(text("a 1\n")) as server, scraping(tmp_path) as running:
        await running.load(job(server.address))
        running.written.left_out = "1 left out, the rest is stored: a{}: 200 labels, the most allowed is 128"
        for _ in range(3):
            await running.scrape()
            await running.settle()
        assert running.target().last_error == running.written.left_out
        assert running.target().health is Health.UP
        assert caplog.text.count("the most allowed is 128") == 1
        running.written.left_out = ""
        await running.scrape()
        await running.settle()
        assert not running.target().last_error


async def test_a_password_in_an_address_is_used_and_shown_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = Reply(status="404 Gone")
    async with serving(text("a 1\n")) as server, serving(gone) as discovery, scraping(tmp_path) as running:
        await running.load(f"""scrape_configs:
- job_name: j
  static_configs: [{{targets: ['me:hunter2@{server.address}']}}]
  http_sd_configs: [{{url: 'http://me:hunter2@{discovery.address}/'}}]
""")
        got = await running.scraped()
        assert got[f'a{{instance="{server.address}",job="j"}}'] == 1.0
        assert server.requests[-1].headers["authorization"] == "basic bwu6ahvudgvymg=="
        server.answer = Reply(status="500 Oh")
        await running.scrape()
        await running.settle()
        await until(lambda: "is left as it was" in caplog.text)
        for told in (repr(running.manager.targets()), caplog.text, running.manager.config.shown):
            assert "hunter2" not in told
            assert "<secret>" in told


async def test_a_file_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(path: Path) -> Config:
        config = load_config(path)
        path.write_text(path.read_text().replace("first", "second"))
        return config

    clock = Clock()
    running = ScrapeManager(Written(), clock.now, sleep=clock.sleep, options=ScrapeOptions(reload_seconds=5))
    file = tmp_path / "prometheus.yml"
    file.write_text("scrape_configs: [{job_name: first}]")
    await running.start()
    with monkeypatch.context() as patch:
        patch.setattr(manager, "load_config", load)
        await running.reload(file)
    assert running.targets().pools == ["first"]
    await clock.advance(5)
    await until(lambda: running.targets().pools == ["second"])
    assert "second" in running.config.shown
    file.write_text("scrape_configs: [{")
    with pytest.raises(ConfigError):
        await running.reload(file)
    assert "second" in running.config.shown
    await running.stop()


async def test_other_rules_end_the_series_they_no_longer_make(tmp_path: Path) -> None:
    async with serving(text("a 1\nb 2\n")) as server, scraping(tmp_path) as running:
        await running.load(job(server.address))
        await running.scrape()
        rule = "  scrape_timeout: 1s\n  metric_relabel_configs: [{action: drop, source_labels: [__name__], regex: b}]\n"
        await running.load(job(server.address, rule))
        got = {name.partition("{")[0]: value for name, value in (await running.scraped()).items()}
        assert (got["a"], got["b"], got["scrape_series_added"]) == (1.0, STALE, 0.0)
        assert running.target().timeout == "1s"


async def test_a_job_that_is_gone_is_ended(tmp_path: Path) -> None:
    async with serving(text("a 1\n")) as server, scraping(tmp_path) as running:
        await running.load(job(server.address))
        await running.scrape()
        await running.load("")
        assert running.manager.targets().pools == []
        await running.clock.advance(21)
        await until(lambda: STALE in values(running.written.requests[-1]).values())


async def test_dropped_targets_and_too_many_are_told(tmp_path: Path) -> None:
    config = """scrape_configs:
- job_name: j
  keep_dropped_targets: 1
  target_limit: 1
  static_configs: [{targets: [a, b, c:1, d:2]}]
  relabel_configs: [{action: drop, source_labels: [__address__], regex: a|b}]
"""
    async with scraping(tmp_path) as running:
        await running.load(config)
        targets = running.manager.targets()
        assert [dropped.discovered_labels["__address__"] for dropped in targets.dropped] == ["a"]
        assert targets.dropped_counts == {"j": 2}
        await running.scrape(2)
        errors = {target.last_error for target in running.manager.targets().active}
        assert errors == {"target_limit exceeded (number of targets: 2, limit: 1)"}


async def test_failures_are_logged_where_they_are_to_be(tmp_path: Path) -> None:
    async with scraping(tmp_path) as running:
        await running.load(job("127.0.0.1:1", "  scrape_failure_log_file: failures.log\n"))
        await running.scrape()
    line = json.loads((tmp_path / "failures.log").read_text())
    assert (line["job_name"], line["target"]) == ("j", "http://127.0.0.1:1/metrics")
    assert "connection refused" in line["msg"]


async def test_a_changed_file_is_loaded_by_itself_and_a_bad_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, clock = tmp_path / "prometheus.yml", Clock()
    file.write_text("scrape_configs: [{job_name: a}]")
    manager = ScrapeManager(Written(), clock.now, sleep=clock.sleep, options=ScrapeOptions(reload_seconds=5))
    await manager.reload(file)
    await manager.start()
    try:
        for content, stamp, pools in (("[{job_name: b}]", 1, ["b"]), ("[{job: c}]", 2, ["b"]), ("[]", 3, [])):
            file.write_text(f"scrape_configs: {content}")
            os.utime(file, ns=(stamp, stamp))
            await asyncio.sleep(0.02)
            await clock.advance(5)
            if "job:" in content:
                await until(lambda: "field job not found" in caplog.text)
            await until(lambda pools=pools: manager.targets().pools == pools)  # type: ignore[misc]
    finally:
        await manager.stop()


async def test_what_prometheus_client_serves_is_scraped(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    Counter("hits", "Hits.", ["path"], registry=registry).labels('a"b\\c\n').inc(3, exemplar={"trace_id": "abc"})
    Histogram("seconds", "Time.", registry=registry).observe(0.3)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        async with scraping(tmp_path) as running:
            await running.load(job(f"127.0.0.1:{server.server_port}"))
            got = await running.scraped()
            where = f'instance="127.0.0.1:{server.server_port}",job="j"'
            assert got[f'hits_total{{{where},path="a"b\\c\n"}}'] == 3.0
            assert got[f'seconds_bucket{{{where},le="+Inf"}}'] == 1.0
            assert running.target().health is Health.UP
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.skipif(EXPORTER is None, reason="there is no prometheus-node-exporter")
async def test_the_node_exporter_is_scraped(tmp_path: Path) -> None:
    port = unused_port()
    assert EXPORTER is not None
    with subprocess.Popen(  # noqa: ASYNC220  nothing else waits
        [EXPORTER, f"--web.listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as exporter:
        try:
            async with scraping(tmp_path) as running:
                await running.load(job(f"127.0.0.1:{port}"))
                for _ in range(50):
                    [request] = await running.scrape()
                    if running.target().health is Health.UP:
                        break
                    await asyncio.sleep(0.1)
                [request] = await running.scrape()
                got = values(request)
                assert got[f'up{{instance="127.0.0.1:{port}",job="j"}}'] == 1.0
                assert len(got) > 200
                assert running.target().metadata["node_cpu_seconds_total"]["type"] == "counter"
        finally:
            exporter.terminate()
