"""Programs written for Prometheus see no difference: promtool, vmalert, and a real Prometheus answers the same."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from support.ports import unused_port
from support.prometheus import BINARY, PrometheusProcess
from support.promqltest import remote_write
from support.promqltest.series import Series
from support.server import ServerProcess, eventually

WRITE = "/api/v1/write"
JOB = "prometheus-clients"
NOW = int(time.time()) // 60 * 60
"""A full minute, so that what is asked about it is easily read."""
START = NOW - 600
SERIES = [
    Series(
        {"__name__": "client_requests_total", "job": JOB, "instance": f"i{instance}"},
        tuple((time * 1000, float((time - START) * (instance + 1))) for time in range(START, NOW + 1, 15)),
    )
    for instance in range(3)
] + [
    Series({"__name__": "client_size", "job": JOB, "path": 'a"b\\c\n<é>'}, ((NOW * 1000 - 1, 1.5e17),)),
    Series({"__name__": "client_tiny", "job": JOB}, ((NOW * 1000 - 10, 1.25e-7),)),
]


@pytest.fixture(scope="module")
def filled(server: ServerProcess) -> ServerProcess:
    answer = server.request("POST", WRITE, remote_write.body(SERIES), remote_write.HEADERS)
    assert answer.status // 100 == 2, answer.body
    server.wait_drained()
    return server


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if BINARY is None:
        pytest.skip("there is no program named prometheus; Debian's package of that name has it")
    with PrometheusProcess(tmp_path_factory.mktemp("prometheus")) as process:
        written = httpx.post(f"{process.url}{WRITE}", content=remote_write.body(SERIES), headers=remote_write.HEADERS)
        assert written.is_success, written.text
        yield process.url


SELECTED = f'{{job="{JOB}"}}'
# No window begins at a sample, which since version 3 does not belong to it any more.
RANGE: dict[str, Any] = {"start": START + 67, "end": NOW, "step": "30s"}
FORMAT, SELECT_MANY = "/api/v1/format_query", 'sum by(job)(rate(a{b=~"c|d"}[5m] offset 1w))/on(x)group_left(y)z'


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/api/v1/query", {"query": f"client_requests_total{SELECTED}", "time": NOW}),
        ("/api/v1/query", {"query": f"client_requests_total{SELECTED}[50s]", "time": f"{NOW}.25"}),
        ("/api/v1/query", {"query": f"topk(2, rate(client_requests_total{SELECTED}[2m]))", "time": NOW - 7}),
        ("/api/v1/query", {"query": f"client_size{SELECTED}", "time": f"{NOW}.007"}),
        ("/api/v1/query", {"query": f"client_tiny{SELECTED} / -1e300", "time": NOW}),
        ("/api/v1/query", {"query": f"client_tiny{SELECTED} / 0", "time": NOW}),
        ("/api/v1/query", {"query": "1e-9", "time": f"{NOW}.120"}),
        ("/api/v1/query", {"query": "1e22", "time": "1.0005"}),
        ("/api/v1/query", {"query": "time()", "time": "2015-07-01T20:10:51.781+02:00"}),
        ("/api/v1/query", {"query": '"text"', "time": NOW}),
        ("/api/v1/query", {"query": "up", "timeout": "x"}),
        ("/api/v1/query", {"query": "sum(up"}),
        ("/api/v1/query", {"query": "rate(up)"}),
        ("/api/v1/query", {"query": f"client_requests_total{SELECTED} + on () client_tiny", "time": NOW}),
        ("/api/v1/query_range", {"query": f"client_requests_total{SELECTED} * 1.1", **RANGE}),
        ("/api/v1/query_range", {"query": f"sum(increase(client_requests_total{SELECTED}[3m])) by (job)", **RANGE}),
        ("/api/v1/query_range", {"query": f"client_requests_total{SELECTED} > 500 < 1000", **RANGE}),
        ("/api/v1/query_range", {"query": "-time() / 3", "start": "-0.5", "end": "1", "step": "0.25"}),
        ("/api/v1/query_range", {"query": "1", "start": 1, "end": 2}),
        ("/api/v1/query_range", {"query": "1", "start": 1, "end": 2, "step": "1x"}),
        ("/api/v1/query_range", {"query": "1", "start": 1, "end": 2, "step": "1e300"}),
        ("/api/v1/query_range", {"query": "1", "start": 1, "end": 2, "step": "-1"}),
        ("/api/v1/query_range", {"query": "1", "start": 2, "end": 1, "step": "1"}),
        ("/api/v1/query_range", {"query": "1", "start": 0, "end": 11_001, "step": "1"}),
        ("/api/v1/query_range", {"query": "1", "start": "yesterday", "end": 1, "step": "1"}),
        ("/api/v1/series", {"match[]": SELECTED}),
        ("/api/v1/series", {"match[]": [f"client_size{SELECTED}", f'{{path!="",job="{JOB}"}}'], "start": START}),
        ("/api/v1/series", {"match[]": "nothing_of_this_name"}),
        ("/api/v1/series", {}),
        ("/api/v1/series", {"match[]": "up{"}),
        ("/api/v1/series", {"match[]": '{a=""}'}),
        ("/api/v1/labels", {"match[]": SELECTED}),
        ("/api/v1/labels", {"match[]": "rate(a[5m])"}),
        ("/api/v1/labels", {"match[]": "up offset 5m"}),
        ("/api/v1/label/instance/values", {"match[]": SELECTED}),
        ("/api/v1/label/path/values", {"match[]": SELECTED}),
        ("/api/v1/label/__name__/values", {"match[]": SELECTED, "start": "2015-01-01T00:00:00Z"}),
        ("/api/v1/label/__name__/values", {"match[]": SELECTED, "end": "-292273086-05-16T16:47:06Z"}),
        ("/api/v1/query_exemplars", {"query": "1"}),
        ("/api/v1/query_exemplars", {"query": "nothing_of_this_name"}),
        ("/api/v1/query_exemplars", {"query": "up", "start": 2, "end": 1}),
        (FORMAT, {"query": SELECT_MANY}),
        (FORMAT, {"query": "("}),
        ("/api/v1/metadata", {"limit": "x"}),
        ("/api/v1/targets/metadata", {"match_target": '{job="none"}'}),
        ("/api/v1/scrape_pools", {}),
        ("/api/v1/rules", {}),
        ("/api/v1/rules", {"type": "x"}),
        ("/api/v1/alerts", {}),
        ("/api/v1/alertmanagers", {}),
        ("/api/v1/status/walreplay", {}),
        ("/federate", {"match[]": f"client_requests_total{SELECTED}"}),
        ("/federate", {"match[]": [f"client_size{SELECTED}", f"client_tiny{SELECTED}"]}),
        ("/federate", {}),
    ],
)
def test_a_real_prometheus_answers_the_same(
    filled: ServerProcess, prometheus: str, path: str, parameters: dict[str, Any]
) -> None:
    theirs = httpx.get(f"{prometheus}{path}", params=parameters or None)
    ours = filled.request("GET", f"{path}?{urlencode(parameters, doseq=True)}")
    assert ours.status == theirs.status_code, ours.body
    if path == "/federate" or not theirs.text:
        assert ours.body.decode() == theirs.text
    else:
        assert _digits(ours.body.decode()) == _digits(theirs.text)


def test_promtool_reads_what_is_answered(filled: ServerProcess) -> None:
    at = f"--time={NOW}"
    lines = _promtool("instant", at, filled.url, f"client_requests_total{SELECTED}").splitlines()
    assert sorted(lines) == [
        f'client_requests_total{{instance="i{instance}", job="{JOB}"}} => {600 * (instance + 1)} @[{NOW}]'
        for instance in range(3)
    ]
    assert _promtool("instant", at, filled.url, "1e-9") == f"scalar: 0.000000001 @[{NOW}]\n"
    ranged = json.loads(
        _promtool(
            *("-o", "json", "range", f"--start={START}", f"--end={NOW}", "--step=300s"),
            *(filled.url, f'client_requests_total{{job="{JOB}",instance="i0"}}'),
        )
    )
    assert [value for _, value in ranged[0]["values"]] == ["0", "300", "600"]
    series = _promtool("series", f"--match=client_requests_total{SELECTED}", filled.url)
    assert len(series.splitlines()) == 3
    assert JOB in _promtool("labels", filled.url, "job").splitlines()


def test_promtool_shows_what_is_wrong_with_a_query(filled: ServerProcess) -> None:
    failed = subprocess.run(
        ["promtool", "query", "instant", filled.url, "sum("], capture_output=True, text=True, check=False
    )
    assert failed.returncode != 0
    assert 'bad_data: invalid parameter "query": 1:5: parse error' in failed.stderr


RULES = """
groups:
  - name: clients
    interval: 1s
    rules:
      - record: job:client_requests:sum
        expr: sum by (job) (last_over_time(client_requests_total{job="%s"}[1d]))
      - alert: Everything
        expr: last_over_time(client_requests_total{job="%s"}[1d]) >= 600
        labels: {severity: page}
        annotations: {summary: "{{ $labels.instance }} is at {{ $value }}"}
""" % (JOB, JOB)  # fmt: skip  # noqa: UP031  the rules have braces of their own


@pytest.mark.skipif(shutil.which("vmalert") is None, reason="there is no program named vmalert")
def test_vmalert_evaluates_rules_and_writes_what_they_record(filled: ServerProcess, tmp_path: Path) -> None:
    rules, log = tmp_path / "rules.yml", tmp_path / "log"
    rules.write_text(RULES)
    address = f"127.0.0.1:{unused_port()}"
    command = [
        "vmalert",
        f"-rule={rules}",
        f"-datasource.url={filled.url}",
        f"-remoteWrite.url={filled.url}",
        f"-remoteRead.url={filled.url}",
        "-remoteWrite.flushInterval=100ms",
        # there is nobody who would be told
        "-notifier.url=http://127.0.0.1:9",
        f"-httpListenAddr={address}",
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        recorded = eventually(lambda: _recorded(filled))
        assert recorded["metric"] == {"__name__": "job:client_requests:sum", "job": JOB}
        assert recorded["value"][1] == "3600"
        alerts = eventually(lambda: _firing(address))
    finally:
        process.terminate()
        process.wait()
    assert sorted(alert["annotations"]["summary"] for alert in alerts) == [
        "i0 is at 600",
        "i1 is at 1200",
        "i2 is at 1800",
    ], log.read_text()


def _recorded(server: ServerProcess) -> dict[str, Any] | None:
    found = server.get("/api/v1/query", query="job:client_requests:sum").json()["data"]["result"]
    return found[0] if found else None


def _firing(address: str) -> list[dict[str, Any]] | None:
    try:
        alerts: list[dict[str, Any]] = httpx.get(f"http://{address}/api/v1/alerts").json()["data"]["alerts"]
    except httpx.TransportError:
        return None
    return alerts if [alert["state"] for alert in alerts] == ["firing"] * 3 else None


def _promtool(*arguments: str) -> str:
    done = subprocess.run(["promtool", "query", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _digits(text: str) -> Any:
    """JSON with its numbers as they are written; a vector's order says nothing."""
    answer = json.loads(text, parse_float=str, parse_int=str)
    data = answer.get("data")
    if isinstance(data, dict) and data.get("resultType") == "vector":
        data["result"].sort(key=lambda series: sorted(series["metric"].items()))
    return answer
