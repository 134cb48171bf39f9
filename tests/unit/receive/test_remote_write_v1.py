"""Remote write 1.0 becomes columns, whichever way its series are encoded."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.remote_write import NOW_MS, batch_of, checked, request_v1, samples_of
from watchkeeper_server.model.series import series_id
from watchkeeper_server.receive.exposition.write_request import field
from watchkeeper_server.receive.prompb import TimeSeries
from watchkeeper_server.receive.refusal import RefusedError
from watchkeeper_server.receive.sample_batch import SampleCheck

UP = {"__name__": "up", "instance": "a:1", "job": "shop"}
STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
UP_ID = series_id(UP.items())


def bits(value: float) -> int:
    return int.from_bytes(struct.pack("<d", value), "little")


def test_a_sample_becomes_a_row_of_columns() -> None:
    verdict = checked(request_v1((UP, [(NOW_MS, 1.5)])).SerializeToString())
    assert samples_of(verdict) == [("up", UP_ID, NOW_MS, 1.5)]
    assert (verdict.samples, verdict.rejected, verdict.message) == (1, 0, "")


@pytest.mark.parametrize("value", [0.0, 1.0, -1e300, math.inf, -math.inf, 5e-324])
def test_a_value_arrives_as_it_is(value: float) -> None:
    assert samples_of(checked(request_v1((UP, [(NOW_MS, value)])).SerializeToString()))[0][3] == value


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("value", [STALE, math.nan, -math.nan, struct.unpack("<d", b"\x01\0\0\0\0\0\xf8\xff")[0]])
def test_a_nan_keeps_its_bits(value: float, count: int) -> None:
    verdict = checked(request_v1((UP, [(NOW_MS, value)] * count)).SerializeToString())
    # read as bytes: a decoder might quieten a NaN
    assert bits(value).to_bytes(8, "little") * count in verdict.payload


@pytest.mark.parametrize("time", [0, 1, 2**35 - 1, 2**35, NOW_MS])
def test_any_time_since_1970_is_taken(time: int) -> None:
    assert samples_of(checked(request_v1((UP, [(time, 2.0)])).SerializeToString()))[0][2] == time


@pytest.mark.parametrize(("time", "reason"), [(-1, "older than what is retained"), (NOW_MS * 2, "is in the future")])
def test_a_time_out_of_bounds_is_named_and_the_rest_is_kept(time: int, reason: str) -> None:
    verdict = checked(request_v1((UP, [(time, 1), (NOW_MS, 2)]), ({"__name__": "b"}, [(5, 3)])).SerializeToString())
    assert [row[2:] for row in samples_of(verdict)] == [(NOW_MS, 2), (5, 3)]
    assert verdict.rejected == 1
    assert 'up{instance="a:1", job="shop"}: timestamp' in verdict.message
    assert reason in verdict.message


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({"job": "shop"}, "no metric name"),
        ({"__name__": "", "job": "shop"}, "no metric name"),
        ([("__name__", "a"), ("", "x")], "a label has no name"),
        ([("__name__", "a"), ("b", "1"), ("b", "2")], "label 'b' is there twice"),
        ([("__name__", "a"), ("b", "1"), ("b", "")], "label 'b' is there twice"),
        ([], "no metric name"),
        ([("__name__", "a"), *((f"l{i}", "x") for i in range(100))], "101 labels, the most allowed is 100"),
        ([("__name__", "a")] * 101, "101 labels, the most allowed is 100"),
        ([("__name__", "a"), *[("b" * 1000, "")] * 2], f"label '{'b' * 300}…' is there twice"),
    ],
)
def test_a_series_at_fault_is_named_and_the_rest_is_kept(labels: Any, reason: str) -> None:
    check = SampleCheck(100)
    request = request_v1((labels, [(NOW_MS, 1), (NOW_MS, 2)]), (UP, [(NOW_MS, 3)]), (labels, [(NOW_MS, 4)]))
    for _ in range(2):  # a fault is no less one the second time
        verdict = checked(request.SerializeToString(), check=check)
        verdict.remember()
        assert samples_of(verdict) == [("up", UP_ID, NOW_MS, 3)]
        assert verdict.rejected == 3
        assert reason in verdict.message


def test_only_the_first_faults_are_put_into_words() -> None:
    series = [({"job": str(i)}, [(NOW_MS, 1.0)]) for i in range(9)]
    message = checked(request_v1(*series).SerializeToString()).message
    assert message.startswith('9 left out, the rest is stored: {job="0"}: it has no metric name')
    assert message.endswith("; and 4 more")
    times = [(NOW_MS * 2, 1.0)] * 9
    assert checked(request_v1((UP, times)).SerializeToString()).message.endswith("; and 4 more")


def test_order_and_empty_values_of_labels_do_not_matter() -> None:
    unsorted = [("job", "shop"), ("__name__", "up"), ("none", ""), ("instance", "a:1")]
    verdict = checked(request_v1((UP, [(NOW_MS, 1)]), (unsorted, [(NOW_MS, 2)])).SerializeToString())
    assert {row[1] for row in samples_of(verdict)} == {UP_ID}


def test_any_text_is_a_label() -> None:
    odd = {"__name__": "grüße 🛰", "a.b/c": "\n\0'\"\\", " ": "\u2028"}
    verdict = checked(request_v1((odd, [(NOW_MS, 1)])).SerializeToString())
    assert samples_of(verdict)[0][:2] == ("grüße 🛰", series_id(odd.items()))


def test_a_series_is_announced_once_in_ten_minutes_of_its_own_time() -> None:
    check, start = SampleCheck(100), NOW_MS // 600_000 * 600_000

    def announced(time: int) -> list[tuple[int, int]]:
        verdict = checked(request_v1((UP, [(time, 1.0)])).SerializeToString(), check=check)
        verdict.remember()
        rows = batch_of(verdict).series
        assert all((row.metric, row.id) == ("up", UP_ID) for row in rows)
        assert all({label.name: label.value for label in row.labels} == UP for row in rows)
        return [(row.first_seen - start // 1000, row.last_seen - start // 1000) for row in rows]

    assert announced(start + 1) == [(0, 600)]
    assert announced(start + 599_999) == []
    assert announced(start) == []
    assert announced(start + 600_000) == [(0, 1200)]
    # what is announced has no gaps, so that it is enough to look at one row
    assert announced(start - 1_800_000) == [(-1800, 1200)]
    assert announced(start - 600_000) == []


def test_a_series_is_announced_again_until_its_request_is_durable() -> None:
    check, body = SampleCheck(100), request_v1((UP, [(NOW_MS, 1.0)])).SerializeToString()
    assert len(batch_of(checked(body, check=check)).series) == 1
    verdict = checked(body, check=check)
    assert len(batch_of(verdict).series) == 1
    verdict.remember()
    assert len(batch_of(checked(body, check=check)).series) == 0
    check.forget()
    assert len(batch_of(checked(body, check=check)).series) == 1


def test_a_series_may_come_in_several_pieces_of_one_request() -> None:
    pieces = [(UP, [(NOW_MS + i, float(i))]) for i in range(3)]
    check = SampleCheck(100)
    verdict = checked(request_v1(*pieces).SerializeToString(), check=check)
    assert [row[3] for row in samples_of(verdict)] == [0, 1, 2]
    verdict.remember()
    assert batch_of(checked(request_v1(*pieces).SerializeToString(), check=check)).series == []


def test_exemplars_bring_the_trace_they_point_at() -> None:
    request = request_v1((UP, [(NOW_MS, 1.0)]))
    labels = {"trace_id": "0AF7651916CD43DD8448EB211C80319C", "span_id": "b7ad6b7169203331", "user": "7", "none": ""}
    exemplar = request.timeseries[0].exemplars.add(value=0.5, timestamp=NOW_MS + 1)
    for name, value in labels.items():
        exemplar.labels.add(name=name, value=value)
    request.timeseries[0].exemplars.add(value=2, timestamp=NOW_MS).labels.add(name="trace_id", value="not hex")
    verdict = checked(request.SerializeToString())
    first, second = batch_of(verdict).exemplars
    assert verdict.exemplars == 2
    assert (first.metric, first.id, first.time, first.value) == ("up", UP_ID, NOW_MS + 1, 0.5)
    assert (first.trace_id.hex(), first.span_id.hex()) == (labels["trace_id"].lower(), labels["span_id"])
    assert [(label.name, label.value) for label in first.labels] == [("user", "7")]
    assert (second.trace_id, [(label.name, label.value) for label in second.labels]) == (b"", [("trace_id", "not hex")])


def test_an_exemplar_out_of_bounds_is_named_and_its_sample_is_kept() -> None:
    request = request_v1((UP, [(NOW_MS, 1.0)]))
    request.timeseries[0].exemplars.add(value=2, timestamp=-5)
    verdict = checked(request.SerializeToString())
    assert (verdict.samples, verdict.exemplars, verdict.rejected) == (1, 0, 1)
    assert 'up{instance="a:1", job="shop"}: an exemplar: timestamp -5' in verdict.message


def test_metadata_are_written_when_they_change() -> None:
    check = SampleCheck(100)

    def written(text: str) -> list[tuple[str, str, str, str]]:
        request = request_v1()
        request.metadata.add(type=1, metric_family_name="hits_total", help=text, unit="")
        request.metadata.add(type=99, metric_family_name="odd", unit="seconds")
        request.metadata.add(type=1, help="of nothing")
        verdict = checked(request.SerializeToString(), check=check)
        verdict.remember()
        return [(row.metric, row.type, row.unit, row.help) for row in batch_of(verdict).metadata]

    assert written("Hits.") == [("hits_total", "counter", "", "Hits."), ("odd", "unknown", "seconds", "")]
    assert written("Hits.") == []
    assert written("More.") == [("hits_total", "counter", "", "More.")]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xff\xff", "not a prometheus.WriteRequest"),
        (b"\x0a\x05ab", "not a prometheus.WriteRequest"),
        (field(1, b"\x0a\x7f"), "not a prometheus.WriteRequest"),
        (field(1, field(1, field(1, b"\xff\xfe"))), "strings are UTF-8"),
        (b"\x22\x00\x2a\x00", "if it is remote write 2.0"),
    ],
)
def test_what_is_no_request_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        checked(body)


def test_an_empty_request_is_taken() -> None:
    verdict = checked(b"")
    assert (verdict.payload, verdict.samples, verdict.message) == (b"", 0, "")


def test_a_label_that_looks_like_a_sample_is_a_label() -> None:
    text = b"\x12\x10\x09" + b"a" * 8 + b"\x10" + "߿ࠀ".encode() + b"\x7f"
    labels = {**UP, "z": text.decode()}
    verdict = checked(request_v1((labels, []), (UP, [(NOW_MS, 1)])).SerializeToString())
    assert samples_of(verdict) == [("up", UP_ID, NOW_MS, 1)]


def test_fields_in_another_order_mean_the_same() -> None:
    labels, sample = TimeSeries(), TimeSeries()
    for name, value in UP.items():
        labels.labels.add(name=name, value=value)
    sample.samples.add(timestamp=NOW_MS, value=4)
    body = field(1, sample.SerializeToString() + labels.SerializeToString())
    split = field(1, labels.SerializeToString() + sample.SerializeToString() + field(1, b"\x0a\x01z\x12\x01y"))
    assert samples_of(checked(body)) == [("up", UP_ID, NOW_MS, 4)]
    assert samples_of(checked(split)) == [("up", series_id([*UP.items(), ("z", "y")]), NOW_MS, 4)]


def test_fields_of_another_version_are_left_out_of_announcements() -> None:
    labels = field(1, field(1, b"__name__") + field(2, b"up") + b"\x18\x05")
    sample = TimeSeries()
    sample.samples.add(timestamp=NOW_MS, value=4)
    verdict = checked(field(1, labels + sample.SerializeToString()))
    assert [row.labels[0].SerializeToString() for row in batch_of(verdict).series] == [
        field(1, b"__name__") + field(2, b"up")
    ]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
labels_ = st.dictionaries(texts.filter(bool), texts, max_size=6).map(lambda d: {"__name__": "m", **d})
samples = st.tuples(st.integers(0, NOW_MS), st.floats(allow_nan=False))


@given(st.lists(st.tuples(labels_, st.lists(samples, max_size=3)), max_size=8), st.booleans())
def test_whatever_is_sent_arrives_once(series: list[Any], twice: bool) -> None:
    check, body = SampleCheck(100), request_v1(*series).SerializeToString()
    verdict = checked(body, check=check)
    if twice:
        verdict.remember()
        verdict = checked(body, check=check)
    expected = [
        (labels["__name__"], series_id(labels.items()), time, value)
        for labels, found in series
        for time, value in found
        if labels["__name__"]
    ]
    assert sorted(samples_of(verdict)) == sorted(expected)
    if not twice:
        assert {row.id for row in batch_of(verdict).series} == {row[1] for row in expected}
