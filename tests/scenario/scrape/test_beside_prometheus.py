"""The same file and the same targets, scraped by a real Prometheus: both must store the same series."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from pathlib import Path

import httpx
import pyarrow as pa
import pytest

from support.ports import unused_port
from support.scraping import Clock, Reply, Request, Written, serving, shown, until, values
from watchkeeper_server.receive.scrape.manager import ScrapeManager

PROMETHEUS = shutil.which("prometheus")

EXPOSED = """# TYPE requests counter
requests{path="/a",job="inner",exported_job="deep"} 1
requests{path="/b",instance=""} 2
requests{path="/c\\"\\\\",env="here"} 3
# TYPE latency histogram
latency_bucket{le="0.5"} 1
latency_bucket{le="+Inf"} 2
latency_sum 1.5
latency_count 2
go_info{version="1"} 1
timed 5 {now}
"""

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: plain
  static_configs: [{{targets: ['{address}'], labels: {{env: prod, __param_x: "1 2"}}}}]
- job_name: honoring
  honor_labels: true
  params: {{x: [a, b], y: [c]}}
  static_configs: [{{targets: ['{address}'], labels: {{env: prod}}}}]
- job_name: relabelled
  metrics_path: /elsewhere
  static_configs: [{{targets: ['a.example:1', 'b.example:1']}}]
  relabel_configs:
  - {{source_labels: [__address__], regex: '(.)\\.(.*):.*', target_label: first, replacement: '$1-${{2}}'}}
  - {{source_labels: [__address__], modulus: 7, action: hashmod, target_label: shard}}
  - {{source_labels: [first], regex: b.*, action: drop}}
  - {{source_labels: [first], action: uppercase, target_label: shout}}
  - {{regex: __(addr)ess__, action: labelmap, replacement: 'mapped_$1'}}
  - {{target_label: __address__, replacement: '{address}'}}
  metric_relabel_configs:
  - {{source_labels: [__name__], regex: go_.*, action: drop}}
  - {{regex: env|exported_.*, action: labeldrop}}
  - {{source_labels: [path], regex: /(.*), target_label: short}}
  - {{source_labels: [__name__, le], regex: 'latency_bucket;0.5', target_label: le, replacement: half}}
- job_name: limited
  sample_limit: 3
  static_configs: [{{targets: ['{address}']}}]
  metric_relabel_configs: [{{source_labels: [__name__], regex: go_.*, action: drop}}]
- job_name: labelled
  label_limit: 4
  static_configs: [{{targets: ['{address}']}}]
  metric_relabel_configs: [{{source_labels: [path], regex: /b, action: drop}}]
- job_name: malformed
  metrics_path: /malformed
  static_configs: [{{targets: ['{address}']}}]
  metric_relabel_configs: [{{source_labels: [path], regex: /b, action: drop}}]
"""


@pytest.mark.skipif(PROMETHEUS is None, reason="there is no prometheus")
async def test_both_store_the_same_series_and_ask_the_same(tmp_path: Path) -> None:
    def answer(request: Request) -> Reply:
        more = "" if request.path != "/malformed" else "1no { 5\n"
        return Reply((EXPOSED.replace("{now}", str(time.time_ns() // 1_000_000)) + more).encode())

    async with serving(answer) as server:
        file = tmp_path / "prometheus.yml"
        file.write_text(CONFIG.format(address=server.address))
        theirs = await _theirs(tmp_path, file)
        their_paths = {request.path for request in server.requests}
        server.requests.clear()
        ours = await _ours(file)
        assert {request.path for request in server.requests} == their_paths
        assert ours == theirs


async def _ours(file: Path) -> dict[str, float]:
    pa.array([1.0])  # a process's first array imports pandas, which may take as long as the time-out
    clock, written = Clock(time.time()), Written()
    manager = ScrapeManager(written, clock.now, sleep=clock.sleep)
    await manager.reload(file)
    await manager.start()
    await asyncio.sleep(0.01)
    await clock.advance(1)
    await until(lambda: len(written.requests) >= 6)
    await manager.stop()
    return _comparable({name: float(value) for request in written.requests for name, value in values(request).items()})


async def _theirs(folder: Path, file: Path) -> dict[str, float]:
    address = f"127.0.0.1:{unused_port()}"
    assert PROMETHEUS is not None
    options = [f"--config.file={file}", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}"]
    log = (folder / "log").open("wb")
    with log, subprocess.Popen([PROMETHEUS, *options], stdout=log, stderr=log) as process:  # noqa: ASYNC220  nothing else waits
        try:
            async with httpx.AsyncClient(base_url=f"http://{address}") as client, asyncio.timeout(30):
                while True:
                    await asyncio.sleep(0.1)
                    try:
                        answer = await client.get("/api/v1/query", params={"query": '{job!=""}'})
                    except httpx.TransportError:
                        continue
                    found = answer.json()["data"]["result"] if answer.is_success else []
                    jobs = {series["metric"]["job"] for series in found if series["metric"]["__name__"] == "up"}
                    if len(jobs) == 6:
                        return _comparable({shown(series["metric"]): float(series["value"][1]) for series in found})
        finally:
            process.terminate()


def _comparable(series: dict[str, float]) -> dict[str, float]:
    """Without what differs from scrape to scrape."""
    passing = ("scrape_duration_seconds", "scrape_series_added")
    return {name: value for name, value in series.items() if not name.startswith(passing)}
