"""Remote write 2.0 becomes the same columns as 1.0."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.remote_write import NOW_MS, SymbolTable, batch_of, checked, request_v1, request_v2, samples_of
from watchkeeper_server.model.series import series_id
from watchkeeper_server.receive.exposition.write_request import field
from watchkeeper_server.receive.prompb import RequestV2
from watchkeeper_server.receive.refusal import RefusedError
from watchkeeper_server.receive.remote_write_v2 import decode_v2
from watchkeeper_server.receive.sample_batch import CheckedSamples, SampleCheck

UP = {"__name__": "up", "instance": "a:1", "job": "shop"}
UP_ID = series_id(UP.items())


def verdict_on(request: Any, check: SampleCheck | None = None) -> CheckedSamples:
    return checked(request.SerializeToString(), decode_v2, check)


def test_a_sample_becomes_a_row_of_columns() -> None:
    verdict = verdict_on(request_v2((UP, [(NOW_MS, 1.5)])))
    assert samples_of(verdict) == [("up", UP_ID, NOW_MS, 1.5)]
    (row,) = batch_of(verdict).series
    assert {label.name: label.value for label in row.labels} == UP


@pytest.mark.parametrize("time", [0, 1, 2**35 - 1, 2**35, NOW_MS])
@pytest.mark.parametrize("value", [0.0, -1.5])
def test_a_start_time_is_skipped(time: int, value: float) -> None:
    request = request_v2((UP, [(time, value)]))
    # Sample.start_timestamp, which is not stored
    sample = request.timeseries[0].samples[0]
    sample.MergeFromString(b"\x18\x80\x80\x80\x80\x80\x20")
    assert samples_of(verdict_on(request)) == [("up", UP_ID, time, value)]


def test_a_series_is_known_again_whatever_numbers_its_symbols_have() -> None:
    check = SampleCheck(100)
    verdict_on(request_v2((UP, [(NOW_MS, 1.0)])), check).remember()
    symbols = SymbolTable()
    symbols.refs({f"label{i}": "x" for i in range(200)})
    reordered = dict(reversed(UP.items()))
    verdict = verdict_on(request_v2((reordered, [(NOW_MS, 2.0)]), symbols=symbols), check)
    assert samples_of(verdict) == [("up", UP_ID, NOW_MS, 2.0)]
    assert not batch_of(verdict).series


@pytest.mark.parametrize("trailing", [b"", b"\x0a\x00", b"\x0a\xff\x01", b"\x0a\x7f", b"\x0a\x04\x01\x02\x80\x80"])
def test_series_cut_short_are_no_request_or_have_no_samples(trailing: bytes) -> None:
    request = request_v2((UP, [(NOW_MS, 1.0)])).SerializeToString()
    body = request + field(5, trailing)
    if trailing in (b"", b"\x0a\x00"):
        assert samples_of(checked(body, decode_v2)) == [("up", UP_ID, NOW_MS, 1.0)]
    else:
        with pytest.raises(RefusedError, match="Request in protobuf"):
            checked(body, decode_v2)


def test_numbers_of_labels_need_not_be_packed() -> None:
    symbols = b"".join(field(4, text.encode()) for text in ("", "__name__", "up"))
    sample = request_v2((UP, [(NOW_MS, 1.0)])).timeseries[0].samples[0].SerializeToString()
    body = symbols + field(5, b"\x08\x01\x08\x02" + field(2, sample))
    assert samples_of(checked(body, decode_v2)) == [("up", series_id({"__name__": "up"}.items()), NOW_MS, 1.0)]


def test_name_and_value_exchanged_are_another_series() -> None:
    check = SampleCheck(100)
    rows = samples_of(
        verdict_on(
            request_v2(
                ({"__name__": "m", "a": "b"}, [(NOW_MS, 1.0)]),
                ({"__name__": "m", "b": "a"}, [(NOW_MS, 1.0)]),
                ({"__name__": "m", "a": "c", "d": "b"}, [(NOW_MS, 1.0)]),
                ({"__name__": "m", "a": "b", "d": "c"}, [(NOW_MS, 1.0)]),
            ),
            check,
        )
    )
    assert len({row[1] for row in rows}) == 4


def test_metadata_come_with_series_and_are_kept_by_family() -> None:
    symbols = SymbolTable()
    series = [
        ("took_bucket", 3, "Took.", "seconds"), ("took_count", 3, "Took.", "seconds"),
        ("took_sum", 3, "Took.", "seconds"),
        ("hits_total", 1, "", ""), ("misses_total", 1, "", ""), ("size_sum", 5, "", "bytes"), ("plain", 0, "", ""),
        ("odd", 77, "Odd.", ""),
    ]  # fmt: skip
    request = request_v2(*(({"__name__": name}, [(NOW_MS, 1.0)]) for name, *_ in series), symbols=symbols)
    for one, (_, number, text, unit) in zip(request.timeseries, series, strict=True):
        one.metadata.type, one.metadata.help_ref, one.metadata.unit_ref = number, symbols.ref(text), symbols.ref(unit)
    del request.symbols[:]
    request.symbols.extend(symbols.numbers)
    check = SampleCheck(100)
    verdict = verdict_on(request, check)
    assert sorted((row.metric, row.type, row.unit, row.help) for row in batch_of(verdict).metadata) == [
        ("hits_total", "counter", "", ""),
        ("misses_total", "counter", "", ""),
        ("odd", "unknown", "", "Odd."),
        ("size", "summary", "bytes", ""),
        ("took", "histogram", "seconds", "Took."),
    ]
    verdict.remember()
    assert not batch_of(verdict_on(request, check)).metadata


def test_exemplars_and_histograms_point_at_their_series() -> None:
    symbols = SymbolTable()
    request = request_v2(({"__name__": "first"}, []), (UP, []), symbols=symbols)
    one = request.timeseries[1]
    one.exemplars.add(value=0.5, timestamp=NOW_MS, labels_refs=symbols.refs({"user": "7"}))
    one.histograms.add(count_int=3, zero_count_int=3, sum=1.5, timestamp=NOW_MS)
    del request.symbols[:]
    request.symbols.extend(symbols.numbers)
    verdict = verdict_on(request)
    (exemplar,), (histogram,) = batch_of(verdict).exemplars, batch_of(verdict).histograms
    assert (verdict.samples, verdict.exemplars, verdict.histograms) == (0, 1, 1)
    assert (exemplar.id, exemplar.labels[0].value) == (UP_ID, "7")
    assert (histogram.id, histogram.metric, histogram.count) == (UP_ID, "up", 3)
    assert [row.id for row in batch_of(verdict).series] == [UP_ID]


def _with(**fields: Any) -> Any:
    request = request_v2((UP, [(NOW_MS, 1.0)]))
    for name, value in fields.items():
        if name == "symbols":
            del request.symbols[:]
            request.symbols.extend(value)
        else:
            target = request.timeseries[0]
            del target.labels_refs[:]
            target.labels_refs.extend(value)
    return request


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (_with(symbols=["a", "b"]), "first symbol is not empty"),
        (_with(symbols=[]), "first symbol is not empty"),
        (_with(refs=[1, 2, 3]), "are odd in number"),
        (_with(refs=[1, 99]), "point at symbol 99, there are 7"),
        (_with(refs=[1, 2**32 - 1]), "point at symbol 4294967295"),
        (request_v1((UP, [(NOW_MS, 1.0)])), "is this remote write 2.0"),
    ],
)
def test_what_points_nowhere_is_refused(request_: Any, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        verdict_on(request_)


def test_an_exemplar_or_metadata_that_points_nowhere_is_refused() -> None:
    request = request_v2((UP, [(NOW_MS, 1.0)]))
    request.timeseries[0].metadata.unit_ref = 1000
    with pytest.raises(RefusedError, match="metadata point at symbol 1000"):
        verdict_on(request)
    for refs in ([1], [1, 1000]):
        request = request_v2((UP, [(NOW_MS, 1.0)]))
        request.timeseries[0].exemplars.add(labels_refs=refs, timestamp=NOW_MS)
        with pytest.raises(RefusedError, match="an exemplar's labels_refs"):
            verdict_on(request)


@pytest.mark.parametrize("body", [b"\xff", b"\x22\x02\xff\xff", b"\x2a\x03\x0a"])
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(RefusedError, match="Request in protobuf"):
        checked(body, decode_v2)


def test_an_empty_request_is_taken() -> None:
    assert checked(b"", decode_v2).payload == b""
    assert checked(RequestV2(symbols=[""]).SerializeToString(), decode_v2).payload == b""


def test_a_series_at_fault_is_named_and_the_rest_is_kept() -> None:
    verdict = verdict_on(request_v2(({"job": "x"}, [(NOW_MS, 1.0)] * 2), ({}, [(NOW_MS, 1.0)]), (UP, [(NOW_MS, 2.0)])))
    assert samples_of(verdict) == [("up", UP_ID, NOW_MS, 2.0)]
    assert verdict.message.startswith('3 left out, the rest is stored: {job="x"}: it has no metric name')


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
labels_ = st.dictionaries(texts.filter(bool), texts, max_size=80).map(lambda d: {**d, "__name__": "m"})
samples = st.tuples(st.integers(0, NOW_MS), st.floats(allow_nan=False))


@given(st.lists(st.tuples(labels_, st.lists(samples, max_size=3)), max_size=8))
def test_both_versions_come_to_the_same(series: list[Any]) -> None:
    check = SampleCheck(100)
    for _ in range(2):
        verdict = verdict_on(request_v2(*series), check)
        assert sorted(samples_of(verdict)) == sorted(samples_of(checked(request_v1(*series).SerializeToString())))
        verdict.remember()


def test_a_symbol_that_would_be_written_out_for_very_many_series_is_refused() -> None:
    symbols = SymbolTable()
    series = [({"__name__": "m", "i": str(i), "text": "x" * 60_000}, [(NOW_MS, 1.0)]) for i in range(3000)]
    body = request_v2(*series, symbols=symbols).SerializeToString()
    assert len(body) < 200_000
    with pytest.raises(RefusedError, match="the labels of all series, written out, have more than 134,217,728"):
        checked(body, decode_v2)
