from __future__ import annotations

import math

import prometheus_client.openmetrics.exposition as openmetrics
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary, generate_latest

from support.scraping import shown
from watchkeeper_server.receive.exposition import text
from watchkeeper_server.receive.exposition.exposed import DROPPED, Exposed, ExpositionError, Labels, SeriesCache
from watchkeeper_server.receive.exposition.grammar import format_bound, labels_of_series
from watchkeeper_server.receive.exposition.push import stored_labels, unique_labels
from watchkeeper_server.receive.exposition.text import MOST_LINES, parse_text
from watchkeeper_server.receive.exposition.write_request import _remembered_label, labels_of, series_head
from watchkeeper_server.receive.prompb import TimeSeries


def prepare(labels: Labels) -> bytes:
    return series_head(stored_labels(unique_labels(labels)).items())


def cache(**options: bool) -> SeriesCache:
    return SeriesCache(prepare, **options)


def name(head: bytes) -> str:
    series = TimeSeries.FromString(labels_of(head))
    return shown({label.name: label.value for label in series.labels})


def plain(exposed: Exposed) -> dict[str, float]:
    return dict(zip(map(name, exposed.heads), exposed.values, strict=True))


def read(text: str, known: SeriesCache | None = None, *, om: bool = False) -> Exposed:
    return parse_text(text.encode(), known or cache(), openmetrics=om)


def test_a_sample_is_its_series_and_its_value() -> None:
    exposed = read('a 1\nb{x="1",y="two words"} -2.5e3\n')
    assert plain(exposed) == {"a": 1.0, 'b{x="1",y="two words"}': -2500.0}
    assert (exposed.scraped, exposed.kept) == (2, 2)


@pytest.mark.parametrize(
    ("line", "series"),
    [
        ('a{x="\\"q\\" \\\\ \\n"} 1', 'a{x=""q" \\ \n"}'),
        ("a{} 1", "a"),
        ('a{x="1",} 1', 'a{x="1"}'),
        ('a { x = "1" , y = "2" } 1', 'a{x="1",y="2"}'),
        ('{"my.metric"} 1', "my.metric"),
        ('{"my.metric","a.b"="c"} 1', 'my.metric{a.b="c"}'),
        ('a{empty=""} 1', "a"),
        ('a{x="} 2"} 1', 'a{x="} 2"}'),
        ('a{x="# {"} 1', 'a{x="# {"}'),
        ("a\t1", "a"),
        ("  a  1  ", "a"),
        ('a{x="ü€"}1', 'a{x="ü€"}'),
        ("a:b:c 1", "a:b:c"),
    ],
)
def test_every_way_to_write_a_series_is_read_the_first_and_the_second_time(line: str, series: str) -> None:
    known = cache()
    assert plain(read(line, known)) == {series: 1.0}
    assert plain(read(line, known)) == {series: 1.0}


@pytest.mark.parametrize(
    ("text", "value"),
    [("+Inf", math.inf), ("-inf", -math.inf), ("1e3", 1000), (".5", 0.5), ("5.", 5), ("+1", 1), ("Infinity", math.inf)],
)
def test_values_are_read_as_go_reads_them(text: str, value: float) -> None:
    assert plain(read(f"a {text}")) == {"a": value}


def test_nan_is_a_value() -> None:
    assert math.isnan(plain(read("a NaN"))["a"])


@pytest.mark.parametrize("bad", ["1_000", "0x10", "1p3", "", "--1", "one", "1\r", "٣", "1e", "nan(1)"])
@pytest.mark.parametrize("known", [False, True])
def test_what_is_no_number_is_refused_even_where_the_series_is_known(bad: str, known: bool) -> None:
    memory = cache()
    if known:
        read("b 1\na 1\n", memory)
    with pytest.raises(ExpositionError, match=r"^line 2: "):
        read(f"b 1\na {bad}\n", memory)


def test_a_value_of_very_many_digits_is_judged_in_one_pass() -> None:
    digits = "1" * 1_000_000  # with a pass for each digit this would take hours
    with pytest.raises(ExpositionError, match="line 1: expected a number, got '1111"):
        read(f"a {digits}x")
    assert plain(read(f"a 0.{digits}")) == {"a": pytest.approx(1 / 9)}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('a{x="1" 1', "label set is malformed"),
        ("a{x=1} 1", "label set is malformed"),
        ('a{1x="1"} 1', "label set is malformed"),
        ('{x="1"} 1', "metric name not set"),
        ('a{"b"} 1', "metric name already set"),
        ('a{x="1",x="2"} 1', "label name 'x' is not unique"),
        ("a", "expected a value"),
        ("a 1 2 3", "expected a value"),
        ("a 1 2.5", "expected a value"),
        ("1a 1", "expected a metric name"),
        ("ä 1", "expected a metric name"),
        ("# TYPE a nonsense", "invalid metric type 'nonsense'"),
        ("# TYPE 1a counter", "expected metric name after TYPE"),
        ("a 1 99999999999999999999999", "expected a timestamp"),
        ("{} 1", "metric name not set"),
    ],
)
def test_a_malformed_line_is_named_by_its_number(line: str, message: str) -> None:
    with pytest.raises(ExpositionError) as raised:
        read(f"# HELP b Fine.\nb 1\n{line}\nc 1\n")
    assert str(raised.value).startswith("line 3: ")
    assert message in str(raised.value)


def test_text_that_is_not_utf8_is_named_by_its_line() -> None:
    with pytest.raises(ExpositionError, match="line 2: the line is not valid UTF-8"):
        parse_text(b'a 1\nb{x="\xff"} 1\n', cache())


def test_a_time_makes_a_timed_sample_known_or_not() -> None:
    known = cache()
    for time in (5, 6, -7):
        exposed = read(f'a{{x="1"}} 3 {time}\nb 4\n', known)
        assert [(name(head), value, time_ms) for head, value, time_ms in exposed.timed] == [('a{x="1"}', 3.0, time)]
        assert plain(exposed) == {"b": 4.0}
        assert exposed.kept == 2


def test_types_help_and_units_become_metadata_once() -> None:
    known = cache()
    text = (
        "# HELP a_total What\\nit is \\\\.\n# TYPE a_total counter\n# plain comment\n#\na_total 1\n# TYPE b untyped\n"
    )
    assert read(text, known).changed == ["a_total", "a_total", "b"]
    assert known.metadata["a_total"] == ("counter", "What\nit is \\.", "")
    assert known.metadata["b"].type == "unknown"
    assert read(text, known).changed == []
    assert read(text.replace("it is", "it was"), known).changed == ["a_total"]


def test_bounds_are_written_the_same_whoever_exposes_them() -> None:
    text = '# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="1e6"} 1\nh_bucket{le="+Inf"} 1\n'
    text += '# TYPE s summary\ns{quantile="0.50"} 1\n# TYPE g gauge\ng{le="1"} 1\n'
    assert set(plain(read(text))) == {
        'h_bucket{le="1.0"}',
        'h_bucket{le="1e+06"}',
        'h_bucket{le="+Inf"}',
        's{quantile="0.5"}',
        'g{le="1"}',
    }


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_bound_is_the_number_it_was(value: float) -> None:
    text = format_bound(value)
    assert float(text) == value
    assert set(text) & set(".e")


def test_dropped_series_count_as_scraped_and_not_as_kept() -> None:
    known = SeriesCache(lambda labels: DROPPED if labels[0][1] == "a" else prepare(labels))
    for _ in range(2):
        exposed = read("a 1\nb 2\na 3 7\n", known)
        assert plain(exposed) == {"b": 2.0}
        assert (exposed.scraped, exposed.kept, exposed.timed) == (3, 1, [])


def test_what_is_no_longer_exposed_is_forgotten_once_it_outweighs_the_rest() -> None:
    known = cache()
    for batch in range(10):
        read("".join(f'a{{x="{batch}-{i}"}} 1\n' for i in range(300)), known)
    assert len(known.heads) <= 2 * 300 + 1000
    assert plain(read('a{x="9-5"} 1', known))


OPENMETRICS = """# TYPE hits counter
# UNIT hits_seconds seconds
# HELP hits Some \\"text\\".
hits_total{x="1"} 5 1700000000.123 # {trace_id="abc",q="# {"} 0.5 1700000000.5
hits_total{x="2"} 6 # {trace_id="def"} 1.5
hits_created{x="1"} 1.6e9
# EOF
"""


def test_openmetrics_has_exemplars_units_and_times_in_seconds() -> None:
    known = cache()
    exposed = read(OPENMETRICS, known, om=True)
    assert [(name(s.head), s.value, s.time_ms) for s in exposed.timed] == [
        ('hits_total{x="1"}', 5.0, 1_700_000_000_123)
    ]
    assert plain(exposed) == {'hits_total{x="2"}': 6.0, 'hits_created{x="1"}': 1.6e9}
    assert [(name(e.head), e.labels, e.value, e.time_ms) for e in exposed.exemplars] == [
        ('hits_total{x="1"}', [("trace_id", "abc"), ("q", "# {")], 0.5, 1_700_000_000_500),
        ('hits_total{x="2"}', [("trace_id", "def")], 1.5, None),
    ]
    assert known.metadata["hits"] == ("counter", 'Some "text".', "")
    assert known.metadata["hits_seconds"].unit == "seconds"


def test_an_exemplar_is_told_once() -> None:
    known = cache()
    assert len(read(OPENMETRICS, known, om=True).exemplars) == 2
    again = read(OPENMETRICS, known, om=True)
    assert (again.exemplars, len(again.timed), again.scraped) == ([], 1, 3)
    changed = OPENMETRICS.replace('"def"} 1.5', '"def"} 1.6')
    assert [e.value for e in read(changed, known, om=True).exemplars] == [1.6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 1\n", "data does not end with # EOF"),
        ("", "data does not end with # EOF"),
        ("a 1\n# EOF\nb 1\n", "unexpected data after # EOF"),
        ("a 1\n# EOF\n# EOF\n", "expected # HELP"),
        ("a  1\n# EOF\n", "expected a value"),
        ("\na 1\n# EOF\n", "no blank lines"),
        ("# any comment\n# EOF\n", "expected # HELP"),
        ("# UNIT a seconds\n# EOF\n", "unit 'seconds' not a suffix"),
        ('a 1 # {x="1"}\n# EOF\n', "expected a label set, a value"),
        ("a 1 # {x=1} 2\n# EOF\n", "expected a label set, a value"),
        ('a 1 # {"x"} 2\n# EOF\n', "expected label names"),
        ("a 1 nan\n# EOF\n", "expected a timestamp"),
    ],
)
def test_what_openmetrics_forbids_is_refused(text: str, message: str) -> None:
    with pytest.raises(ExpositionError, match=message):
        read(text, om=True)


CLASSIC = """# TYPE h histogram
h_bucket{x="1",le="1"} 2
h_bucket{x="1",le="5"} 2
h_bucket{x="1",le="+Inf"} 5
h_sum{x="1"} 12.5
h_count{x="1"} 5
# TYPE g gauge
g_bucket{le="1"} 1
"""


@pytest.mark.parametrize("keep", [False, True])
def test_a_classic_histogram_becomes_one_with_custom_buckets(keep: bool) -> None:
    known = cache(convert_classic=True, keep_classic=keep)
    for _ in range(2):
        exposed = read(CLASSIC, known)
        [sample] = exposed.histograms
        assert name(sample.head) == 'h{x="1"}'
        histogram = sample.histogram
        assert (histogram.schema, histogram.count, histogram.sum, histogram.bounds) == (-53, 5.0, 12.5, (1.0, 5.0))
        assert histogram.positive == {0: 2.0, 2: 3.0}
        assert len(plain(exposed)) == (6 if keep else 1)
        assert (exposed.scraped, exposed.kept) == ((7, 7) if keep else (2, 2))


LABEL_VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=8)


@given(
    st.lists(st.tuples(LABEL_VALUES, LABEL_VALUES, st.floats(allow_nan=False)), max_size=6, unique_by=lambda s: s[:2]),
    st.lists(st.floats(0, 1e9), max_size=5),
    LABEL_VALUES,
    st.booleans(),
)
def test_what_prometheus_client_writes_is_read_back(
    series: list[tuple[str, str, float]], observed: list[float], help_text: str, om: bool
) -> None:
    registry = CollectorRegistry()
    gauge = Gauge("g", help_text, ["a", "b"], registry=registry)
    for a, b, value in series:
        gauge.labels(a, b).set(value)
    histogram, summary = Histogram("h", "H", registry=registry), Summary("s", "S", registry=registry)
    Counter("c", "C", registry=registry).inc(3)
    Info("i", "I", registry=registry).info({"version": "1"})
    for value in observed:
        histogram.observe(value)
        summary.observe(value)
    body = openmetrics.generate_latest(registry) if om else generate_latest(registry)
    expected = {
        shown({"__name__": sample.name, **{k: v for k, v in sample.labels.items() if v}}): sample.value
        for family in registry.collect()
        for sample in family.samples
        if om or not sample.name.endswith("_created")
    }
    known = cache()
    for _ in range(2):
        got = plain(parse_text(body, known, openmetrics=om))
        if not om:
            got = {key: value for key, value in got.items() if not key.split("{")[0].endswith("_created")}
        assert got == expected


REPEATED = """# HELP a Text.
# TYPE a counter
a{x="1"} %s
gone 1

b %s
"""


def test_the_same_lines_again_are_read_by_their_values_alone() -> None:
    known = cache()
    read(REPEATED % (1, 2), known)
    learnt = read(REPEATED % (3, 4), known)
    again = read(REPEATED % ("+Inf", "-1e3"), known)
    assert again.heads is learnt.heads
    assert plain(again) == {'a{x="1"}': math.inf, "gone": 1.0, "b": -1000.0}
    assert (again.scraped, again.kept, again.changed) == (3, 3, [])


@pytest.mark.parametrize(
    ("changed", "series"),
    [
        (REPEATED.replace("Text", "Words"), {'a{x="1"}', "gone", "b"}),
        (REPEATED.replace("counter", "gauge"), {'a{x="1"}', "gone", "b"}),
        (REPEATED.replace("gone 1\n", ""), {'a{x="1"}', "b"}),
        (REPEATED + "c 5\n", {'a{x="1"}', "gone", "b", "c"}),
        (REPEATED.replace("gone 1", "gone 1 5"), {'a{x="1"}', "b"}),
    ],
)
def test_other_lines_are_noticed(changed: str, series: set[str]) -> None:
    known = cache()
    for _ in range(2):
        read(REPEATED % (1, 2), known)
    exposed = read(changed % (5, 6), known)
    assert plain(exposed).keys() == series
    assert plain(exposed)["b"] == 6.0
    assert (known.metadata["a"].help, known.metadata["a"].type) == (
        "Words." if "Words" in changed else "Text.",
        "gauge" if "gauge" in changed else "counter",
    )
    assert (exposed.changed == ["a"]) == ("Words" in changed or "gauge" in changed)
    assert len(exposed.timed) == ("gone 1 5" in changed)


def test_dropped_series_stay_dropped_and_their_values_are_still_judged() -> None:
    known = SeriesCache(lambda labels: DROPPED if dict(labels)["__name__"] == "gone" else prepare(labels))
    for value in (1.0, 2.0, 3.0):
        exposed = read(REPEATED % (value, value), known)
        assert plain(exposed) == {'a{x="1"}': value, "b": value}
        assert (exposed.scraped, exposed.kept) == (3, 2)
    with pytest.raises(ExpositionError, match="line 4: expected a number, got 'x'"):
        read((REPEATED % (1, 2)).replace("gone 1", "gone x"), known)


def test_metadata_that_went_nowhere_are_told_again_with_the_same_lines() -> None:
    known = cache()
    for _ in range(2):
        read(REPEATED % (1, 2), known)
    known.relearn()
    assert read(REPEATED % (1, 2), known).changed == ["a", "a"]


def test_very_many_lines_are_refused_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExpositionError, match="2,000,001 lines, the most is 2,000,000"):
        parse_text(b"\n" * (MOST_LINES + 1), cache())
    monkeypatch.setattr(text, "MOST_LINES", 5)
    assert plain(read("# HELP a x\na 1\n\n\n\n")) == {"a": 1.0}


def test_an_exposition_of_many_lines_is_read_whole() -> None:
    body = "".join(f'a{{x="{i}"}} {i}\n' for i in range(10_000))
    exposed = read(body)
    assert exposed.values.tolist() == list(range(10_000))
    assert name(exposed.heads[-1]) == 'a{x="9999"}'
    with pytest.raises(ExpositionError, match="line 10001: "):
        read(f"{body}a one\n")


def test_long_labels_are_refused_and_not_remembered() -> None:
    remembered = _remembered_label.cache_info().currsize
    long = "x" * 60_000
    exposed = read("".join(f'a{{x="{long}{i}"}} 1\n' for i in range(50)))
    assert len(exposed.heads) == 50
    assert _remembered_label.cache_info().currsize <= remembered + 1  # the metric's name
    too_long = "\u00e4" * 33_000
    with pytest.raises(ExpositionError, match="line 1: label 'x' of metric 'a' has 66,000 bytes, the most is 65,536"):
        read(f'a{{x="{too_long}"}} 1\n')
    with pytest.raises(ExpositionError, match=r"line 1: label 'xxx.*has 70,000 bytes"):
        read(f'a{{{"x" * 70_000}="1"}} 1\n')


def test_very_many_labels_are_refused_before_they_are_taken_apart() -> None:
    with pytest.raises(ExpositionError, match="a series has more than 10,000 labels"):
        labels_of_series("a", 'a="",' * 20_001)
    quotes = '\\"' * 30_000
    assert labels_of_series("a", f'b="{quotes}"') == [("__name__", "a"), ("b", '"' * 30_000)]


def test_a_very_long_exemplar_is_refused_and_not_remembered() -> None:
    known = cache()
    with pytest.raises(ExpositionError, match="line 1: an exemplar has 70,008 bytes, the most is 65,536"):
        read(f'a 1 # {{t="{"x" * 70_000}"}} 2\n# EOF\n', known, om=True)
    assert not known.exemplars


def test_a_bound_of_many_digits_is_normal_too() -> None:
    [head] = read(f'# TYPE h histogram\nh_bucket{{le="1.{"0" * 100_000}"}} 1\n').heads
    assert name(head) == 'h_bucket{le="1.0"}'


LINES = st.lists(
    st.sampled_from(
        ["a 1", "b 2 3", 'a{x="1"} 4', 'a{x="1', "# TYPE a counter", "# HELP a x", "", "# EOF", 'c 1 # {t="x"} 2', "a{",
         '{"q"} 1', "a  5", "nan nan", "# UNIT a a"]
    ),
    max_size=8,
)  # fmt: skip


@example(b"_ 0\n_  \x00", False)
@given(st.one_of(st.binary(max_size=200), LINES.map(lambda lines: "\n".join(lines).encode())), st.booleans())
def test_any_bytes_are_read_or_refused_the_same_each_time(body: bytes, om: bool) -> None:
    known = cache()
    outcomes = []
    for _ in range(3):
        try:
            exposed = parse_text(body, known, openmetrics=om)
        except ExpositionError as error:
            outcomes.append(str(error))
        else:
            assert exposed.kept == len(exposed.heads) + len(exposed.timed) == exposed.scraped
            pairs = zip(exposed.heads, exposed.values, strict=True)
            outcomes.append(repr((sorted(map(repr, pairs)), sorted(map(repr, exposed.timed)))))
    assert outcomes[0] == outcomes[1] == outcomes[2]
