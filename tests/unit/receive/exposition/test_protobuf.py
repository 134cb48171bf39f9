from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.scraping import shown
from watchkeeper_server.receive.exposition import protobuf
from watchkeeper_server.receive.exposition.client_model import LabelPair, MetricFamily
from watchkeeper_server.receive.exposition.exposed import Exposed, ExpositionError, Labels, SeriesCache
from watchkeeper_server.receive.exposition.protobuf import parse_protobuf
from watchkeeper_server.receive.exposition.push import stored_labels, unique_labels
from watchkeeper_server.receive.exposition.write_request import labels_of, series_head, varint
from watchkeeper_server.receive.prompb import TimeSeries

COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM, GAUGE_HISTOGRAM = range(6)


def prepare(labels: Labels) -> bytes:
    return series_head(stored_labels(unique_labels(labels)).items())


def name(head: bytes) -> str:
    series = TimeSeries.FromString(labels_of(head))
    return shown({label.name: label.value for label in series.labels})


def plain(exposed: Exposed) -> dict[str, float]:
    return dict(zip(map(name, exposed.heads), exposed.values, strict=True))


def family(family_name: str, kind: int, **fields: object) -> MetricFamily:
    return MetricFamily(name=family_name, type=kind, **fields)


def pairs(**labels: str) -> list[bytes]:
    return [LabelPair(name=key, value=value).SerializeToString() for key, value in labels.items()]


def body(*families: MetricFamily) -> bytes:
    contents = [one.SerializeToString() for one in families]
    return b"".join(varint(len(content)) + content for content in contents)


def histogram_family() -> MetricFamily:
    made = family("h", HISTOGRAM, help="H.")
    metric = made.metric.add(label=pairs(x="1"))
    made_histogram = metric.histogram
    made_histogram.sample_count, made_histogram.sample_sum = 6, 10.5
    for bound, count in ((1.0, 2), (5.0, 5)):
        made_histogram.bucket.add(upper_bound=bound, cumulative_count=count)
    made_histogram.bucket[0].exemplar.value = 0.5
    made_histogram.bucket[0].exemplar.timestamp.seconds = 1_700_000_000
    made_histogram.bucket[0].exemplar.label.add(name="trace_id", value="abc")
    made_histogram.schema, made_histogram.zero_threshold, made_histogram.zero_count = 3, 0.001, 1
    for offset, length in ((-2, 2), (3, 1)):
        made_histogram.positive_span.add(offset=offset, length=length)
    made_histogram.positive_delta.extend([2, -1, 1])
    made_histogram.negative_span.add(offset=4, length=1)
    made_histogram.negative_delta.append(1)
    return made


def test_counters_gauges_and_summaries_become_samples_the_second_time_too() -> None:
    counter = family("hits_total", COUNTER, help="Hits.")
    counter.metric.add(label=pairs(a="ü", b="")).counter.value = 5
    gauge = family("g", GAUGE)
    gauge.metric.add(timestamp_ms=7).gauge.value = -1
    summary = family("s_seconds", SUMMARY, unit="seconds")
    summary.metric.add().summary.sample_count = 3
    summary.metric[0].summary.quantile.add(quantile=0.5, value=2)
    untyped = family("u", UNTYPED)
    untyped.metric.add().untyped.value = 1
    cache = SeriesCache(prepare)
    for _ in range(2):
        exposed = parse_protobuf(body(counter, gauge, summary, untyped), cache)
        assert plain(exposed) == {
            'hits_total{a="ü"}': 5.0,
            "s_seconds_count": 3.0,
            "s_seconds_sum": 0.0,
            's_seconds{quantile="0.5"}': 2.0,
            "u": 1.0,
        }
        assert [(name(s.head), s.value, s.time_ms) for s in exposed.timed] == [("g", -1.0, 7)]
        assert (exposed.scraped, exposed.kept) == (6, 6)
    assert cache.metadata["s_seconds"] == ("summary", "", "seconds")
    assert cache.metadata["u"].type == "unknown"


def test_a_native_histogram_is_one_sample_with_its_exemplars() -> None:
    cache = SeriesCache(prepare)
    exposed = parse_protobuf(body(histogram_family()), cache)
    [sample] = exposed.histograms
    assert name(sample.head) == 'h{x="1"}'
    assert sample.histogram.positive == {-2: 2, -1: 1, 3: 2}
    assert sample.histogram.negative == {4: 1}
    assert (sample.histogram.schema, sample.histogram.count, sample.histogram.zero_count) == (3, 6, 1)
    assert [(e.labels, e.value, e.time_ms) for e in exposed.exemplars] == [
        ([("trace_id", "abc")], 0.5, 1_700_000_000_000)
    ]
    assert exposed.heads == ()
    assert parse_protobuf(body(histogram_family()), cache).exemplars == []


CLASSIC = {
    'h_count{x="1"}': 6.0,
    'h_sum{x="1"}': 10.5,
    'h_bucket{le="1.0",x="1"}': 2.0,
    'h_bucket{le="5.0",x="1"}': 5.0,
    'h_bucket{le="+Inf",x="1"}': 6.0,
}


def test_without_native_histograms_the_classic_form_is_read() -> None:
    exposed = parse_protobuf(body(histogram_family()), SeriesCache(prepare, native=False))
    assert plain(exposed) == CLASSIC
    assert exposed.histograms == []


def test_both_forms_are_read_where_both_are_wanted() -> None:
    exposed = parse_protobuf(body(histogram_family()), SeriesCache(prepare, keep_classic=True))
    assert plain(exposed) == CLASSIC
    assert len(exposed.histograms) == 1


def test_a_classic_histogram_becomes_one_with_custom_buckets() -> None:
    cache = SeriesCache(prepare, native=False, convert_classic=True)
    exposed = parse_protobuf(body(histogram_family()), cache)
    [sample] = exposed.histograms
    assert (sample.histogram.schema, sample.histogram.bounds) == (-53, (1.0, 5.0))
    assert sample.histogram.positive == {0: 2.0, 1: 3.0, 2: 1.0}
    assert exposed.heads == ()


def test_floating_counts_and_gauges_are_kept() -> None:
    made = family("h", GAUGE_HISTOGRAM)
    histogram = made.metric.add().histogram
    histogram.sample_count_float, histogram.zero_count_float = 1.5, 0.5
    histogram.positive_span.add(offset=1, length=2)
    histogram.positive_count.extend([0.5, 0.5])
    [sample] = parse_protobuf(body(made), SeriesCache(prepare)).histograms
    assert (sample.histogram.floating, sample.histogram.gauge, sample.histogram.positive) == (
        True,
        True,
        {1: 0.5, 2: 0.5},
    )


def broken(change: str) -> bytes:
    made = histogram_family()
    histogram = made.metric[0].histogram
    match change:
        case "schema":
            histogram.schema = 9
        case "spans":
            histogram.positive_delta.append(1)
        case "huge span":
            histogram.positive_span[0].length = 2**32 - 1
        case "negative":
            histogram.positive_delta[0] = -5
        case "type":
            made.type = 7
        case "name":
            made.name = ""
        case "unit":
            made.unit = "parsecs"
    return body(made)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (broken("schema"), "unknown schema 9"),
        (broken("spans"), "do not cover 4 buckets"),
        (broken("huge span"), "do not cover 3 buckets"),
        (broken("negative"), "negative count"),
        (broken("type"), "unknown metric type 7"),
        (broken("name"), "has no name"),
        (broken("unit"), "not a suffix"),
        (body(family("a", GAUGE))[:-1], "ends within a metric family"),
        (b"\xff\xff\xff\xff\xff\xff", "ends within a metric family's length"),
        (b"\x03abc", "not valid protobuf"),
        (b"\x80", "ends within a metric family's length"),
    ],
)
def test_what_is_malformed_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(ExpositionError, match=message):
        parse_protobuf(content, SeriesCache(prepare))


def test_labels_of_very_many_buckets_or_exemplars_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protobuf, "_WRITTEN_BYTES", 1_000_000)
    classic, native = family("h", HISTOGRAM), family("h", HISTOGRAM)
    for made in (classic, native):
        made.metric.add(label=pairs(x="y" * 50_000))
    native.metric[0].histogram.zero_count = 1
    for i in range(30):
        classic.metric[0].histogram.bucket.add(upper_bound=i)
        native.metric[0].histogram.exemplars.add(value=i).timestamp.seconds = 1
    for made in (classic, native):
        with pytest.raises(ExpositionError, match="written out with each sample, come to more than 1,000,000 bytes"):
            parse_protobuf(body(made), SeriesCache(prepare))


def test_very_many_metrics_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protobuf, "_MOST_SAMPLES", 100)
    many = family("g", GAUGE)
    for i in range(101):
        many.metric.add(label=pairs(x=str(i)))
    with pytest.raises(ExpositionError, match="more than 100 samples, the most"):
        parse_protobuf(body(many), SeriesCache(prepare))
    monkeypatch.setattr(protobuf, "_LARGE_BYTES", 100)
    monkeypatch.setattr(protobuf, "MetricFamily", None)
    with pytest.raises(ExpositionError, match="more than 100 samples, the most"):
        parse_protobuf(body(many), SeriesCache(prepare))


def test_a_message_shows_no_more_than_the_beginning_of_a_name() -> None:
    long = "x" * 100_000
    strange = family(long, HISTOGRAM)
    strange.metric.add().histogram.MergeFrom(histogram_family().metric[0].histogram)
    strange.metric[0].histogram.schema = 99
    for made in (family(long, GAUGE, unit=f"{long}y"), family(long, 7), strange):
        with pytest.raises(ExpositionError) as raised:
            parse_protobuf(body(made), SeriesCache(prepare))
        assert len(str(raised.value)) < 200


def test_a_series_may_have_so_many_labels() -> None:
    made = family("g", GAUGE)
    made.metric.add(label=pairs(**{f"a{i}": "x" for i in range(10_001)}))
    with pytest.raises(ExpositionError, match="a series has more than 10,000 labels"):
        parse_protobuf(body(made), SeriesCache(prepare))


@given(st.binary(max_size=100), st.integers(0, 200), st.binary(min_size=1, max_size=3))
def test_any_bytes_are_read_or_refused(noise: bytes, at: int, patch: bytes) -> None:
    good = body(histogram_family())
    for content in (noise, good[:at] + patch + good[at + len(patch) :]):
        try:
            parse_protobuf(content, SeriesCache(prepare))
        except ExpositionError:
            continue
