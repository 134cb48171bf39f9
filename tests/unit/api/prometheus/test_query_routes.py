from __future__ import annotations

from typing import Any

import pytest

from support.prometheus_api import NOW_MS, Api
from watchkeeper_server.api.prometheus.options import PrometheusApiOptions
from watchkeeper_server.api.prometheus.queries import MAX_TIME_MS, MIN_TIME_MS, ExemplarSeries
from watchkeeper_server.model.errors import StoreBusyError, StoreError, StoreUnavailableError
from watchkeeper_server.promql.errors import (
    ExecutionError,
    QueryCanceledError,
    QueryTimeoutError,
    TooManySamplesError,
)

NOW = NOW_MS // 1000
INSTANT, RANGE, EXEMPLARS = "/api/v1/query", "/api/v1/query_range", "/api/v1/query_exemplars"


@pytest.mark.parametrize(
    ("path", "parameters", "body"),
    [
        (INSTANT, {"query": "1"}, f'{{"resultType":"scalar","result":[{NOW},"1"]}}'),
        (INSTANT, {"query": '"text"', "time": "2.5"}, '{"resultType":"string","result":[2.5,"text"]}'),
        (
            INSTANT,
            {"query": 'up{instance="a:1"}'},
            (
                '{"resultType":"vector","result":[{"metric":{"__name__":"up","instance":"a:1","job":"api"},'
                f'"value":[{NOW},"1"]}}]}}'
            ),
        ),
        (
            INSTANT,
            {"query": 'up{instance="a:1"}[40s]'},
            (
                '{"resultType":"matrix","result":[{"metric":{"__name__":"up","instance":"a:1","job":"api"},'
                f'"values":[[{NOW - 30},"0"],[{NOW},"1"]]}}]}}'
            ),
        ),
        (
            RANGE,
            {"query": "size_bytes", "start": NOW - 1, "end": NOW, "step": "250ms"},
            (
                '{"resultType":"matrix","result":[{"metric":{"__name__":"size_bytes","instance":"a:1"},'
                f'"values":[[{NOW - 1}.500,"150000000000000000"],[{NOW - 1}.750,"150000000000000000"],'
                f'[{NOW},"150000000000000000"]]}}]}}'
            ),
        ),
        (
            RANGE,
            {"query": "1", "start": "1970-01-01T00:00:00Z", "end": "1", "step": "1"},
            '{"resultType":"matrix","result":[{"metric":{},"values":[[0,"1"],[1,"1"]]}]}',
        ),
        (RANGE, {"query": "absent", "start": 1, "end": 1, "step": 1}, '{"resultType":"matrix","result":[]}'),
        ("/api/v1/format_query", {"query": "sum(up)by(job)"}, '"sum by (job) (up)"'),
    ],
)
async def test_a_query_is_answered_to_the_letter(api: Api, path: str, parameters: dict[str, Any], body: str) -> None:
    for answer in (await api.client.get(path, params=parameters), await api.client.post(path, data=parameters)):
        assert answer.status_code == 200
        assert answer.text == f'{{"status":"success","data":{body}}}'


async def test_a_query_is_answered_as_a_tree(api: Api) -> None:
    tree = await api.data("/api/v1/parse_query", query="-up")
    assert (tree["type"], tree["op"], tree["expr"]["type"]) == ("unaryExpr", "-", "vectorSelector")


ZERO = "zero or negative query resolution step widths are not accepted. Try a positive integer"
MANY = "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"
UNREADABLE = 'cannot parse "x" to a valid'
FOR = " for range query, must be Scalar or instant Vector"
ATOI = "strconv.Atoi: parsing"


@pytest.mark.parametrize(
    ("path", "parameters", "message"),
    [
        (INSTANT, {"query": "1", "time": "x"}, f"\"time\": invalid time value for 'time': {UNREADABLE} timestamp"),
        (INSTANT, {"query": "1", "timeout": "x"}, f'"timeout": {UNREADABLE} duration'),
        (INSTANT, {"query": "1", "max_source_resolution": "x"}, f'"max_source_resolution": {UNREADABLE} duration'),
        (INSTANT, {"query": "1", "limit": "x"}, f'"limit": {ATOI} "x": invalid syntax'),
        (INSTANT, {"query": "1", "limit": "-1"}, '"limit": limit must be non-negative'),
        (INSTANT, {"query": "up{"}, '"query": 1:4: parse error: unexpected end of input inside braces'),
        (INSTANT, {}, '"query": unknown position: parse error: no expression found in input'),
        (RANGE, {"query": "up{", "start": 1, "end": 1, "step": 1}, '"query": 1:4: parse error: unexpected end of'),
        (
            RANGE,
            {"query": "up[5m]", "start": 1, "end": 1, "step": 1},
            f'"query": invalid expression type "range vector"{FOR}',
        ),
        (RANGE, {"query": "'a'", "start": 1, "end": 1, "step": 1}, f'"query": invalid expression type "string"{FOR}'),
        (RANGE, {"query": "1", "end": 1, "step": 1}, '"start": cannot parse "" to a valid timestamp'),
        (RANGE, {"query": "1", "start": "x", "end": 1, "step": 1}, f'"start": {UNREADABLE} timestamp'),
        (RANGE, {"query": "1", "start": 1, "end": "x", "step": 1}, f'"end": {UNREADABLE} timestamp'),
        (RANGE, {"query": "1", "start": 2, "end": 1, "step": 1}, '"end": end timestamp must not be before start time'),
        (RANGE, {"query": "1", "start": 1, "end": 1}, '"step": cannot parse "" to a valid duration'),
        (RANGE, {"query": "1", "start": 1, "end": 1, "step": "x"}, f'"step": {UNREADABLE} duration'),
        (RANGE, {"query": "1", "start": 1, "end": 1, "step": 0}, f'"step": {ZERO}'),
        (RANGE, {"query": "1", "start": 1, "end": 1, "step": -5}, f'"step": {ZERO}'),
        (RANGE, {"query": "1", "start": 1, "end": 1, "step": 0.0005}, f'"step": {ZERO}'),
        (RANGE, {"query": "1", "start": 1, "end": 1, "step": 1, "timeout": "x"}, f'"timeout": {UNREADABLE} duration'),
        (
            EXEMPLARS,
            {"query": "up", "start": "x"},
            f"\"start\": invalid time value for 'start': {UNREADABLE} timestamp",
        ),
        ("/api/v1/format_query", {"query": "("}, '"query": 1:2: parse error: unclosed left parenthesis'),
        ("/api/v1/parse_query", {"query": "("}, '"query": 1:2: parse error: unclosed left parenthesis'),
    ],
)
async def test_a_wrong_parameter_is_named(api: Api, path: str, parameters: dict[str, Any], message: str) -> None:
    status, kind, error = await api.error(path, **parameters)
    assert (status, kind) == (400, "bad_data")
    assert error.startswith(f"invalid parameter {message}")


@pytest.mark.parametrize(
    ("path", "parameters", "message"),
    [
        (RANGE, {"query": "1", "start": 0, "end": 11_001, "step": 1}, MANY),
        (
            INSTANT,
            {"query": "1", "lookback_delta": "x"},
            f"error parsing lookback delta duration: {UNREADABLE} duration",
        ),
        (EXEMPLARS, {"query": "up", "start": 2, "end": 1}, "end timestamp must not be before start timestamp"),
        (EXEMPLARS, {"query": "up{"}, "1:4: parse error: unexpected end of input inside braces"),
    ],
)
async def test_what_prometheus_refuses_without_a_name_has_none(
    api: Api, path: str, parameters: dict[str, Any], message: str
) -> None:
    assert await api.error(path, **parameters) == (400, "bad_data", message)


async def test_a_range_may_have_eleven_thousand_and_one_steps(api: Api) -> None:
    result = (await api.data(RANGE, query="1", start=0, end=11_000, step=1))["result"]
    assert len(result[0]["values"]) == 11_001


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (ExecutionError("two series where one was expected"), (422, "execution", "two series where one was expected")),
        (
            TooManySamplesError(),
            (422, "execution", "query processing would load too many samples into memory in query execution"),
        ),
        (QueryTimeoutError("query timed out in expression evaluation"), (503, "timeout", "query timed out in ")),
        (QueryCanceledError("query was canceled"), (499, "canceled", "query was canceled")),
        (StoreBusyError("Code: 159. Timeout exceeded"), (422, "execution", "ask for a shorter range")),
        (StoreUnavailableError("disk is gone"), (503, "unavailable", "the store cannot read its data just now")),
        (StoreError("Code: 47. Unknown column"), (500, "internal", "this is a fault of the server")),
        (ZeroDivisionError("a secret"), (500, "internal", "this is a fault of the server")),
    ],
)
async def test_what_goes_wrong_has_prometheus_status_and_kind(
    api: Api, error: Exception, refusal: tuple[int, str, str]
) -> None:
    api.queries.error = error
    status, kind, message = await api.error(INSTANT, query="up")
    assert (status, kind) == refusal[:2]
    assert refusal[2] in message
    assert "secret" not in message


async def test_times_and_limits_are_handed_on(api: Api) -> None:
    await api.get(INSTANT, query="1", time="5", timeout="1m", lookback_delta="90s")
    await api.get(INSTANT, query="1", timeout="2.5", lookback_delta="-1")
    await api.get(RANGE, query="1", start="1", end="2.5", step="500ms", lookback_delta="0.5")
    assert api.queries.asked == [
        ("instant", "1", 5_000, 90_000, 60.0, 0),
        ("instant", "1", NOW_MS, None, 2.5, 0),
        ("range", "1", 1_000, 2_500, 500, 500, None, 0),
    ]


@pytest.mark.parametrize(
    ("text", "coarsest_ms"), [("0s", 0), ("5m", 300_000), ("1h", 3_600_000), ("90", 90_000), ("", 0), ("auto", 6_000)]
)
async def test_rollups_may_be_asked_for_as_of_thanos(api: Api, text: str, coarsest_ms: int) -> None:
    await api.get(RANGE, query="1", start="1", end="2", step="30s", max_source_resolution=text)
    assert api.queries.asked[0][-1] == coarsest_ms


@pytest.mark.parametrize("limit", ["0", "-1", "-1e-9"])
async def test_a_query_without_time_times_out_at_once(api: Api, limit: str) -> None:
    assert await api.error(INSTANT, query="1", timeout=limit) == (503, "timeout", "query timed out in query queue")
    assert api.queries.asked == []


async def test_past_the_limit_there_is_a_warning(api: Api) -> None:
    for path, times in ((INSTANT, {}), (RANGE, {"start": NOW, "end": NOW, "step": 1})):
        answer = (await api.get(path, query="up", limit=1, **times)).json()
        assert len(answer["data"]["result"]) == 1
        assert answer["warnings"] == ["results truncated due to limit"]
        answer = (await api.get(path, query="up", limit=2, **times)).json()
        assert len(answer["data"]["result"]) == 2
        assert "warnings" not in answer


async def test_remarks_come_with_the_answer(api: Api) -> None:
    api.queries.warnings, api.queries.infos = ["careful"], ["just so you know"]
    answer = (await api.get(INSTANT, query="1")).json()
    assert list(answer) == ["status", "data", "warnings", "infos"]
    assert (answer["warnings"], answer["infos"]) == (["careful"], ["just so you know"])


async def test_of_very_many_remarks_ten_are_told(api: Api) -> None:
    api.queries.warnings = [f"warning {number}" for number in range(12)]
    api.queries.infos = [f"info {number}" for number in range(11)]
    answer = (await api.get(INSTANT, query="1")).json()
    assert answer["warnings"] == [*api.queries.warnings[:10], "2 more warning annotations omitted"]
    assert answer["infos"] == [*api.queries.infos[:10], "1 more info annotations omitted"]


@pytest.mark.parametrize("stats", ["all", "true", "1"])
async def test_how_long_it_took_is_told_if_asked_for(api: Api, stats: str) -> None:
    data = await api.data(INSTANT, query="1", stats=stats)
    assert data["stats"]["timings"] == {
        "evalTotalTime": 0.25,
        "resultSortTime": 0,
        "queryPreparationTime": 0,
        "innerEvalTime": 0.25,
        "execQueueTime": 0,
        "execTotalTime": 0.25,
    }


async def test_exemplars_of_all_selectors_are_asked_for(api: Api) -> None:
    api.queries.told_exemplars = [
        ExemplarSeries(
            seriesLabels={"le": "1", "__name__": "took_bucket"},
            exemplars=[
                {"labels": {"trace_id": "b"}, "value": 0.25, "timestamp": 1_500},
                {"labels": {}, "value": 1e-7, "timestamp": 2_000},
            ],
        ),
        ExemplarSeries(seriesLabels={}, exemplars=[{"labels": {}, "value": 7.0, "timestamp": 3_000}]),
    ]
    query = 'histogram_quantile(0.9, sum by (le) (rate(took_bucket[5m]))) > on () group_left scalar(a{b="c"}) + 1'
    answer = await api.get(EXEMPLARS, query=query)
    assert answer.text == (
        '{"status":"success","data":[{"seriesLabels":{"__name__":"took_bucket","le":"1"},"exemplars":['
        '{"labels":{"trace_id":"b"},"value":"0.25","timestamp":1.500},{"labels":{},"value":"1e-07","timestamp":2}]},'
        '{"seriesLabels":{},"exemplars":[{"labels":{},"value":"7","timestamp":3}]}]}'
    )
    [(_, selectors, start_ms, end_ms)] = api.queries.asked
    assert [[matcher.value for matcher in matchers] for matchers in selectors] == [["took_bucket"], ["c", "a"]]
    assert (start_ms, end_ms) == (MIN_TIME_MS, MAX_TIME_MS)


async def test_a_query_that_selects_nothing_has_no_exemplars(api: Api) -> None:
    answer = await api.get(EXEMPLARS, query="1 + 1")
    assert (answer.status_code, answer.content) == (204, b"")
    assert api.queries.asked == []
    assert await api.data(EXEMPLARS, query="up") == []


class TestExperimental:
    @pytest.fixture(params=[False, True])
    def options(self, request: pytest.FixtureRequest) -> PrometheusApiOptions:
        return PrometheusApiOptions(experimental=request.param)

    async def test_what_is_experimental_is_read_where_that_is_allowed(
        self, api: Api, options: PrometheusApiOptions
    ) -> None:
        answer = await api.get("/api/v1/format_query", query="limitk(1,up)")
        assert answer.is_success is options.experimental
