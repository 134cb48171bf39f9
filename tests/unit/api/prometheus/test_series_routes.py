from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.prometheus_api import Api
from watchkeeper_server.api.prometheus.queries import MAX_TIME_MS, MIN_TIME_MS
from watchkeeper_server.api.prometheus.series_routes import unescaped
from watchkeeper_server.promql.tree import Matcher, MatchOp

SERIES, LABELS, VALUES = "/api/v1/series", "/api/v1/labels", "/api/v1/label/instance/values"
NONEMPTY = "match[] must contain at least one non-empty matcher"
UP = (Matcher("__name__", MatchOp.EQUAL, "up"),)


async def test_series_are_answered_with_their_labels_by_name(api: Api) -> None:
    answer = await api.get(SERIES, match="up")
    assert answer.text == (
        '{"status":"success","data":[{"__name__":"up","instance":"a:1","job":"api"},'
        '{"__name__":"up","instance":"b:1","job":"api"},{"__name__":"size_bytes","instance":"a:1"}]}'
    )


async def test_labels_and_their_values_are_answered(api: Api) -> None:
    assert await api.data(LABELS) == ["__name__", "instance", "job"]
    assert await api.data(VALUES) == ["a:1", "b:1"]
    assert (await api.client.post(LABELS, data={"match[]": "up"})).json()["data"] == ["__name__", "instance", "job"]


async def test_selectors_and_times_are_handed_on(api: Api) -> None:
    job = (Matcher("job", MatchOp.REGEX, "a.*"),)
    await api.get(SERIES, match=["up", '{job=~"a.*"}'], start=1, end="1970-01-01T00:00:02Z", limit=7)
    await api.get(LABELS)
    await api.get(VALUES, match="up", start=5)
    assert api.queries.asked == [
        ("series", [UP, job], 1_000, 2_000, 8),
        ("label_names", [], MIN_TIME_MS, MAX_TIME_MS, 0),
        ("label_values", "instance", [UP], 5_000, MAX_TIME_MS, 0),
    ]


@pytest.mark.parametrize(("path", "parameters"), [(SERIES, {"match": "up"}), (LABELS, {}), (VALUES, {})])
async def test_past_the_limit_there_is_a_warning(api: Api, path: str, parameters: dict[str, Any]) -> None:
    everything = await api.data(path, **parameters)
    answer = (await api.get(path, limit=1, **parameters)).json()
    assert (answer["data"], answer["warnings"]) == (everything[:1], ["results truncated due to limit"])
    answer = (await api.get(path, limit=len(everything), **parameters)).json()
    assert answer["data"] == everything
    assert "warnings" not in answer


@pytest.mark.parametrize(
    ("path", "parameters", "message"),
    [
        (SERIES, {}, "no match[] parameter provided"),
        (
            SERIES,
            {"match": "up{"},
            'invalid parameter "match[]": 1:4: parse error: unexpected end of input inside braces',
        ),
        (SERIES, {"match": '{a=""}'}, f'invalid parameter "match[]": {NONEMPTY}'),
        (SERIES, {"match": ["up", '{a=~".*"}']}, f'invalid parameter "match[]": {NONEMPTY}'),
        (SERIES, {"match": "up", "limit": "-1"}, 'invalid parameter "limit": limit must be non-negative'),
        (SERIES, {"match": "rate(up[5m])"}, 'invalid parameter "match[]": 1:5: parse error: unexpected "("'),
        (LABELS, {"match": "up{"}, "1:4: parse error: unexpected end of input inside braces"),
        (LABELS, {"match": '{a!="x"}'}, NONEMPTY),
        (VALUES, {"match": '{a!~"x"}'}, NONEMPTY),
        (VALUES, {"match": "up offset 5m"}, "1:4: parse error: unexpected <offset>"),
        (
            LABELS,
            {"end": "x"},
            'invalid parameter "end": invalid time value for \'end\': cannot parse "x" to a valid timestamp',
        ),
        ("/api/v1/label/U__/values", {}, 'invalid label name: ""'),
        ("/api/v1/label/%ff/values", {}, 'invalid label name: "\\ufffd"'),
        ("/api/v1/metadata", {"limit": "x"}, "limit must be a number"),
        ("/api/v1/metadata", {"limit_per_metric": "x"}, "limit_per_metric must be a number"),
    ],
)
async def test_a_wrong_parameter_is_refused_in_prometheus_words(
    api: Api, path: str, parameters: dict[str, Any], message: str
) -> None:
    assert await api.error(path, **parameters) == (400, "bad_data", message)
    assert api.queries.asked == []


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("job", "job"),
        ("__name__", "__name__"),
        ("http.route", "http.route"),
        ("größe", "größe"),
        ("U__http_2e_route", "http.route"),
        ("U__a__b", "a_b"),
        ("U___1F600_", "😀"),
        # not well-formed: taken as they are
        ("U__a_b", "U__a_b"),
        ("U__a_", "U__a_"),
        ("U__a_xyz_", "U__a_xyz_"),
        ("U__a_123456_", "U__a_123456_"),
        ("U__a_d800_", "U__a_d800_"),
    ],
)
async def test_a_label_name_may_be_escaped(api: Api, path: str, name: str) -> None:
    await api.data(f"/api/v1/label/{path}/values")
    assert api.queries.asked[0][1] == name


@given(st.text())
def test_any_name_can_be_escaped(name: str) -> None:
    escaped = "".join(
        char if char.isascii() and char.isalnum() else "__" if char == "_" else f"_{ord(char):x}_" for char in name
    )
    if all(ord(char) <= 0xFFFFF for char in name):
        assert unescaped(f"U__{escaped}") == name


async def test_metadata_is_answered_by_metric(api: Api) -> None:
    assert await api.data("/api/v1/metadata") == {"up": [{"type": "gauge", "help": "Whether it answers.", "unit": ""}]}
    assert await api.data("/api/v1/metadata", limit="0") == {}
    await api.get("/api/v1/metadata", metric="up", limit=5, limit_per_metric=2)
    await api.get("/api/v1/metadata", limit="-1")
    assert api.queries.asked == [
        ("metadata", None, 0, 0),
        ("metadata", "up", 5, 2),
        ("metadata", None, 0, 0),
    ]
