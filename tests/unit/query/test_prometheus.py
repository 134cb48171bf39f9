"""What Prometheus' API is answered out of the store, against the same data in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from support.promql import MemoryReader
from watchkeeper_server.model.errors import StoreUnavailableError
from watchkeeper_server.promql.engine import Engine as PromqlEngine
from watchkeeper_server.promql.errors import InvalidQueryError, TooManySamplesError, TooManySeriesError
from watchkeeper_server.promql.options import EngineOptions
from watchkeeper_server.promql.tree import Matcher, MatchOp
from watchkeeper_server.promql.values import STALE, Matrix, Samples
from watchkeeper_server.query import samples as samples_module
from watchkeeper_server.query.options import RecentOptions
from watchkeeper_server.query.prometheus import PrometheusQueries
from watchkeeper_server.query.reader import Read
from watchkeeper_server.query.recent_samples import RecentSamples
from watchkeeper_server.store.engine import Engine
from watchkeeper_server.store.store import Store

# complete from a time that never comes: everything is asked of the store
NOTHING_RECENT = RecentSamples(RecentOptions(), int, 10**15)
START = 1_795_240_800_000
MINUTE = 60_000
ADD_SERIES = """
INSERT INTO series SELECT
    {metric:String}, {id:UInt64}, mapFromArrays({names:Array(String)}, {values:Array(String)}),
    toDateTime({first:UInt32}), toDateTime({last:UInt32})
"""
ADD_SAMPLES = """
INSERT INTO samples SELECT
    {metric:String}, {id:UInt64}, fromUnixTimestamp64Milli(sample.1), reinterpretAsFloat64(sample.2), {segment:UInt64}
FROM (SELECT arrayJoin(arrayZip({times:Array(Int64)}, {bits:Array(UInt64)})) AS sample)
"""
ADD_HISTOGRAMS = """
INSERT INTO native_histograms (metric, id, time, count, sum, schema, positive_offset, positive_counts, segment)
SELECT {metric:String}, {id:UInt64}, fromUnixTimestamp64Milli({time:Int64}), {count:Float64}, {sum:Float64}, 0, 1,
    {counts:Array(Float64)}, 1
"""


class Filler:
    """Stores series whose ids count up."""

    def __init__(self, engine: Engine, store: Store) -> None:
        self._engine, self._store = engine, store
        self._id = 1000

    def series(self, labels: Mapping[str, str], first: int, last: int) -> int:
        self._id -= 1
        metric, names = labels["__name__"], [name for name in labels if name != "__name__"]
        self._engine.execute(
            ADD_SERIES,
            {
                "metric": metric,
                "id": self._id,
                "names": names,
                "values": [labels[name] for name in names],
                "first": max(0, first // 1000 - 600),
                "last": last // 1000 + 600,
            },
        )
        self._store._note_series()  # as a load does
        return self._id

    def floats(self, labels: Mapping[str, str], points: Sequence[tuple[int, float]], segment: int = 1) -> int:
        times = [time for time, _ in points]
        id_ = self.series(labels, min(times), max(times))
        self.more(labels, id_, points, segment)
        return id_

    def more(self, labels: Mapping[str, str], id_: int, points: Sequence[tuple[int, float]], segment: int = 1) -> None:
        bits = np.array([value for _, value in points], np.float64).view(np.uint64).tolist()
        self._engine.execute(
            ADD_SAMPLES,
            {
                "metric": labels["__name__"],
                "id": id_,
                "times": [time for time, _ in points],
                "bits": bits,
                "segment": segment,
            },
        )

    def histogram(self, labels: Mapping[str, str], id_: int, time: int, counts: Sequence[float]) -> None:
        self._engine.execute(
            ADD_HISTOGRAMS,
            {
                "metric": labels["__name__"],
                "id": id_,
                "time": time,
                "count": sum(counts),
                "sum": 1.5 * sum(counts),
                "counts": list(counts),
            },
        )


@pytest.fixture
def fill(engine: Engine, store: Store) -> Filler:
    return Filler(engine, store)


@pytest.fixture
def queries(store: Store) -> PrometheusQueries:
    return asking(store.read, store)


def asking(read: Read, store: Store, options: EngineOptions | None = None) -> PrometheusQueries:
    """Everything is asked of the store."""
    name = "20260102T030405Z-name"
    return PrometheusQueries(read, store, options or EngineOptions(), lambda: name, lambda: None, NOTHING_RECENT)


@pytest.fixture(params=["fetched", "computed in the store"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways in which a range can be read, whatever its size."""
    worth = 10**18 if request.param == "fetched" else 0
    monkeypatch.setattr(samples_module, "_WORTH_A_GRID_MS", worth)


def named(name: str, *others: Matcher) -> list[Matcher]:
    return [Matcher("__name__", MatchOp.EQUAL, name), *others]


def matrix(value: Any) -> dict[tuple[tuple[str, str], ...], list[float | None]]:
    assert isinstance(value, Matrix)
    return {
        tuple(sorted(labels.items())): [float(v) if p else None for v, p in zip(row, there, strict=True)]
        for labels, row, there in zip(value.labels, value.values, value.present, strict=True)
        if there.any()
    }


def random_series(seed: int) -> list[tuple[dict[str, str], list[tuple[int, float]]]]:
    """Counters that reset, gauges, gaps, stale markers, NaN; some with samples in irregular places."""
    random = np.random.default_rng(seed)
    series = []
    for i in range(12):
        size = int(random.integers(1, 120))
        regular = np.arange(size) * 15_000 + int(random.integers(0, 14_000))
        times = regular if i % 2 else np.unique(random.integers(0, 30 * MINUTE, size))
        values = np.cumsum(random.integers(0, 50, len(times))).astype(float)
        if i % 3 == 0:
            values = random.normal(0, 100, len(times))
        if i % 3 == 1:
            values[len(times) // 2 :] -= values[len(times) // 2]
        if i % 4 == 0:
            values[random.random(len(times)) < 0.1] = STALE
        if i == 5:
            values[random.random(len(times)) < 0.1] = np.nan
        labels = {"__name__": "m_total", "i": str(i), "job": f"j{i % 3}"}
        series.append((labels, list(zip((START + times).tolist(), values.tolist(), strict=True))))
    return series


QUERIES = [
    "m_total",
    "m_total offset 3m",
    "m_total @ 1795241400",
    "last_over_time(m_total[2m])",
    "rate(m_total[5m])",
    "increase(m_total[77s])",
    "delta(m_total[5m] offset 1m)",
    "irate(m_total[1m])",
    "idelta(m_total[5m])",
    "min_over_time(m_total[5m])",
    "max_over_time(m_total[5m])",
    "sum_over_time(m_total[5m])",
    "avg_over_time(m_total[5m])",
    "count_over_time(m_total[5m])",
    "changes(m_total[5m])",
    "resets(m_total[5m])",
    "deriv(m_total[5m])",
    "quantile_over_time(0.5, m_total[5m])",
    "sum by (job) (rate(m_total{job!='j1'}[5m]))",
]


@pytest.mark.usefixtures("way")
def test_queries_of_stored_series_are_answered_as_those_in_memory(fill: Filler, queries: PrometheusQueries) -> None:
    series = random_series(7)
    for labels, points in series:
        fill.floats(labels, points)
    memory = PromqlEngine(MemoryReader(series))
    for query in QUERIES:
        for start, end, step in ((0, 35 * MINUTE, MINUTE), (123_457, 20 * MINUTE, 77_777), (MINUTE, MINUTE, 0)):
            asked = (query, START + start, START + end, step or 1)
            got, want = matrix(queries.range(*asked).value), matrix(memory.range(*asked).value)
            assert got.keys() == want.keys(), query
            for labels, row in want.items():
                assert [v is None for v in got[labels]] == [v is None for v in row], query
                numbers = [v for v in row if v is not None]
                found = [v for v in got[labels] if v is not None]
                np.testing.assert_allclose(found, numbers, rtol=1e-11, err_msg=query)


@pytest.mark.usefixtures("way")
def test_a_counter_without_the_name_of_one_is_remarked_on(fill: Filler, queries: PrometheusQueries) -> None:
    fill.floats({"__name__": "requests"}, [(START, 1.0), (START + MINUTE, 2.0)])
    result = queries.range("rate(requests[5m])", START, START + MINUTE, MINUTE)
    assert [info for info in result.infos if "might not be a counter" in info]


def test_of_samples_of_one_instant_the_one_stored_last_counts(fill: Filler, queries: PrometheusQueries) -> None:
    labels = {"__name__": "m"}
    id_ = fill.floats(labels, [(START, 1.0), (START + 1000, 5.0)], segment=2)
    fill.more(labels, id_, [(START, 3.0)], segment=3)
    fill.more(labels, id_, [(START, 2.0)], segment=1)
    found = queries.federate([named("m")], START + 2000, None)
    assert found.times.tolist() == [START, START + 1000]
    assert found.values.tolist() == [3.0, 5.0]


@pytest.mark.usefixtures("way")
def test_of_rewritten_samples_ranges_tell_the_last_value_too(fill: Filler, queries: PrometheusQueries) -> None:
    labels = {"__name__": "m"}
    points = [(START + i * 15_000, float(100 + i)) for i in range(20)]
    id_ = fill.floats(labels, points, segment=1)
    fill.more(labels, id_, [(time, 1.0) for time, _ in points], segment=2)
    result = queries.range("sum_over_time(m[1m])", START + 60_000, START + 240_000, 60_000)
    assert matrix(result.value) == {(): [4.0] * 4}


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("query", ["sum_over_time(m[1m])", "avg_over_time(m[1m])", "rate(m[1m])", "delta(m[1m])"])
def test_numbers_beyond_all_bounds_are_told_as_from_memory(
    fill: Filler, queries: PrometheusQueries, query: str
) -> None:
    values = [1e308, 1e308, -1e308, float("inf"), 1.0, float("nan"), 2.0, -1e308, -1e308, 5.0, 0.0, -0.0, 3.0, 7.0]
    points = [(START + i * 15_000, value) for i, value in enumerate(values)]
    fill.floats({"__name__": "m"}, points)
    asked = (query, START, START + 240_000, 15_000)
    memory = PromqlEngine(MemoryReader([({"__name__": "m"}, points)]))
    [got], [want] = matrix(queries.range(*asked).value).values(), matrix(memory.range(*asked).value).values()
    np.testing.assert_allclose(np.array(got, float), np.array(want, float), rtol=1e-11)


@pytest.mark.usefixtures("way")
def test_samples_of_series_not_known_yet_are_nobody_elses(fill: Filler, queries: PrometheusQueries) -> None:
    labels = {"__name__": "m", "l": "1"}
    id_ = fill.floats(labels, [(START, 1.0), (START + 1000, 2.0)])
    for other in (id_ - 7, id_ + 7):
        fill.more(labels, other, [(START, 30.0), (START + 1000, 40.0)])
    for query in ("m", "last_over_time(m[5m])"):
        assert list(matrix(queries.range(query, START, START + 1000, 1000).value).values()) == [[1.0, 2.0]]


def test_a_known_series_gets_its_first_native_histogram(fill: Filler, queries: PrometheusQueries, store: Store) -> None:
    labels = {"__name__": "m"}
    id_ = fill.floats(labels, [(START, 1.0)])
    assert matrix(queries.instant("m", START + 5000).value)
    fill.histogram(labels, id_, START + 1000, [1.0, 2.0])
    store._note_series()  # as a load does
    assert matrix(queries.instant("histogram_count(m)", START + 5000).value) == {(): [3.0]}
    assert queries.federate([named("m"), named("m")], START + 5000, None).values.tolist() == [1.0]


def test_samples_since_1970_are_read(fill: Filler, queries: PrometheusQueries) -> None:
    fill.floats({"__name__": "m"}, [(0, 1.0), (1, 2.0)])
    assert queries.federate([named("m")], 1, None).times.tolist() == [0, 1]
    assert queries.series([named("m")], -(10**18), 10**18, 0) == [{"__name__": "m"}]


def test_more_samples_than_allowed_are_refused(fill: Filler, store: Store) -> None:
    fill.floats({"__name__": "m"}, [(START + i, float(i)) for i in range(11)])
    few = asking(store.read, store, EngineOptions(most_samples=10))
    with pytest.raises(TooManySamplesError):
        few.instant("m[1m]", START + 10)


def test_native_histograms_are_read_among_floats(fill: Filler, queries: PrometheusQueries) -> None:
    labels = {"__name__": "h", "a": "1"}
    id_ = fill.floats(labels, [(START, 1.0)])
    fill.histogram(labels, id_, START + 1000, [1.0, 2.0])
    fill.histogram(labels, id_, START + 2000, [2.0, 4.0])
    result = queries.instant("h[1m]", START + 5000).value
    assert isinstance(result, Samples)
    assert result.times.tolist() == [START, START + 1000, START + 2000]
    assert result.histogram_of is not None
    assert result.histogram_of.tolist()[0] == -1
    counts = queries.instant("histogram_count(h)", START + 5000).value
    assert matrix(counts) == {(("a", "1"),): [6.0]}
    median = queries.instant("histogram_quantile(0.5, h)", START + 5000).value
    [[value]] = matrix(median).values()
    assert value == pytest.approx(2 * 2**0.25)  # a quarter into the bucket from 2 to 4


@pytest.mark.parametrize(
    ("matchers", "found"),
    [
        ([], "abcd"),
        ([Matcher("job", MatchOp.EQUAL, "x")], "ab"),
        ([Matcher("job", MatchOp.EQUAL, "")], "d"),
        ([Matcher("job", MatchOp.NOT_EQUAL, "x")], "cd"),
        ([Matcher("job", MatchOp.NOT_EQUAL, "")], "abc"),
        ([Matcher("job", MatchOp.REGEX, "x|y.*")], "abc"),
        ([Matcher("job", MatchOp.REGEX, ".*")], "abcd"),
        ([Matcher("job", MatchOp.REGEX, "y")], ""),
        ([Matcher("job", MatchOp.NOT_REGEX, "y.+")], "abd"),
        ([Matcher("job", MatchOp.REGEX, "y.z")], "c"),
        ([Matcher("__name__", MatchOp.REGEX, "m[12]"), Matcher("job", MatchOp.EQUAL, "x")], "ab"),
        ([Matcher("__name__", MatchOp.NOT_EQUAL, "m1")], "bcd"),
        ([Matcher("__name__", MatchOp.EQUAL, "m1"), Matcher("__name__", MatchOp.NOT_REGEX, "m.")], ""),
        ([Matcher("__name__", MatchOp.EQUAL, "nothing")], ""),
    ],
)
def test_matchers_choose_series(fill: Filler, queries: PrometheusQueries, matchers: list[Matcher], found: str) -> None:
    for name, letter, job in (("m1", "a", "x"), ("m2", "b", "x"), ("m3", "c", "y\nz"), ("m3", "d", "")):
        labels = {"__name__": name, "letter": letter} | ({"job": job} if job else {})
        fill.floats(labels, [(START, 1.0)])
    series = queries.series([matchers], START - MINUTE, START + MINUTE, 0)
    assert "".join(sorted(labels["letter"] for labels in series)) == found


def test_series_are_those_of_any_selector_each_once(fill: Filler, queries: PrometheusQueries) -> None:
    for letter in "abc":
        fill.floats({"__name__": letter, "l": letter}, [(START, 1.0)])
    selectors = [named("a"), named("b"), [Matcher("l", MatchOp.REGEX, "a|b")]]
    found = queries.series(selectors, START, START, 0)
    assert [labels["l"] for labels in found] == ["a", "b"]
    assert len(queries.series(selectors, START, START, 1)) == 1
    assert queries.label_values("l", selectors, START, START, 0) == ["a", "b"]
    assert queries.label_names(selectors, START, START, 0) == ["__name__", "l"]


def test_labels_without_selectors_are_all_of_the_range(fill: Filler, queries: PrometheusQueries) -> None:
    assert queries.label_names([], START, START, 0) == []
    fill.floats({"__name__": "old", "o": "1"}, [(START - 1000 * MINUTE, 1.0)])
    fill.floats({"__name__": "new", "n": "2"}, [(START, 1.0)])
    assert queries.label_names([], START, START, 0) == ["__name__", "n"]
    assert queries.label_values("__name__", [], START, START, 0) == ["new"]
    assert queries.label_values("o", [], 0, START, 0) == ["1"]
    assert queries.label_values("o", [], START, START, 0) == []


def test_a_new_series_is_found_although_others_were_remembered(fill: Filler, queries: PrometheusQueries) -> None:
    fill.floats({"__name__": "m", "l": "1"}, [(START, 1.0)])
    assert len(queries.series([named("m")], START, START, 0)) == 1
    fill.floats({"__name__": "m", "l": "2"}, [(START, 1.0)])
    assert len(queries.series([named("m")], START, START, 0)) == 2


class Asked:
    """Reads, and remembers which statements."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.names: list[str] = []

    def __call__(self, name: str, parameters: Mapping[str, Any]) -> pa.Table:
        self.names.append(name)
        return self._store.read(name, parameters)


def test_series_are_asked_for_once_while_none_are_added(fill: Filler, store: Store) -> None:
    fill.floats({"__name__": "m"}, [(START, 1.0)])
    asked = Asked(store)
    queries = asking(asked, store)
    for _ in range(3):
        queries.instant("m", START)
    assert asked.names.count("read_selected_series") == 1
    assert asked.names.count("read_selected_samples") == 3


@pytest.mark.parametrize(
    ("added", "times_asked"),
    [
        ({"__name__": "m", "l": "1", "k": "known"}, 1),  # dated anew, as all are every ten minutes
        ({"__name__": "m", "l": "2"}, 1),
        ({"__name__": "m", "l": "1", "k": "other"}, 2),
        ({"__name__": "n", "l": "1"}, 1),
    ],
)
def test_series_are_asked_for_again_only_when_one_that_matches_is_added(
    fill: Filler, store: Store, added: dict[str, str], times_asked: int
) -> None:
    first = {"__name__": "m", "l": "1", "k": "known"}
    id_ = fill.floats(first, [(START, 1.0)])
    asked = Asked(store)
    queries, selector = asking(asked, store), [named("m", Matcher("l", MatchOp.EQUAL, "1"))]
    assert queries.series(selector, START, START, 0) == [first]
    if added == first:
        fill._id = id_ + 1
    fill.floats(added, [(START, 1.0)])
    found = queries.series(selector, START, START, 0)
    assert asked.names.count("read_selected_series") == times_asked
    assert found == sorted([first, *([added] if times_asked > 1 else [])], key=lambda labels: sorted(labels.items()))


def test_a_series_of_another_time_does_not_make_others_be_asked_for(fill: Filler, store: Store) -> None:
    fill.floats({"__name__": "m"}, [(START, 1.0)])
    asked = Asked(store)
    queries = asking(asked, store)
    for day in range(3):
        assert len(queries.series([named("m")], START, START, 0)) == 1
        fill.floats({"__name__": "m", "day": str(day)}, [(START - (day + 1) * 24 * 60 * MINUTE, 1.0)])
    assert asked.names.count("read_selected_series") == 1


def test_what_is_deleted_is_gone_and_the_rest_stays(fill: Filler, queries: PrometheusQueries) -> None:
    fill.floats({"__name__": "m", "l": "1"}, [(START, 1.0), (START + MINUTE, 2.0)])
    fill.floats({"__name__": "m", "l": "2"}, [(START, 1.0)])
    one = named("m", Matcher("l", MatchOp.EQUAL, "1"))
    queries.delete([one], START, START)
    assert queries.federate([one], START + MINUTE, None).times.tolist() == [START + MINUTE]
    queries.delete([one], -(10**17), 10**17)
    assert queries.series([named("m")], START, START + MINUTE, 0) == [{"__name__": "m", "l": "2"}]
    queries.clean_tombstones()


class Interrupted:
    """A store in which only so many deletions come to an end."""

    def __init__(self, store: Store, deletions: int) -> None:
        self._store, self._left = store, deletions
        self.series_version, self.histograms_version = store.series_version, store.histograms_version
        self.read, self.freeze = store.read, store.freeze

    def delete(self, metrics: Sequence[str], ids: Sequence[int], start_ms: int, end_ms: int, *, series: bool) -> None:
        if not self._left:
            raise StoreUnavailableError("No space left on device")
        self._left -= 1
        self._store.delete(metrics, ids, start_ms, end_ms, series=series)


def remembering(store: Store, deletions: int, most_series: int = 10) -> tuple[PrometheusQueries, list[str]]:
    """Queries that have samples of `m` and `n` in memory, and what they tell whoever announces series."""
    recent = RecentSamples(RecentOptions(), lambda: START + MINUTE, None)
    told: list[str] = []
    interrupted, options = Interrupted(store, deletions), EngineOptions(most_series=most_series)
    queries = PrometheusQueries(store.read, interrupted, options, str, lambda: told.append("deleted"), recent)
    for name in ("m", "n"):
        ids = queries._index.find(named(name), START, START).ids
        recent.add(recent.loading(), ids, np.full(len(ids), START), np.ones(len(ids)))
    return queries, told


def test_what_was_deleted_before_a_deletion_failed_is_not_answered_from_memory(fill: Filler, store: Store) -> None:
    for name in ("m", "n"):
        fill.floats({"__name__": name}, [(START, 1.0)])
    queries, told = remembering(store, deletions=1)
    with pytest.raises(StoreUnavailableError):
        queries.delete([named("m"), named("n")], -(10**17), 10**17)
    assert told == ["deleted"]
    assert not queries.federate([named("m")], START, None).labels
    assert queries.federate([named("n")], START, None).labels
    assert queries.series([named("m"), named("n")], START, START, 0) == [{"__name__": "n"}]


def test_nothing_is_deleted_where_one_selector_selects_too_many(fill: Filler, store: Store) -> None:
    fill.floats({"__name__": "m"}, [(START, 1.0)])
    for i in range(3):
        fill.floats({"__name__": "many", "l": str(i)}, [(START, 1.0)])
    queries, told = remembering(store, deletions=9, most_series=2)
    with pytest.raises(TooManySeriesError):
        queries.delete([named("m"), named("many")], START, START)
    assert not told
    assert queries.federate([named("m")], START, None).labels


@pytest.mark.parametrize("matchers", [[], [Matcher("a", MatchOp.REGEX, ".*")]])
def test_everything_is_not_deleted_by_a_slip(fill: Filler, queries: PrometheusQueries, matchers: list[Matcher]) -> None:
    fill.floats({"__name__": "m"}, [(START, 1.0)])
    with pytest.raises(InvalidQueryError):
        queries.delete([named("m"), matchers], START, START)
    assert queries.series([named("m")], START, START, 0)


def test_a_snapshot_is_kept_under_its_name(fill: Filler, queries: PrometheusQueries, engine: Engine) -> None:
    fill.floats({"__name__": "m"}, [(START, 1.0)])
    assert queries.snapshot() == "20260102T030405Z-name"


def test_the_status_ranks_metrics_and_labels(fill: Filler, queries: PrometheusQueries) -> None:
    for name, count in (("a", 1), ("b", 3)):
        for i in range(count):
            fill.floats({"__name__": name, "i": str(i)}, [(START, 1.0)])
    status = queries.tsdb_status(1)
    assert status["headStats"]["numSeries"] == 4
    assert status["seriesCountByMetricName"] == [{"name": "b", "value": 3}]
    assert status["labelValueCountByLabelName"] == [{"name": "i", "value": 3}]
    assert status["seriesCountByLabelValuePair"] == [{"name": "i=0", "value": 2}]
