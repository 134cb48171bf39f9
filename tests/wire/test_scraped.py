"""A server that scrapes by a configuration file, from the file to PromQL."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.server import ServerProcess, eventually

CONFIG = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: self
    basic_auth: {{username: us, password: secret-words}}
    static_configs: [{{targets: ["{address}"]}}]
  - job_name: {second}
    static_configs: [{{targets: ["127.0.0.1:1"]}}]
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config") / "prometheus.yml"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, config: Path) -> Iterator[ServerProcess]:
    """A server that scrapes itself, and one target that is not there."""
    data = tmp_path_factory.mktemp("scraped") / "data"
    server = ServerProcess(data, journal={"linger_seconds": 0.05}, arguments=["--config", str(config)])
    write(config, server, "dead")
    with server:
        yield server


def write(config: Path, server: ServerProcess, second: str) -> None:
    config.write_text(CONFIG.format(address=server.url.removeprefix("http://"), second=second))


def answer(server: ServerProcess, path: str, **parameters: Any) -> Any:
    found = server.get(path, **parameters)
    assert found.status == 200, found.body
    return found.json()["data"]


def values(server: ServerProcess, query: str) -> dict[str, str] | None:
    """The answer by job, None while there is none."""
    result = answer(server, "/api/v1/query", query=query)["result"]
    return {one["metric"]["job"]: one["value"][1] for one in result} or None


def test_targets_are_scraped_and_asked_by_promql(server: ServerProcess) -> None:
    found = eventually(lambda: up if (up := values(server, "up")) and len(up) == 2 else None)
    assert found == {"self": "1", "dead": "0"}
    rates = eventually(lambda: values(server, "sum by (job) (rate(watchkeeper_scrapes_total[1m])) > 0"))
    assert list(rates) == ["self"]


def test_targets_say_how_their_scrapes_went(server: ServerProcess) -> None:
    def scraped() -> dict[str, Any] | None:
        targets = answer(server, "/api/v1/targets")["activeTargets"]
        return {one["labels"]["job"]: one for one in targets} if all(one["lastScrape"] for one in targets) else None

    found = eventually(scraped)
    assert found["self"]["health"] == "up"
    assert found["self"]["lastError"] == ""
    eventually(lambda: True if (now := scraped()) and now["dead"]["health"] == "down" else None)
    assert "127.0.0.1:1" in found["dead"]["scrapeUrl"]


def test_the_configuration_is_shown_without_its_secrets(server: ServerProcess) -> None:
    text = answer(server, "/api/v1/status/config")["yaml"]
    assert "username: us" in text
    assert "secret-words" not in text
    assert "<secret>" in text


def test_a_bad_file_is_refused_with_its_line_and_the_one_before_goes_on(server: ServerProcess, config: Path) -> None:
    config.write_text("scrape_configs:\n  - job_name: self\n    scrap_interval: 1s\n")
    os.kill(server.pid, signal.SIGHUP)
    eventually(lambda: True if "field scrap_interval not found" in server.log_tail(10_000) else None)
    assert ":3:" in server.log_tail(10_000) or "line 3" in server.log_tail(10_000)
    assert set(answer(server, "/api/v1/scrape_pools")["scrapePools"]) == {"self", "dead"}
    assert answer(server, "/api/v1/status/runtimeinfo")["reloadConfigSuccess"] is False
    assert "scrap_interval" not in answer(server, "/api/v1/status/config")["yaml"], "it is not the one in use"
    write(config, server, "other")
    os.kill(server.pid, signal.SIGHUP)
    eventually(lambda: True if "other" in answer(server, "/api/v1/scrape_pools")["scrapePools"] else None)
    assert answer(server, "/api/v1/status/runtimeinfo")["reloadConfigSuccess"] is True


def test_a_server_does_not_start_with_a_bad_file(tmp_path: Path) -> None:
    (tmp_path / "prometheus.yml").write_text("scrape_configs: 7\n")
    server = ServerProcess(tmp_path / "data", arguments=["--config", str(tmp_path / "prometheus.yml")])
    with pytest.raises(AssertionError, match=r"prometheus\.yml"):
        server.start()
    assert "Traceback" not in server.log_tail()


def test_a_server_without_a_file_ignores_sighup(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        os.kill(server.pid, signal.SIGHUP)
        eventually(lambda: True if "--config" in server.log_tail() else None)
        assert server.alive()


def test_scraped_series_are_deleted_when_the_api_is_allowed_to(tmp_path: Path) -> None:
    config = tmp_path / "prometheus.yml"
    arguments = ["--config", str(config), "--admin-api"]
    server = ServerProcess(tmp_path / "data", journal={"linger_seconds": 0.05}, arguments=arguments)
    write(config, server, "dead")
    with server:
        eventually(lambda: values(server, "up"))
        assert server.request("POST", "/api/v1/admin/tsdb/delete_series?match[]=up").status == 204
        # what comes after is stored under labels that the store was told again
        eventually(lambda: up if (up := values(server, "up")) and len(up) == 2 else None)
        assert server.request("POST", "/api/v1/admin/tsdb/snapshot").json()["data"]["name"]
