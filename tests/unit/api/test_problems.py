from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pyarrow as pa
import pytest
from pydantic import TypeAdapter

from watchkeeper_server.api.app import create_api
from watchkeeper_server.api.parameters import MAX_TEXT
from watchkeeper_server.model.answers import Problem, ServerStatus
from watchkeeper_server.model.errors import StoreBusyError, StoreError, StoreUnavailableError
from watchkeeper_server.query.queries import Queries
from watchkeeper_server.store.store import Store


def problem_of(response: httpx.Response) -> Problem:
    return TypeAdapter(Problem).validate_json(response.content, strict=True)


@pytest.mark.parametrize(
    ("request_", "field", "says"),
    [
        ("/logs?limit=0", "limit", "greater than or equal to 1"),
        ("/logs?limit=1001", "limit", "1000"),
        ("/logs?limit=ten", "limit", "integer"),
        ("/logs?level=loud", "level", "'warn'"),
        ("/logs?start=yesterday", "start", "now-15m"),
        ("/logs?end=1795240800000", "end", "seconds"),
        ("/logs?start=now&end=now", "start", "before"),
        ("/logs?start=now-1h&end=now-2h", "start", "before"),
        ("/logs?trace_id=xyz", "trace_id", "pattern"),
        ("/logs?span_id=123", "span_id", "pattern"),
        ("/logs?cursor=garbage", "cursor", "next"),
        (f"/logs?words={'w' * (MAX_TEXT + 1)}", "words", str(MAX_TEXT)),
        (f"/logs?words={'+'.join(map(str, range(99)))}", "words", "at most"),
        ("/logs/counts?buckets=0", "buckets", "1"),
        ("/logs/tail?start=now", "start", "level"),
        ("/traces?min_duration=5", "min_duration", "250ms"),
        ("/traces?max_duration=long", "max_duration", "250ms"),
        ("/traces?status=bad", "status", "'error'"),
        ("/traces?attribute=novalue", "attribute", "="),
        ("/traces?cursor=MS4yLjM", "cursor", "next"),
        ("/traces/123", "trace_id", "pattern"),
        ("/services/shop/operations?start=x", "start", "now-15m"),
        ("/metrics/m/series?label=novalue", "label", "="),
        ("/metrics/m/series?max_points=0", "max_points", "1"),
    ],
)
async def test_a_wrong_parameter_is_named_and_what_to_write_instead(
    client: httpx.AsyncClient, request_: str, field: str, says: str
) -> None:
    response = await client.get(f"/api/wk{request_}")
    assert response.status_code == 400
    problem = problem_of(response)
    assert problem["field"] == field
    assert field in problem["message"]
    assert says in problem["message"]


async def test_an_unknown_parameter_is_refused_with_those_there_are(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/wk/services?form=now-1h")
    assert response.status_code == 400
    assert problem_of(response) == {
        "error": "unknown_parameter",
        "message": "there is no parameter form; this request takes end, start",
        "field": "form",
    }


@pytest.mark.parametrize("path", ["/status", "/traces/5b8aa5a2d2c872e8321cf37308d69d00"])
async def test_a_request_without_parameters_takes_none(client: httpx.AsyncClient, path: str) -> None:
    assert problem_of(await client.get(f"/api/wk{path}?a=1"))["message"].endswith("takes none")


async def test_a_trace_that_is_not_there_is_not_found(client: httpx.AsyncClient, store: Store) -> None:
    response = await client.get(f"/api/wk/traces/{'ab' * 16}")
    assert (response.status_code, problem_of(response)["error"]) == (404, "not_found")


async def test_other_paths_and_methods_are_refused_alike(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/wk/nonsense")
    assert (response.status_code, problem_of(response)["error"]) == (404, "not_found")
    response = await client.post("/api/wk/logs")
    assert (response.status_code, problem_of(response)["error"]) == (405, "method_not_allowed")
    assert response.headers["allow"] == "GET"


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (StoreBusyError("Code: 159. Timeout exceeded"), 422, "too_much"),
        (StoreUnavailableError("Code: 76. Cannot open file"), 503, "unavailable"),
        (StoreError("Code: 47. Unknown identifier"), 500, "internal"),
        (ValueError("a mistake"), 500, "internal"),
    ],
)
async def test_a_failure_of_the_store_is_told_without_its_innards(error: Exception, status: int, name: str) -> None:
    def read(statement: str, parameters: Mapping[str, Any]) -> pa.Table:
        raise error

    def no_status() -> ServerStatus:
        raise AssertionError

    transport = httpx.ASGITransport(create_api(Queries(read), no_status), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://watchkeeper") as client:
        for path in ("services", "logs", "traces", "metrics", "logs/tail"):
            response = await client.get(f"/api/wk/{path}")
            assert (response.status_code, problem_of(response)["error"]) == (status, name)
            assert "Code:" not in response.text
            assert ("retry-after" in response.headers) == (status == 503)
