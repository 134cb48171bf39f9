from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.counted import Counted
from support.scraping import NOW_MS, STALE, samples, values
from watchkeeper_server.receive.exposition import push
from watchkeeper_server.receive.exposition.content import Format, accept_header, format_of
from watchkeeper_server.receive.exposition.exposed import ExpositionError
from watchkeeper_server.receive.exposition.grammar import MOST_LABELS
from watchkeeper_server.receive.exposition.push import parse_to_write_request, unique_labels
from watchkeeper_server.receive.exposition.write_request import (
    encode_metadata,
    encode_sample,
    encode_samples,
    encode_stale,
    labels_of,
    series_head,
    varint,
)
from watchkeeper_server.receive.known_series import KnownSeries
from watchkeeper_server.receive.prompb import TimeSeries, WriteRequest
from watchkeeper_server.receive.remote_write_v1 import decode_v1

TEXT = b"""# HELP a Text.
# TYPE a gauge
a{x="1",job="mine"} 1
a{x="1",job="mine"} 2
b 3 1763700000001
"""


def test_a_push_becomes_a_request_with_the_labels_it_is_given() -> None:
    request = parse_to_write_request(TEXT, "text/plain; version=0.0.4", NOW_MS, {"job": "theirs"})
    assert samples(request) == [('a{job="theirs",x="1"}', NOW_MS, 1.0), ('b{job="theirs"}', NOW_MS + 1, 3.0)]
    [metadata] = WriteRequest.FromString(request).metadata
    assert (metadata.metric_family_name, metadata.type, metadata.help) == ("a", 2, "Text.")


def test_an_openmetrics_push_has_its_exemplars() -> None:
    body = b'# TYPE a counter\na_total 1 # {trace_id="x"} 0.5\n# EOF\n'
    request = WriteRequest.FromString(parse_to_write_request(body, "application/openmetrics-text", NOW_MS))
    [exemplar] = [exemplar for series in request.timeseries for exemplar in series.exemplars]
    assert (exemplar.value, exemplar.timestamp, exemplar.labels[0].value) == (0.5, NOW_MS, "x")


def test_a_push_that_cannot_be_read_is_refused_with_its_line() -> None:
    with pytest.raises(ExpositionError, match="line 2: "):
        parse_to_write_request(b"a 1\nb x\n", "", NOW_MS)


def test_a_label_that_is_there_twice_is_found_in_one_pass() -> None:
    labels = [(Counted(f"a{i % 2999}"), "") for i in range(3000)]
    Counted.comparisons = 0
    with pytest.raises(ExpositionError, match="label name 'a0' is not unique"):
        unique_labels(labels)
    assert Counted.comparisons < 3 * len(labels)


def test_a_series_may_have_so_many_labels() -> None:
    labels = ",".join(f'a{i}="x"' for i in range(MOST_LABELS - 1))
    assert len(samples(parse_to_write_request(f"m{{{labels}}} 1\n".encode(), "", NOW_MS))) == 1
    with pytest.raises(ExpositionError, match="line 1: a series has more than 10,000 labels, the most allowed"):
        parse_to_write_request(f'm{{{labels},a="x"}} 1\n'.encode(), "", NOW_MS)


@pytest.mark.parametrize("time", ["", " 1763700000001"])
def test_labels_given_to_very_many_samples_are_refused(time: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "_WRITTEN_BYTES", 1_000_000)
    body = "".join(f"a{i % 50} 1{time}\n" for i in range(200)).encode()
    most, more = {"x": "y" * 3000}, {"x": "y" * 6000}
    if not time:  # once each, because the second of a series does not count
        most, more = {"x": "y" * 19_000}, {"x": "y" * 21_000}
    assert parse_to_write_request(body, "", NOW_MS, most)
    with pytest.raises(ExpositionError, match="written out with each sample, come to more than 1,000,000 bytes"):
        parse_to_write_request(body, "", NOW_MS, more)


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6)
LABELS = st.dictionaries(NAMES, NAMES, min_size=1, max_size=4)


@given(st.lists(st.tuples(LABELS, st.floats(allow_nan=False)), max_size=5), st.integers(-(2**62), 2**62))
def test_what_is_encoded_by_hand_is_what_protobuf_would_encode(
    series: list[tuple[dict[str, str], float]], time_ms: int
) -> None:
    heads = [series_head(labels.items()) for labels, _ in series]
    request = WriteRequest()
    for labels, value in series:
        one = request.timeseries.add()
        for name, text in sorted(labels.items(), key=lambda pair: pair[0].encode()):
            one.labels.add(name=name, value=text)
        one.samples.add(value=value, timestamp=time_ms)
    encoded = encode_samples(heads, [value for _, value in series], time_ms)
    assert WriteRequest.FromString(encoded) == request
    assert (
        b"".join(encode_sample(head, value, time_ms) for head, (_, value) in zip(heads, series, strict=True)) == encoded
    )
    for head, one in zip(heads, request.timeseries, strict=True):
        assert TimeSeries.FromString(labels_of(head)).labels == one.labels


def test_the_storing_side_reads_heads_without_decoding_them() -> None:
    heads = [series_head([("__name__", name), ("x", "y" * 200)]) for name in ("a", "b")]
    sent = decode_v1(encode_samples(heads, [1.0, 0.0], NOW_MS), KnownSeries())
    assert [sent.encoded(i) for i in range(2)] == [labels_of(head) for head in heads]
    assert sent.values.tolist() == [1.0, 0.0]
    assert sent.times.tolist() == [NOW_MS, NOW_MS]


def test_the_end_of_a_series_is_a_staleness_marker() -> None:
    assert values(encode_stale([series_head([("__name__", "a")])], NOW_MS)) == {"a": STALE}


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_varint_is_protobufs(number: int) -> None:
    one = TimeSeries()
    one.samples.add(timestamp=number)
    assert TimeSeries.FromString(b"\x12" + varint(len(varint(number)) + 1) + b"\x10" + varint(number)) == one


def test_metadata_has_every_part() -> None:
    [metadata] = WriteRequest.FromString(encode_metadata("f", "stateset", "Help ü.", "s")).metadata
    assert (metadata.type, metadata.metric_family_name, metadata.help, metadata.unit) == (7, "f", "Help ü.", "s")


@pytest.mark.parametrize(
    ("content_type", "fallback", "expected"),
    [
        ("text/plain; version=0.0.4", "", Format.TEXT),
        ("TEXT/PLAIN", "PrometheusProto", Format.TEXT),
        ("application/openmetrics-text;version=1.0.0; charset=utf-8", "", Format.OPENMETRICS),
        ("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily", "", Format.PROTOBUF),
        ("text/html", "PrometheusText0.0.4", Format.TEXT),
        ("", "OpenMetricsText1.0.0", Format.OPENMETRICS),
    ],
)
def test_a_content_type_says_the_format(content_type: str, fallback: str, expected: Format) -> None:
    assert format_of(content_type, fallback) is expected


@pytest.mark.parametrize(
    ("content_type", "message"),
    [("text/html", "unsupported Content-Type .text/html. and no fallback_scrape_protocol"), ("", "blank Content-Type")],
)
def test_a_format_that_nobody_said_is_refused(content_type: str, message: str) -> None:
    with pytest.raises(ExpositionError, match=message):
        format_of(content_type)


def test_formats_are_asked_for_in_order_with_weights() -> None:
    assert accept_header(["PrometheusProto", "OpenMetricsText1.0.0", "PrometheusText0.0.4"], "underscores") == (
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,"
        "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.5,"
        "text/plain;version=0.0.4;q=0.4,*/*;q=0.3"
    )
