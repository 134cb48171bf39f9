"""What is answered of rollups, against the same question to the samples they were made of."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from support.stored_samples import Points, insert_samples
from watchkeeper_server.model.rollups import RolledUp
from watchkeeper_server.promql.errors import TooManySamplesError
from watchkeeper_server.promql.options import EngineOptions
from watchkeeper_server.promql.values import STALE, Matrix, Result, Samples
from watchkeeper_server.query import rollups as rollups_module
from watchkeeper_server.query.options import RecentOptions
from watchkeeper_server.query.prometheus import PrometheusQueries
from watchkeeper_server.query.recent_samples import RecentSamples
from watchkeeper_server.store.engine import Engine
from watchkeeper_server.store.rollups import Rollups
from watchkeeper_server.store.store import Store

# complete from a time that never comes: everything is asked of the store
NOTHING_RECENT = RecentSamples(RecentOptions(), int, 10**15)
DAY = 86_400_000
HOUR = 3_600_000
MINUTES = 300_000
FIRST_DAY = 1_795_132_800_000  # 2026-11-20
LONG_AFTER = (FIRST_DAY + 40 * DAY) / 1000
DAYS = {"metrics": 30, "rollups-5m": 180, "rollups-1h": 730}
NOTE = "PromQL info: samples before 2026-11-21 are rollups of 5 minutes: windows there are of whole buckets"


class Shop:
    """Stored series; `queries` answers of what is left after some time, `exact` of the samples."""

    def __init__(self, engine: Engine, store: Store) -> None:
        self.engine, self.store = engine, store
        self.now = LONG_AFTER
        self.ids = itertools.count(1)
        self.rollups = Rollups(engine, DAYS, lambda: self.now, store.upkeep)
        self.exact, self.queries = self._asking(RolledUp), self._asking(self.rollups.rolled_up)

    def add(self, points: Points, metric: str = "m_total", segment: int = 1, **labels: str) -> None:
        id_ = next(self.ids)
        first, last = min(time for time, _ in points) // 1000, max(time for time, _ in points) // 1000
        self.engine.execute(
            "INSERT INTO series SELECT {metric:String}, {id:UInt64}, "
            "mapFromArrays({names:Array(String)}, {values:Array(String)}), "
            "toDateTime({first:UInt32}), toDateTime({last:UInt32})",
            {
                "metric": metric,
                "id": id_,
                "names": [*labels],
                "values": [*labels.values()],
                "first": first,
                "last": last,
            },
        )
        insert_samples(self.engine, points, metric, id_, segment)
        self.store._note_series()  # as a load does

    def drop_samples(self) -> None:
        self.engine.execute("ALTER TABLE samples DROP PARTITION '2026-11-20'")
        self.rollups.catch_up()

    def _asking(self, rolled_up: Callable[[], RolledUp]) -> PrometheusQueries:
        return PrometheusQueries(
            self.store.read, self.store, EngineOptions(experimental=True), str, lambda: None, NOTHING_RECENT, rolled_up
        )


@pytest.fixture
def shop(engine: Engine, store: Store) -> Shop:
    return Shop(engine, store)


@pytest.fixture(params=["fetched", "computed in the store"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways in which rollups can be read, whatever their number."""
    monkeypatch.setattr(rollups_module, "_WORTH_A_GRID", 10**18 if request.param == "fetched" else 0)


def rows(result: Result) -> dict[Any, list[float | None]]:
    assert isinstance(result.value, Matrix)
    return {
        tuple(sorted(labels.items())): [float(v) if p else None for v, p in zip(row, there, strict=True)]
        for labels, row, there in zip(result.value.labels, result.value.values, result.value.present, strict=True)
        if there.any()
    }


def assert_same(got: Mapping[Any, list[float | None]], want: Mapping[Any, list[float | None]], query: str) -> None:
    assert got.keys() == want.keys(), query
    for labels, row in want.items():
        assert [v is None for v in got[labels]] == [v is None for v in row], query
        numbers = [[v for v in each if v is not None] for each in (got[labels], row)]
        np.testing.assert_allclose(*numbers, rtol=1e-9, err_msg=query)


def scraped(start: int, end: int, seed: int = 1) -> Points:
    """A counter that is scraped each 15 seconds and falls to little now and then."""
    random = np.random.default_rng(seed)
    times = np.arange(start + int(random.integers(15_000)), end, 15_000)
    values = np.cumsum(random.integers(0, 50, len(times)))
    for place in sorted(random.integers(0, len(times), 12)):
        values[place:] -= values[place] - random.integers(0, 9)
    return list(zip(times.tolist(), values.astype(float).tolist(), strict=True))


def of_anything(seed: int) -> Points:
    """A gauge with gaps, odd distances, stale markers, NaN, and samples at the very borders of buckets."""
    random = np.random.default_rng(seed)
    times = FIRST_DAY + np.unique(random.integers(0, 6 * HOUR, int(random.integers(1, 400))))
    times = np.unique(np.concatenate([times, FIRST_DAY + random.integers(1, 72, 9) * MINUTES]))
    values = random.integers(-1000, 1000, len(times)).astype(float)
    values[random.random(len(times)) < 0.1] = STALE
    values[random.random(len(times)) < 0.05] = np.nan
    return list(zip(times.tolist(), values.tolist(), strict=True))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("window", "step"), [("5m", MINUTES), ("15m", 2 * MINUTES), ("1h", HOUR), ("2h", HOUR)])
def test_whole_windows_of_a_counter_say_what_its_samples_say(shop: Shop, window: str, step: int) -> None:
    for seed in range(6):
        shop.add(scraped(FIRST_DAY, FIRST_DAY + 8 * HOUR, seed), job=f"j{seed}")
    shop.rollups.catch_up()
    start, end = FIRST_DAY + 2 * HOUR, FIRST_DAY + 7 * HOUR
    functions = ["rate", "increase", "delta", "min_over_time", "max_over_time", "sum_over_time", "avg_over_time"]
    for function in [*functions, "count_over_time", "last_over_time", "present_over_time"]:
        query = f"{function}(m_total[{window}])"
        got, want = (each.range(query, start, end, step) for each in (shop.queries, shop.exact))
        assert_same(rows(got), rows(want), query)
    assert rows(shop.queries.range("sum(rate(m_total[1h]))", start, end, HOUR))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("seed", range(6))
def test_whole_windows_of_anything_say_what_its_samples_say(shop: Shop, seed: int) -> None:
    for number in range(5):
        shop.add(of_anything(10 * seed + number), i=str(number))
    shop.rollups.catch_up()
    for function in ("min", "max", "sum", "avg", "count", "last", "present"):
        for window, step in (("5m", MINUTES), ("35m", MINUTES), ("1h", HOUR)):
            query = f"{function}_over_time(m_total[{window}])"
            asked = (query, FIRST_DAY, FIRST_DAY + 7 * HOUR, step)
            assert_same(rows(shop.queries.range(*asked)), rows(shop.exact.range(*asked)), query)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("step", [0, 60_000, 437_000, MINUTES, HOUR])
def test_a_window_of_rollups_ends_at_the_last_border_before_its_step(shop: Shop, step: int) -> None:
    shop.add(scraped(FIRST_DAY, FIRST_DAY + 8 * HOUR))
    shop.rollups.catch_up()
    start, end = FIRST_DAY + 2 * HOUR + 123_456, FIRST_DAY + 3 * HOUR
    for query in ("m_total", "rate(m_total[10m])", "sum_over_time(m_total[5m])", "avg_over_time(m_total[20m])"):
        if step:
            [got] = rows(shop.queries.range(query, start, end, step)).values()
        else:
            [got] = rows(shop.queries.instant(query, start)).values()
        times = range(start, end + 1, step) if step else [start]
        moved = [shop.exact.instant(query, time // MINUTES * MINUTES) for time in times]
        np.testing.assert_allclose(
            np.array(got, float), [next(iter(rows(one).values()))[0] for one in moved], rtol=1e-9
        )


@pytest.mark.usefixtures("way")
def test_what_adds_up_in_a_window_rounded_up_is_scaled_down(shop: Shop) -> None:
    shop.add([(FIRST_DAY + i * 15_000, float(i)) for i in range(1, 2000)])
    shop.rollups.catch_up()
    at = FIRST_DAY + HOUR
    assert rows(shop.queries.instant("count_over_time(m_total[7m30s])", at)) == {(): [pytest.approx(30)]}
    assert rows(shop.queries.instant("increase(m_total[1m])", at)) == {(): [pytest.approx(4)]}
    assert rows(shop.queries.instant("rate(m_total[1m])", at)) == {(): [pytest.approx(1 / 15)]}
    assert rows(shop.queries.instant("max_over_time(m_total[1m])", at)) == {(): [240.0]}


@pytest.mark.usefixtures("way")
def test_samples_are_read_where_they_are_kept_and_rollups_before(shop: Shop) -> None:
    ends = FIRST_DAY + DAY
    points = [(FIRST_DAY + DAY + i * 15_000, float(i)) for i in range(-1000, 1001)]
    shop.add(points)
    shop.add([point for point in points if point[0] <= ends - HOUR], job="ended")
    shop.add([point for point in points if point[0] > ends + HOUR], job="new")
    shop.now = (ends + 2 * HOUR) / 1000
    shop.rollups.catch_up()
    start, end, step = ends - 3 * HOUR, ends + 3 * HOUR, MINUTES
    queries = [
        "m_total",
        "rate(m_total{job=''}[15m])",
        "count_over_time(m_total[1h])",
        "quantile_over_time(1, m_total[5m])",
    ]
    queries.append("last_over_time(m_total[1h])")
    want = [rows(shop.queries.range(query, start, end, step)) for query in queries]
    assert want == [rows(shop.exact.range(query, start, end, step)) for query in queries]
    shop.drop_samples()
    assert not rows(shop.exact.range("m_total", start, ends - MINUTES, step))
    for query, rows_of_all in zip(queries, want, strict=True):
        result = shop.queries.range(query, start, end, step)
        assert result.infos[-1:] == [NOTE], query
        assert_same(rows(result), rows_of_all, query)
    for time in range(ends + HOUR + 1, ends + HOUR + 60_000, 7777):
        [result, exact] = [each.instant("sum_over_time(m_total[1h])", time) for each in (shop.queries, shop.exact)]
        assert (rows(result), result.infos) == (rows(exact), [])


def test_a_window_over_the_border_is_of_rollups_and_samples(shop: Shop) -> None:
    shop.add([(FIRST_DAY + DAY + i * 15_000, float(i)) for i in range(-1000, 1001)])
    shop.now = (FIRST_DAY + DAY + 2 * HOUR) / 1000
    shop.rollups.catch_up()
    asked = ("increase(m_total[1h])", FIRST_DAY + DAY + 10 * 60_000)
    want = rows(shop.exact.instant(*asked))
    shop.drop_samples()
    assert_same(rows(shop.queries.instant(*asked)), want, "increase")


@pytest.mark.usefixtures("way")
def test_stale_markers_after_the_border_are_seen(shop: Shop) -> None:
    border = FIRST_DAY + DAY
    points = [(border + i * 15_000, float(i)) for i in range(-1000, 10)]
    shop.add([*points, (border + 150_000, STALE)])
    shop.now = (border + 2 * HOUR) / 1000
    shop.rollups.catch_up()
    shop.drop_samples()
    result = shop.queries.range("m_total", border - MINUTES, border + 2 * MINUTES, MINUTES)
    assert rows(result) == {(("__name__", "m_total"),): [-20.0, 0.0, None, None]}


def test_the_coarser_rollup_is_read_where_the_finer_one_is_gone_or_says_the_same(shop: Shop) -> None:
    shop.add(scraped(FIRST_DAY, FIRST_DAY + 8 * HOUR))
    shop.rollups.catch_up()
    whole = shop.queries.range("rate(m_total[1h])", FIRST_DAY + HOUR, FIRST_DAY + 5 * HOUR, HOUR)
    assert [info for info in whole.infos if "1 hour" in info]
    before = shop.exact.instant("rate(m_total[1h])", FIRST_DAY + 5 * HOUR)
    shop.engine.execute("ALTER TABLE rollups_5m DROP PARTITION '2026-11-20'")
    shop.drop_samples()
    gone = shop.queries.instant("rate(m_total[5m])", FIRST_DAY + 5 * HOUR + 1)
    assert [info for info in gone.infos if "1 hour" in info]
    assert_same(rows(gone), rows(before), "rate over the hour that ended last")
    assert rows(shop.queries.instant("m_total", FIRST_DAY + 5 * HOUR + 1))


def test_who_asks_for_it_is_answered_of_rollups_although_samples_are_kept(shop: Shop) -> None:
    shop.add(scraped(FIRST_DAY, FIRST_DAY + 8 * HOUR))
    shop.now = (FIRST_DAY + DAY + 2 * HOUR) / 1000
    shop.rollups.catch_up()
    asked = ("sum_over_time(m_total[1h])", FIRST_DAY + 4 * HOUR + 60_000)
    assert rows(shop.queries.instant(*asked)) == rows(shop.exact.instant(*asked))
    for coarsest, title, width in ((HOUR, "1 hour", HOUR), (HOUR - 1, "5 minutes", MINUTES)):
        result = shop.queries.instant(*asked, coarsest_ms=coarsest)
        assert [info for info in result.infos if f"rollups of {title}:" in info]
        assert rows(result) == rows(shop.exact.instant(asked[0], asked[1] // width * width))
    assert shop.queries.instant(*asked, coarsest_ms=MINUTES - 1).infos == []


def test_other_functions_see_the_last_sample_of_each_bucket(shop: Shop) -> None:
    shop.add([(FIRST_DAY + i * 15_000, float(i)) for i in range(1, 2000)])
    shop.rollups.catch_up()
    at = FIRST_DAY + HOUR
    found = shop.queries.instant("m_total[20m]", at)
    assert isinstance(found.value, Samples)
    assert found.value.values.tolist() == [180.0, 200.0, 220.0, 240.0]
    assert found.infos == [NOTE]
    assert rows(shop.queries.instant("quantile_over_time(0, m_total[20m])", at)) == {(): [180.0]}
    assert rows(shop.queries.instant("first_over_time(m_total[20m])", at)) == {(("__name__", "m_total"),): [180.0]}
    assert rows(shop.queries.instant("deriv(m_total[20m])", at)) == {(): [pytest.approx(1 / 15)]}
    assert rows(shop.queries.instant("resets(m_total[20m])", at)) == {(): [0.0]}


def test_metrics_with_native_histograms_have_no_rollups(shop: Shop) -> None:
    shop.add(scraped(FIRST_DAY, FIRST_DAY + HOUR))
    shop.engine.execute(
        "INSERT INTO native_histograms (metric, id, time, segment) VALUES ('m_total', 7, 1795132800, 1)"
    )
    shop.store._note_series()
    shop.rollups.catch_up()
    for query in ("rate(m_total[5m])", "quantile_over_time(0.5, m_total[5m])"):
        asked = (query, FIRST_DAY + HOUR)
        result = shop.queries.instant(*asked)
        assert rows(result) == rows(shop.exact.instant(*asked))
        assert not result.infos


def test_nothing_is_remarked_where_there_is_nothing(shop: Shop) -> None:
    assert shop.queries.instant("m_total", FIRST_DAY).infos == []
    shop.add(scraped(FIRST_DAY, FIRST_DAY + HOUR))
    shop.rollups.catch_up()
    assert shop.queries.instant("another", FIRST_DAY + HOUR).infos == []


def test_more_rows_than_allowed_are_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.add(scraped(FIRST_DAY, FIRST_DAY + 8 * HOUR))
    shop.rollups.catch_up()
    few = PrometheusQueries(
        shop.store.read, shop.store, EngineOptions(most_samples=10), str, lambda: None,
        NOTHING_RECENT, shop.rollups.rolled_up,
    )  # fmt: skip
    for query in ("max_over_time(m_total[2h])", "quantile_over_time(1, m_total[2h])"):
        with pytest.raises(TooManySamplesError):
            few.instant(query, FIRST_DAY + 3 * HOUR + 1)
