from __future__ import annotations

import pytest

from support.prometheus_api import Api
from watchkeeper_server.api.prometheus.target_routes import global_url
from watchkeeper_server.model.targets import DroppedTarget, Health, Metadata, Target, Targets

DOWN = Target(
    pool="node",
    url="http://127.0.0.1:9100/metrics",
    labels={"job": "node", "instance": "127.0.0.1:9100"},
    discovered_labels={"job": "node", "__address__": "127.0.0.1:9100"},
    interval="15s",
    timeout="10s",
    health=Health.DOWN,
    last_error="connection refused",
    last_scrape_ns=1_500_000_000,
    last_scrape_seconds=0.25,
)
NEW = Target(
    "api",
    "https://api/m?x=1",
    {"job": "api"},
    {},
    "1m",
    "10s",
    metadata={
        "up_total": Metadata(type="counter", help="Ups.", unit=""),
        "temperature": Metadata(type="gauge", help="", unit="celsius"),
    },
)
TARGETS = Targets(
    pools=["node", "api", "empty"],
    active=[DOWN, NEW],
    dropped=[DroppedTarget("node", {"job": "node", "__address__": "b"})],
    dropped_counts={"node": 7, "api": 0},
)
DROPPED = [{"discoveredLabels": {"__address__": "b", "job": "node"}, "scrapePool": "node"}]


async def test_a_target_is_shown_with_how_its_last_scrape_went(api: Api) -> None:
    api.targets = TARGETS
    data = await api.data("/api/v1/targets")
    new, down = data["activeTargets"]
    assert down == {
        "discoveredLabels": {"__address__": "127.0.0.1:9100", "job": "node"},
        "labels": {"instance": "127.0.0.1:9100", "job": "node"},
        "scrapePool": "node",
        "scrapeUrl": "http://127.0.0.1:9100/metrics",
        "globalUrl": "http://watch.example:9100/metrics",
        "lastError": "connection refused",
        "lastScrape": "1970-01-01T00:00:01.500000000Z",
        "lastScrapeDuration": 0.25,
        "health": "down",
        "scrapeInterval": "15s",
        "scrapeTimeout": "10s",
    }
    assert (new["health"], new["lastScrape"], new["lastError"]) == ("unknown", "0001-01-01T00:00:00Z", "")
    assert data["droppedTargets"] == DROPPED
    assert data["droppedTargetCounts"] == {"node": 7, "api": 0}


@pytest.mark.parametrize(
    ("parameters", "active", "dropped"),
    [
        ({}, ["api", "node"], 1),
        ({"state": "any"}, ["api", "node"], 1),
        ({"state": "ACTIVE"}, ["api", "node"], 0),
        ({"state": "dropped"}, [], 1),
        ({"state": "other"}, [], 0),
        ({"scrapePool": "api"}, ["api"], 0),
        ({"scrapePool": "node", "state": "active"}, ["node"], 0),
        ({"scrapePool": "none"}, [], 0),
    ],
)
async def test_targets_can_be_had_by_state_and_by_pool(
    api: Api, parameters: dict[str, str], active: list[str], dropped: int
) -> None:
    api.targets = TARGETS
    data = await api.data("/api/v1/targets", **parameters)
    assert [target["scrapePool"] for target in data["activeTargets"]] == active
    assert len(data["droppedTargets"]) == dropped


async def test_pools_are_shown_also_without_targets(api: Api) -> None:
    api.targets = TARGETS
    assert await api.data("/api/v1/scrape_pools") == {"scrapePools": ["api", "empty", "node"]}


async def test_metadata_of_targets_is_shown_by_metric_and_by_target(api: Api) -> None:
    api.targets = TARGETS
    path = "/api/v1/targets/metadata"
    ups = {"target": {"job": "api"}, "metric": "up_total", "type": "counter", "help": "Ups.", "unit": ""}
    temperature = {"target": {"job": "api"}, "metric": "temperature", "type": "gauge", "help": "", "unit": "celsius"}
    assert await api.data(path) == [ups, temperature]
    assert await api.data(path, match_target='{job=~"a.*",instance=""}') == [ups, temperature]
    assert await api.data(path, match_target='{job="node"}') == []
    assert await api.data(path, limit=1) == [ups]
    assert await api.data(path, limit=0) == []
    # the metric that was asked for is not told again
    del temperature["metric"]
    assert await api.data(path, metric="temperature") == [temperature]
    message = 'invalid parameter "match_target": 1:2: parse error: unexpected end of input inside braces'
    assert await api.error(path, match_target="{") == (400, "bad_data", message)
    assert await api.error(path, limit="x") == (400, "bad_data", "limit must be a number")


@pytest.mark.parametrize(
    ("url", "external", "shown"),
    [
        ("http://web:80/m", "https://watch.example:443", "http://web:80/m"),
        ("http://localhost:80/m?a=b", "https://watch.example:443", "http://watch.example:80/m?a=b"),
        ("http://[::1]:80/m", "https://watch.example", "http://watch.example:80/m"),
        ("http://localhost/m", "https://watch.example:443", "http://watch.example/m"),
        ("http://127.0.0.1:80/m", "http://[fd00::1]:7070", "http://[fd00::1]:80/m"),
        # the server itself
        ("http://localhost:7070/metrics", "https://watch.example:7070", "https://watch.example:7070/metrics"),
        ("http://localhost:80/m", "", "http://localhost:80/m"),
    ],
)
def test_an_address_of_this_machine_is_shown_as_it_is_from_outside(url: str, external: str, shown: str) -> None:
    assert global_url(url, external) == shown
