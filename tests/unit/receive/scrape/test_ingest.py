from __future__ import annotations

import pytest

from support.scraping import NOW_MS, STALE, samples, values
from watchkeeper_server.receive.exposition.exposed import ExpositionError
from watchkeeper_server.receive.exposition.text import parse_text
from watchkeeper_server.receive.exposition.write_request import series_head
from watchkeeper_server.receive.prompb import WriteRequest
from watchkeeper_server.receive.scrape.config import GlobalConfig, Limits, Reading, ScrapeConfig
from watchkeeper_server.receive.scrape.ingest import Taken, TargetSeries, Window, same_rules
from watchkeeper_server.receive.scrape.relabel import Regex, RelabelRule
from watchkeeper_server.receive.scrape.scraped import KeptSeries, Scraped
from watchkeeper_server.receive.scrape.series import report_head, series_cache

TARGET = {"job": "j", "instance": "i"}
WINDOW = Window(NOW_MS - 3_600_000, NOW_MS + 600_000)


def job(**fields: object) -> ScrapeConfig:
    return ScrapeConfig(job_name="j", **fields).completed(GlobalConfig())  # type: ignore[arg-type]  a table of cases


class Took:
    """What was taken in, and the request that it makes."""

    def __init__(self, taken: Taken, at: int) -> None:
        self.scraped, self.kept, self.added, self.left_out = taken.scraped, taken.kept, taken.added, taken.left_out
        self.request = Scraped(KeptSeries(taken.heads), taken.values, at, taken.others, taken.ended).request()


class Scrapes:
    """One target's scrapes in a row."""

    def __init__(self, **fields: object) -> None:
        self.config = job(**fields)
        self.series = TargetSeries(series_cache(self.config, TARGET))

    def take(self, body: str, at: int = NOW_MS) -> Took:
        exposed = parse_text(body.encode(), self.series.cache)
        return Took(self.series.take(exposed, self.config, at, WINDOW), at)

    def values(self, body: str, at: int = NOW_MS) -> dict[str, float | str]:
        return values(self.take(body, at).request)


def test_the_targets_labels_win_and_the_exposed_ones_are_kept() -> None:
    body = 'a{job="x"} 1\nb{job="x",exported_job="y"} 2\nc{instance=""} 3\n'
    assert Scrapes().values(body) == {
        'a{exported_job="x",instance="i",job="j"}': 1.0,
        'b{exported_exported_job="x",exported_job="y",instance="i",job="j"}': 2.0,
        'c{instance="i",job="j"}': 3.0,
    }


def test_exposed_labels_win_where_they_are_honoured_even_when_empty() -> None:
    assert Scrapes(honor_labels=True).values('a{job="x"} 1\nb{instance=""} 2\n') == {
        'a{instance="i",job="x"}': 1.0,
        'b{job="j"}': 2.0,
    }


def test_metric_relabelling_drops_and_renames_series() -> None:
    rules = (
        RelabelRule(action="drop", source_labels=("__name__",), regex=Regex("a")),
        RelabelRule(action="labeldrop", regex=Regex("instance|job")),
        RelabelRule(source_labels=("__name__",), regex=Regex("b"), target_label="__name__", replacement="c"),
    )
    taken = Scrapes(metric_relabel_configs=rules).take('a 1\nb 2\nd{x="1"} 3\n')
    assert values(taken.request) == {"c": 2.0, 'd{x="1"}': 3.0}
    assert (taken.scraped, taken.kept, taken.added) == (3, 2, 2)


def test_a_rule_that_takes_the_name_away_fails_the_scrape() -> None:
    with pytest.raises(ExpositionError, match="missing metric name"):
        Scrapes(metric_relabel_configs=(RelabelRule(action="labeldrop", regex=Regex("__name__")),)).take("a 1\n")


def test_a_series_that_is_gone_is_ended_once() -> None:
    scrapes = Scrapes()
    assert scrapes.take("a 1\nb 2\n").added == 2
    second = scrapes.take("a 1\nc 3\n", NOW_MS + 15_000)
    assert values(second.request) == {
        'a{instance="i",job="j"}': 1.0,
        'c{instance="i",job="j"}': 3.0,
        'b{instance="i",job="j"}': STALE,
    }
    assert second.added == 1
    assert STALE not in scrapes.values("a 1\nc 3\n", NOW_MS + 30_000).values()


def test_a_failed_scrape_ends_everything_and_the_next_brings_it_back() -> None:
    scrapes = Scrapes()
    scrapes.take("# TYPE a counter\na 1\n")
    assert list(scrapes.series.fail()) == [series_head([("__name__", "a"), *TARGET.items()])]
    assert list(scrapes.series.fail()) == []
    again = scrapes.take("# TYPE a counter\na 1\n", NOW_MS + 3)
    assert (values(again.request), again.added) == ({'a{instance="i",job="j"}': 1.0}, 0)


def test_what_was_not_written_is_said_again() -> None:
    scrapes = Scrapes()
    text = "# TYPE a counter\na 1\n"
    scrapes.take(text + "b 1\n")
    assert not WriteRequest.FromString(scrapes.take(text + "b 1\n").request).metadata
    scrapes.take(text)
    scrapes.series.not_written()
    request = scrapes.take(text).request
    assert values(request)['b{instance="i",job="j"}'] == STALE
    assert [metadata.metric_family_name for metadata in WriteRequest.FromString(request).metadata] == ["a"]


def test_what_ended_with_a_scrape_in_hand_ends_with_the_successors_too() -> None:
    scrapes = Scrapes()
    scrapes.take("a 1\nb 1\n")
    scrapes.take("a 1\n")  # whether this was written, the successor does not know
    scrapes.series = scrapes.series.successor(series_cache(scrapes.config, TARGET))
    assert scrapes.values("a 1\n") == {'a{instance="i",job="j"}': 1.0, 'b{instance="i",job="j"}': STALE}


def test_explicit_times_are_kept_and_their_series_not_ended_unless_asked() -> None:
    for track in (False, True):
        scrapes = Scrapes(track_timestamps_staleness=track)
        first = samples(scrapes.take(f"a 1 {NOW_MS - 5}\n").request)
        assert first == [('a{instance="i",job="j"}', NOW_MS - 5, 1.0)]
        ended = samples(scrapes.take("b 1\n", NOW_MS + 9).request)
        assert (('a{instance="i",job="j"}', NOW_MS + 9, STALE) in ended) is track


def test_explicit_times_can_be_ignored() -> None:
    scrapes = Scrapes(honor_timestamps=False)
    assert samples(scrapes.take("a 1 5\n").request) == [('a{instance="i",job="j"}', NOW_MS, 1.0)]
    assert STALE in scrapes.values("").values()


def test_times_out_of_range_are_left_out_and_counted() -> None:
    taken = Scrapes().take(f"a 1 {NOW_MS + 700_000}\na 2 {NOW_MS - 4_000_000}\na 3 {NOW_MS}\na 4 -1\n")
    assert samples(taken.request) == [('a{instance="i",job="j"}', NOW_MS, 3.0)]
    assert taken.left_out == {"out_of_bounds": 3}


def test_of_duplicates_the_first_counts_however_it_is_written() -> None:
    taken = Scrapes().take(f'a{{x="1",y="2"}} 1\na{{y="2",x="1"}} 2\na{{x="1",y="2"}} 3\nb 1 {NOW_MS}\nb 2 {NOW_MS}\n')
    assert values(taken.request) == {'a{instance="i",job="j",x="1",y="2"}': 1.0, 'b{instance="i",job="j"}': 1.0}
    assert taken.left_out == {"duplicate": 3}
    assert taken.kept == 5


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(sample_limit=1), "sample limit exceeded"),
        (Limits(label_limit=3), r"label_limit exceeded \(metric: b, number of labels: 4, limit: 3\)"),
        (Limits(label_name_length_limit=8), "label_name_length_limit exceeded .* length: 9, limit: 8"),
        (Limits(label_value_length_limit=4), "label_value_length_limit exceeded .* length: 5, limit: 4"),
    ],
)
def test_a_limit_fails_the_scrape(limits: Limits, message: str) -> None:
    with pytest.raises(ExpositionError, match=message):
        Scrapes(limits=limits, metric_relabel_configs=()).take('a 1\nb{long_name="value"} 2\n')


def test_names_must_be_plain_where_utf8_is_not_wanted() -> None:
    assert Scrapes().values('{"a.b"} 1\n')
    with pytest.raises(ExpositionError, match="invalid metric name or label names"):
        Scrapes(metric_name_validation_scheme="legacy").take('{"a.b"} 1\n')


def test_a_histogram_too_fine_for_its_bounds_fails_the_scrape() -> None:
    config = {"reading": Reading(convert_classic_histograms_to_nhcb=True), "native_histogram_bucket_limit": 1}
    body = '# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_count 2\nh_sum 1\n'
    with pytest.raises(ExpositionError, match="histogram bucket limit exceeded"):
        Scrapes(**config).take(body)
    [series] = WriteRequest.FromString(
        Scrapes(**config | {"native_histogram_bucket_limit": 2}).take(body).request
    ).timeseries
    assert series.histograms[0].custom_values == [1.0]


def test_rules_that_make_other_series_are_told_from_those_that_do_not() -> None:
    assert same_rules(job(), job(scrape_interval=5_000, limits=Limits(sample_limit=5)))
    assert not same_rules(job(), job(honor_labels=True))
    assert not same_rules(job(), job(limits=Limits(label_limit=5)))


def test_a_report_has_the_targets_labels() -> None:
    assert report_head("up", TARGET) != report_head("up", {"job": "j"})
