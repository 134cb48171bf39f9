from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from support.prometheus_api import Api
from watchkeeper_server.api.prometheus.options import PrometheusApiOptions


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/rules", {"groups": []}),
        ("/rules?type=alert", {"groups": []}),
        ("/rules?type=RECORD&match[]=up", {"groups": []}),
        ("/alerts", {"alerts": []}),
        ("/alertmanagers", {"activeAlertmanagers": [], "droppedAlertmanagers": []}),
        ("/status/walreplay", {"min": 0, "max": 0, "current": 0}),
        ("/notifications", []),
    ],
)
async def test_what_there_is_none_of_has_its_shape(api: Api, path: str, data: Any) -> None:
    assert await api.data(f"/api/v1{path}") == data


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/rules?type=x", 'invalid parameter "type": not supported value "x"'),
        ("/rules?match[]={}", "match[] must contain at least one non-empty matcher"),
        ("/status/tsdb?limit=x", "limit must be a positive number"),
        ("/status/tsdb?limit=0", "limit must be a positive number"),
        ("/status/tsdb?limit=10001", "limit must not exceed 10000"),
    ],
)
async def test_a_wrong_parameter_is_refused_in_prometheus_words(api: Api, path: str, message: str) -> None:
    assert await api.error(f"/api/v1{path}") == (400, "bad_data", message)


async def test_the_version_is_that_of_the_prometheus_whose_api_it_is(api: Api) -> None:
    data = await api.data("/api/v1/status/buildinfo")
    assert data["version"].startswith("3.")
    assert data["revision"] == "watchkeeper-0.1.0"
    assert set(data) == {"version", "revision", "branch", "buildUser", "buildDate", "goVersion"}


async def test_the_configuration_and_the_options_are_shown(api: Api) -> None:
    api.facts = replace(api.facts, config_yaml="global: {}\n", flags={"storage.path": "x", "listen": ":7070"})
    assert await api.data("/api/v1/status/config") == {"yaml": "global: {}\n"}
    assert list(await api.data("/api/v1/status/flags")) == ["listen", "storage.path"]


async def test_the_process_is_shown(api: Api) -> None:
    api.facts = replace(api.facts, retention="30d", corruptions=2, config_loaded_ns=10**9)
    data = await api.data("/api/v1/status/runtimeinfo")
    assert data["startTime"] == data["serverTime"] == "2026-11-21T06:00:00.000000000Z"
    assert data["lastConfigTime"] == "1970-01-01T00:00:01.000000000Z"
    assert (data["storageRetention"], data["corruptionCount"], data["reloadConfigSuccess"]) == ("30d", 2, True)
    assert data["goroutineCount"] >= 1
    assert data["GOMAXPROCS"] >= 1
    assert {"CWD", "hostname", "GOMEMLIMIT", "GOGC", "GODEBUG"} <= set(data)


async def test_a_configuration_that_cannot_be_used_is_a_notification(api: Api) -> None:
    api.facts = replace(api.facts, config_current=False)
    [notification] = await api.data("/api/v1/notifications")
    assert notification == {
        "text": "Configuration reload has failed.",
        "date": "2026-11-21T06:00:00.000000000Z",
        "active": True,
    }


async def test_what_is_stored_is_ranked(api: Api) -> None:
    data = await api.data("/api/v1/status/tsdb", limit=5)
    assert data["headStats"]["numSeries"] == 3
    assert data["seriesCountByMetricName"] == [{"name": "up", "value": 2}]
    await api.get("/api/v1/status/tsdb")
    assert api.queries.asked == [("tsdb_status", 5), ("tsdb_status", 10)]


class TestFeatures:
    @pytest.fixture(params=[False, True])
    def options(self, request: pytest.FixtureRequest) -> PrometheusApiOptions:
        return PrometheusApiOptions(admin=request.param, experimental=request.param)

    async def test_what_can_be_asked_is_told(self, api: Api, options: PrometheusApiOptions) -> None:
        data = await api.data("/api/v1/features")
        assert data["api"]["admin"] is options.admin
        assert data["promql_functions"]["rate"] is True
        assert data["promql_functions"]["info"] is options.experimental
        assert data["promql_operators"]["sum"] is True
        assert data["promql_operators"]["limitk"] is options.experimental
