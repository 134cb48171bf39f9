from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.prometheus_api import NOW_MS, Api, refusal_of
from watchkeeper_server.api.prometheus.parameters import (
    MAX_FORM_BYTES,
    parse_seconds,
    parse_time,
    parse_whole_number,
)
from watchkeeper_server.api.prometheus.queries import MAX_TIME_MS, MIN_TIME_MS

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("0", 0),
        ("1435781451.781", 1_435_781_451_781),
        ("1.0006", 1_001),
        ("1.0004", 1_000),
        ("-1.5", -1_500),
        (".5", 500),
        ("1e3", 1_000_000),
        ("+7.", 7_000),
        ("2015-07-01T20:10:51.781Z", 1_435_781_451_781),
        ("2015-07-01T20:10:51.7819Z", 1_435_781_451_781),
        ("2015-07-01T20:10:51,78Z", 1_435_781_451_780),
        ("2015-07-01T22:10:51+02:00", 1_435_781_451_000),
        ("2015-07-01T18:40:51-01:30", 1_435_781_451_000),
        ("2015-07-01T2:10:51Z", 1_435_716_651_000),
        ("1969-12-31T23:59:59.9996Z", -1),
        ("-292273086-05-16T16:47:06Z", MIN_TIME_MS),
        ("292277025-08-18T07:12:54.999999999Z", MAX_TIME_MS),
        # what Go's client sends for these, as numbers
        ("-9223309901257974", MIN_TIME_MS),
        ("9223309901257975", MAX_TIME_MS),
    ],
)
def test_a_time_is_unix_seconds_or_rfc_3339(text: str, time_ms: int) -> None:
    assert parse_time(text) == time_ms


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "now", "now-1h", "NaN", "Inf", "1_000", " 1", "1 ", "0x10", "1e300", "1e400", "٣", "1.2.3"),
        *("2015-07-01", "2015-07-01T20:10:51", "2015-07-01 20:10:51Z", "2015-13-01T00:00:00Z", "2015-07-01T24:00:00Z"),
        *("2015-02-29T00:00:00Z", "0001-01-01T00:00:00+01:00"),
    ],
)
def test_anything_else_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r'^cannot parse ".*" to a valid timestamp$'):
        parse_time(text)


@given(st.integers(-62_000_000_000_000, 253_000_000_000_000))
def test_a_time_means_the_same_in_both_forms(time_ms: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
    assert parse_time(moment.isoformat()) == time_ms
    assert parse_time(repr(time_ms / 1000)) == time_ms


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    try:
        assert MIN_TIME_MS <= parse_time(text) <= MAX_TIME_MS
    except ValueError as error:
        assert "cannot parse" in str(error)  # noqa: PT017  both ends are fine


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("15", 15 * 10**9),
        ("0.5", 5 * 10**8),
        ("-1", -(10**9)),
        ("1e-9", 1),
        ("5m", 300 * 10**9),
        ("1h30m", 5_400 * 10**9),
        ("250ms", 25 * 10**7),
        ("1y", 365 * 86_400 * 10**9),
        ("0", 0),
    ],
)
def test_a_duration_is_seconds_or_with_units(text: str, nanoseconds: int) -> None:
    assert parse_seconds(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "x", "1z", "m5", "1m1h", "1.5m", "-5m", "NaN", "Inf", "1e400", "999999y"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r'^cannot parse ".*" to a valid duration$'):
        parse_seconds(text)


def test_a_duration_past_292_years_overflows() -> None:
    with pytest.raises(ValueError, match=r'^cannot parse "1e10" to a valid duration. It overflows int64$'):
        parse_seconds("1e10")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ten", 'parsing "ten": invalid syntax'),
        ("1.5", 'parsing "1.5": invalid syntax'),
        ("", 'parsing "": invalid syntax'),
        ("9223372036854775808", 'parsing "9223372036854775808": value out of range'),
        ("9" * 50_000, "value out of range"),
    ],
)
def test_a_number_is_whole_and_has_64_bits(text: str, message: str) -> None:
    assert parse_whole_number("-9223372036854775808") == -(2**63)
    with pytest.raises(ValueError, match=f"^strconv.Atoi: .*{message}$"):
        parse_whole_number(text)


async def test_a_form_comes_before_the_address(api: Api) -> None:
    answer = await api.client.post("/api/v1/query?query=1&time=5", data={"query": "2"})
    assert answer.json()["data"] == {"resultType": "scalar", "result": [5, "2"]}
    await api.client.post("/api/v1/series?match[]=a", data={"match[]": ["b", "c"]})
    names = [matchers[0].value for matchers in api.queries.asked[-1][1]]
    assert names == ["b", "c", "a"]


async def test_only_a_form_is_read_as_one(api: Api) -> None:
    for kind in ("text/plain", "application/json", ""):
        answer = await api.client.post("/api/v1/query?query=1", content=b"query=2", headers={"Content-Type": kind})
        assert answer.json()["data"]["result"][1] == "1"
    headers = {"Content-Type": f"{FORM.upper()}; charset=utf-8"}
    answer = await api.client.post("/api/v1/query", content=b"query=2", headers=headers)
    assert answer.json()["data"]["result"][1] == "2"


async def test_the_first_of_a_repeated_parameter_counts(api: Api) -> None:
    assert (await api.data("/api/v1/query", query=["1", "2"]))["result"] == [NOW_MS / 1000, "1"]


async def test_an_empty_parameter_is_as_if_it_were_not_given(api: Api) -> None:
    answer = await api.data("/api/v1/query", query="1", time="", timeout="", limit="", stats="", lookback_delta="")
    assert answer == {"resultType": "scalar", "result": [NOW_MS / 1000, "1"]}


async def test_text_that_is_not_utf_8_does_no_harm(api: Api) -> None:
    refused = await api.client.post("/api/v1/query", content=b"query=%ff\xff", headers={"Content-Type": FORM})
    assert refused.status_code == 400
    assert "parse error" in refusal_of(refused)[2]


async def test_a_form_too_large_is_refused(api: Api) -> None:
    form = urlencode({"query": "1" * MAX_FORM_BYTES}).encode()
    refused = await api.client.post("/api/v1/query", content=form, headers={"Content-Type": FORM})
    assert refusal_of(refused) == (413, "bad_data", "error parsing form values: http: POST too large")
    assert api.queries.asked == []


async def test_a_long_query_fits_into_a_form(api: Api) -> None:
    query = " + ".join(["1"] * 100)
    answer = await api.client.post("/api/v1/query", data={"query": query})
    assert answer.json()["data"]["result"][1] == "100"
