from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from pydantic import TypeAdapter

from watchkeeper_server.model import answers
from watchkeeper_server.store.store import Store

TRACE = "5b8aa5a2d2c872e8321cf37308d69d00"
DOCUMENT = Path(__file__).parents[3] / "docs" / "api.md"

# Each request with the type of its answer; between them they make every route answer.
REQUESTS: list[tuple[str, Any]] = [
    ("/services", answers.Services),
    ("/services/shop/operations", answers.Operations),
    ("/traces?service=shop&limit=2", answers.Traces),
    ("/traces?status=error&min_duration=1ns&max_duration=1h&attribute=host%3Da&operation=work", answers.Traces),
    (f"/traces/{TRACE}", answers.Trace),
    ("/logs?limit=3", answers.Logs),
    (f"/logs?trace_id={TRACE.upper()}&level=info&words=order+placed&service=shop", answers.Logs),
    ("/logs/counts?buckets=7&level=debug", answers.LogCounts),
    ("/metrics?prefix=up&service=shop", answers.Metrics),
    ("/metrics/up_total/labels", answers.Labels),
    ("/metrics/up_total/series?label=job%3Dshop&limit=5&max_points=5", answers.SeriesAnswer),
    ("/status", answers.ServerStatus),
]


@pytest.mark.parametrize(("request_", "answer"), REQUESTS)
async def test_every_answer_of_a_filled_store_has_its_documented_shape(
    client: httpx.AsyncClient, filled: Store, request_: str, answer: Any
) -> None:
    response = await client.get(f"/api/wk{request_}")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    checker = TypeAdapter(answer)
    value = checker.validate_json(response.content, strict=True)
    # nothing is there that the type does not know
    assert checker.dump_python(value, mode="json") == response.json()
    # the store is filled: an empty answer would prove nothing
    assert request_ == "/status" or any(isinstance(field, list | dict) and field for field in response.json().values())


async def test_the_openapi_document_covers_every_route_with_its_answers_and_parameters(
    client: httpx.AsyncClient,
) -> None:
    document = (await client.get("/api/wk/openapi.json")).json()
    requested = {re.sub(r"\?.*", "", request).replace(TRACE, "{trace_id}") for request, _ in REQUESTS}
    requested = {re.sub("/shop/|/up_total/", "/{}/", path) for path in requested}
    described = {re.sub(r"\{(service|name)\}", "{}", path.removeprefix("/api/wk")) for path in document["paths"]}
    assert described == requested | {"/logs/tail"}
    for path, operations in document["paths"].items():
        operation = operations["get"]
        assert {"200", "400", "422", "503"} <= operation["responses"].keys(), path
        assert operation["description"], path
        content = operation["responses"]["200"]["content"]
        assert "$ref" in next(iter(content.values()))["schema"], path
        names = {parameter["name"] for parameter in operation.get("parameters", [])}
        for name in re.findall(r"\{(\w+)\}", path):
            assert name in names, path


async def test_the_written_document_names_every_request_and_parameter(client: httpx.AsyncClient) -> None:
    text = DOCUMENT.read_text()
    document = (await client.get("/api/wk/openapi.json")).json()
    for path, operations in document["paths"].items():
        [line] = [line for line in text.splitlines() if re.match(rf"\| `GET {re.escape(path)}[?`]", line)]
        if path in ("/api/wk/logs/tail", "/api/wk/logs/counts"):
            continue  # said to take the same as /logs
        for parameter in operations["get"].get("parameters", []):
            assert re.search(rf"[?&{{]{parameter['name']}\b", line), f"{path} {parameter['name']}"


async def test_every_type_of_the_document_is_one_of_the_answers(client: httpx.AsyncClient) -> None:
    document = (await client.get("/api/wk/openapi.json")).json()
    assert set(document["components"]["schemas"]) <= set(vars(answers))


async def test_the_page_to_try_it_asks_no_other_site(client: httpx.AsyncClient) -> None:
    page = await client.get("/api/wk/docs")
    assert page.status_code == 200
    assert "connect-src 'self'" in page.headers["content-security-policy"]
    assert not re.search(r"https?://|src=|@import|<link", page.text)


async def test_pages_are_followed_by_their_cursor(client: httpx.AsyncClient, filled: Store) -> None:
    for path, items in (("logs", 6), ("traces", 6)):
        seen, cursor = [], ""
        while cursor is not None:
            answer = (await client.get(f"/api/wk/{path}?limit=4{cursor and f'&cursor={quote(cursor)}'}")).json()
            seen += answer[path]
            cursor = answer["next"]
        assert len(seen) == items


async def test_the_default_range_is_the_hour_before_now_or_before_the_end(
    client: httpx.AsyncClient, filled: Store
) -> None:
    assert (await client.get("/api/wk/logs/counts")).json()["start"] == "2026-11-21T05:00:00.000000000Z"
    assert (await client.get("/api/wk/logs/counts?end=now-2h")).json()["start"] == "2026-11-21T03:00:00.000000000Z"


async def test_a_service_name_may_contain_a_slash(client: httpx.AsyncClient, store: Store) -> None:
    answer = await client.get("/api/wk/services/eu%2Fshop/operations")
    assert answer.json() == {"service": "eu/shop", "operations": []}
