from __future__ import annotations

import pytest

from support.promql import MemoryReader, key, told
from watchkeeper_server.promql.engine import Engine, EngineOptions
from watchkeeper_server.promql.errors import ExecutionError
from watchkeeper_server.promql.values import Matrix

MINUTE = 60_000
SERIES = {
    'up{instance="a",job="x"}': 1.0,
    'up{instance="b",job="x"}': 2.0,
    'target_info{instance="a",job="x",version="7",region="eu"}': 1.0,
    'build_info{instance="a",job="x",commit="c0ffee"}': 1.0,
}


def engine(series: dict[str, float]) -> Engine:
    reader = MemoryReader({of: [(0, value)] for of, value in series.items()})
    return Engine(reader, EngineOptions(experimental=True))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("info(up)", {'up{instance="a",job="x",region="eu",version="7"}': 1, 'up{instance="b",job="x"}': 2}),
        ('info(up, {version=~".+"})', {'up{instance="a",job="x",version="7"}': 1}),
        ('info(up, {version=~".*"})', {'up{instance="a",job="x",version="7"}': 1, 'up{instance="b",job="x"}': 2}),
        ('info(up, {version="8"})', {}),
        (
            'info(up, {__name__="build_info"})',
            {'up{instance="a",job="x",commit="c0ffee"}': 1, 'up{instance="b",job="x"}': 2},
        ),
        (
            'info(up{instance="a"}, {__name__=~".+_info"})',
            {'up{instance="a",job="x",region="eu",version="7",commit="c0ffee"}': 1},
        ),
        ('info(up{instance="a"}, {__name__!="target_info"})', {'up{instance="a",job="x",commit="c0ffee"}': 1}),
        ("info(build_info)", {'build_info{instance="a",job="x",commit="c0ffee",region="eu",version="7"}': 1}),
        ("info(target_info)", {'target_info{instance="a",job="x",version="7",region="eu"}': 1}),
        ("info(sum(up))", {"": 3}),
        ("info(nothing)", {}),
    ],
)
def test_series_get_the_labels_of_info_series_with_the_same_job_and_instance(
    query: str, expected: dict[str, float]
) -> None:
    assert told(engine(SERIES).instant(query, 0)) == {key(text): value for text, value in expected.items()}


def test_labels_that_a_series_has_already_are_its_own() -> None:
    series = {'m{instance="a",version="mine"}': 1.0, 'target_info{instance="a",version="theirs"}': 1.0}
    assert told(engine(series).instant("info(m)", 0)) == {key('m{instance="a",version="mine"}'): 1}


def test_a_series_is_split_where_its_info_changes_and_the_newest_info_counts() -> None:
    reader = MemoryReader(
        {
            'm{instance="a"}': [(0, 1.0), (MINUTE, 2.0)],
            'target_info{instance="a",version="1"}': [(0, 1.0)],
            'target_info{instance="a",version="2"}': [(MINUTE, 1.0)],
        }
    )
    value = Engine(reader, EngineOptions(experimental=True)).range("info(m)", 0, MINUTE, MINUTE).value
    assert isinstance(value, Matrix)
    assert [of["version"] for of in value.labels] == ["1", "2"]
    assert value.present.tolist() == [[True, False], [False, True]]


def test_info_series_that_contradict_each_other_are_named() -> None:
    twice = {'target_info{instance="a",v="1"}': 1.0, 'target_info{instance="a",v="2"}': 1.0, 'm{instance="a"}': 1.0}
    message = (
        r'found duplicate series for info metric: existing {__name__="target_info", instance="a", v="1"} @ 0, '
        r'new {__name__="target_info", instance="a", v="2"} @ 0'
    )
    with pytest.raises(ExecutionError, match=message):
        engine(twice).instant("info(m)", 0)
    other = {'target_info{instance="a",v="1"}': 1.0, 'build_info{instance="a",v="2"}': 1.0, 'm{instance="a"}': 1.0}
    with pytest.raises(ExecutionError, match="conflicting label: v"):
        engine(other).instant('info(m, {__name__=~".+_info"})', 0)
