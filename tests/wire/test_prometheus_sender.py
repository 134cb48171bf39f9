"""A real Prometheus writes to us, unmodified: samples, the end of series, exemplars, native histograms, metadata."""

from __future__ import annotations

import contextlib
import http.server
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.server import ServerProcess, eventually
from watchkeeper_server.receive.exposition.client_model import LabelPair, MetricFamily
from watchkeeper_server.receive.exposition.write_request import varint

PROMETHEUS = shutil.which("prometheus")
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
OPENMETRICS = f"""\
# HELP orders Orders taken.
# TYPE orders counter
orders_total{{shop="a"}} 17 # {{trace_id="{TRACE_ID}",user="7"}} 1.5
# HELP temperature_celsius How warm it is.
# TYPE temperature_celsius gauge
# UNIT temperature_celsius celsius
temperature_celsius{{room="ünten"}} -3.25
odd{{kind="nan"}} NaN
odd{{kind="inf"}} +Inf
# EOF
"""
CONFIG = """\
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
  - job_name: text
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
  - job_name: proto
    metrics_path: /proto
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
remote_write:
  - url: {url}/api/v1/write
    send_exemplars: true
    send_native_histograms: true
    metadata_config: {{send_interval: 1s}}
    queue_config: {{batch_send_deadline: 200ms}}
"""

pytestmark = pytest.mark.skipif(PROMETHEUS is None, reason="there is no program named prometheus")


def native_histogram() -> bytes:
    """A family with one native histogram, delimited."""
    family = MetricFamily(name="took_seconds", help="How long it took.", type=4)
    metric = family.metric.add()
    metric.label.append(LabelPair(name="route", value="/a").SerializeToString())
    histogram = metric.histogram
    histogram.sample_count, histogram.sample_sum, histogram.schema = 7, 9.5, 3
    histogram.zero_threshold, histogram.zero_count = 0.001, 1
    histogram.positive_span.add(offset=-2, length=2)
    histogram.positive_span.add(offset=2, length=1)
    histogram.positive_delta.extend([1, 1, 0])
    histogram.negative_span.add(offset=0, length=1)
    histogram.negative_delta.extend([1])
    encoded: bytes = family.SerializeToString()
    return varint(len(encoded)) + encoded


class Target(http.server.ThreadingHTTPServer):
    """Exposes both until it is `gone`."""

    gone = False


@contextlib.contextmanager
def target() -> Iterator[Target]:
    """A running one."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers = {
                "/metrics": (OPENMETRICS.encode(), "application/openmetrics-text; version=1.0.0; charset=utf-8"),
                "/proto": (
                    native_histogram(),
                    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
                ),
            }
            body, kind = answers[self.path]
            self.send_response(200 if not server.gone else 503)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = Target(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def prometheus(folder: Path, port: int, url: str) -> Iterator[None]:
    """Scrapes that target and writes to that server."""
    folder.mkdir()
    (folder / "prometheus.yml").write_text(CONFIG.format(port=port, url=url))
    log = (folder / "log").open("wb")
    assert PROMETHEUS
    process = subprocess.Popen(
        [
            PROMETHEUS,
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            "--web.listen-address=127.0.0.1:0",
            "--enable-feature=exemplar-storage,native-histograms",
        ],
        stdout=log,
        stderr=log,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)
        log.close()
        sys.stderr.write((folder / "log").read_text()[-4000:])


def shown(server: ServerProcess, metric: str) -> dict[str, Any] | None:
    """The newest value of each of a metric's series, by labels; None while there are none."""
    answer = server.get("/api/v1/query", query=metric)
    assert answer.status == 200, answer.body
    return {json.dumps(one["metric"]): one.get("value", [0, ""])[1] for one in answer.json()["data"]["result"]} or None


def test_a_real_prometheus_writes_everything(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", journal={"linger_seconds": 0.05}) as server, target() as scraped:
        port = scraped.server_address[1]
        with prometheus(tmp_path / "prometheus", port, server.url):
            eventually(lambda: shown(server, "temperature_celsius"))
            eventually(lambda: shown(server, "took_seconds"))
            assert sorted((shown(server, "odd") or {}).values()) == ["+Inf", "NaN"]
            eventually(lambda: server.get("/api/v1/metadata", metric="took_seconds").json()["data"] or None)
            scraped.gone = True
            # a target that fails is down at once, and all it showed has ended
            eventually(lambda: set((shown(server, "up") or {}).values()) == {"0"} or None)
            eventually(lambda: shown(server, "odd") is None or None)
            eventually(lambda: shown(server, "took_seconds") is None or None)
        assert server.figure("watchkeeper_rejected_items_total") == 0
        server.wait_drained()
    command = [sys.executable, str(Path(__file__).with_name("stored_metrics.py")), str(tmp_path / "data")]
    stored = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    instance = f"127.0.0.1:{port}"
    series = {(one["metric"], one["labels"]) for one in stored["series"]}
    assert (
        "orders_total",
        json.dumps({"instance": instance, "job": "text", "shop": "a"}, separators=(",", ":")),
    ) in series
    samples = {
        metric: [row for row in stored["samples"] if row["metric"] == metric] for metric in ("orders_total", "odd")
    }
    assert [row["bits"] for row in samples["orders_total"]][-1] == "7FF0000000000002"
    assert {row["value"] for row in samples["orders_total"][:-1]} == {17}
    assert {row["bits"] for row in samples["odd"]} == {"7FF0000000000000", "7FF8000000000001", "7FF0000000000002"}
    (exemplar,) = {
        (row["metric"], row["value"], row["trace"], row["span"], row["labels"]) for row in stored["exemplars"]
    }
    assert exemplar == ("orders_total", 1.5, TRACE_ID, "0" * 16, '{"user":"7"}')
    *found, ended = [row for row in stored["native_histograms"] if row["metric"] == "took_seconds"]
    assert ended["count"] == 0
    assert found
    for row in found:
        assert (row["count"], row["sum"], row["schema"], row["zero_threshold"], row["zero_count"]) == (
            7,
            9.5,
            3,
            0.001,
            1,
        )
        assert (row["positive_offset"], row["positive_counts"]) == (-2, [1, 2, 0, 0, 2])
        assert (row["negative_offset"], row["negative_counts"]) == (0, [1])
    metadata = {row["metric"]: (row["type"], row["unit"], row["help"]) for row in stored["metadata"]}
    assert metadata["orders"] == ("counter", "", "Orders taken.")
    assert metadata["temperature_celsius"] == ("gauge", "celsius", "How warm it is.")
    assert metadata["took_seconds"] == ("histogram", "", "How long it took.")
