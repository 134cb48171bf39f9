from __future__ import annotations

import pytest

from support.prometheus_api import Api, refusal_of
from watchkeeper_server.api.prometheus.options import PrometheusApiOptions
from watchkeeper_server.api.prometheus.queries import MAX_TIME_MS
from watchkeeper_server.promql.tree import Matcher, MatchOp

DELETE, CLEAN, SNAPSHOT = (f"/api/v1/admin/tsdb/{name}" for name in ("delete_series", "clean_tombstones", "snapshot"))


@pytest.mark.parametrize("path", [DELETE, CLEAN, SNAPSHOT])
async def test_nothing_is_changed_unless_that_is_allowed(api: Api, path: str) -> None:
    for method in ("POST", "PUT"):
        refused = await api.client.request(method, path, params={"match[]": "up"})
        assert refusal_of(refused) == (403, "unavailable", "admin APIs disabled")
    assert api.queries.asked == []


class TestAllowed:
    @pytest.fixture
    def options(self) -> PrometheusApiOptions:
        return PrometheusApiOptions(admin=True)

    @pytest.mark.parametrize("method", ["POST", "PUT"])
    async def test_what_selectors_select_is_deleted(self, api: Api, method: str) -> None:
        form = {"match[]": ["up", '{job=""}'], "start": "1"}
        answer = await api.client.request(method, DELETE, data=form)
        assert (answer.status_code, answer.content) == (204, b"")
        selectors = [(Matcher("__name__", MatchOp.EQUAL, "up"),), (Matcher("job", MatchOp.EQUAL, ""),)]
        assert api.queries.asked == [("delete", selectors, 1_000, MAX_TIME_MS)]

    @pytest.mark.parametrize(
        ("query", "message"),
        [
            ("", "no match[] parameter provided"),
            ("match[]=up&match[]=(", 'invalid parameter "match[]": 1:1: parse error: unexpected "("'),
            (
                "match[]=up&end=x",
                'invalid parameter "end": invalid time value for \'end\': cannot parse "x" to a valid timestamp',
            ),
        ],
    )
    async def test_nothing_is_deleted_when_anything_is_wrong(self, api: Api, query: str, message: str) -> None:
        assert refusal_of(await api.client.post(f"{DELETE}?{query}")) == (400, "bad_data", message)
        assert api.queries.asked == []

    async def test_space_is_freed(self, api: Api) -> None:
        assert (await api.client.post(CLEAN)).status_code == 204
        assert api.queries.asked == [("clean_tombstones",)]

    async def test_a_snapshot_is_named(self, api: Api) -> None:
        answer = await api.client.post(SNAPSHOT)
        assert answer.json() == {"status": "success", "data": {"name": "20261121T060000Z-1"}}

    async def test_looking_changes_nothing(self, api: Api) -> None:
        assert (await api.client.get(DELETE, params={"match[]": "up"})).status_code == 405
        assert api.queries.asked == []
