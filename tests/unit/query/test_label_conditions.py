"""The store, and what is looked at beside it, find the series that all matchers match, however many there are."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from watchkeeper_server.api.prometheus.errors import refusal
from watchkeeper_server.promql.errors import ExecutionError
from watchkeeper_server.promql.matchers import matches
from watchkeeper_server.promql.regexes import RegexError
from watchkeeper_server.promql.tree import Matcher, MatchOp
from watchkeeper_server.query import label_conditions
from watchkeeper_server.query.series_index import SeriesIndex, Version
from watchkeeper_server.store.engine import Engine
from watchkeeper_server.store.store import Store

NAMES, VALUES = ("a", "b", "über", "d.e"), ("", "1", "12", "x\ny", "ü", "\\", "'")
PATTERNS = ("", "1", "1.*", ".+", "x.y", "ü|1", "[^1]*", "(?i)X\ny", "1$", "^12", r"\\", "'")
SERIES = [{name: random.Random(f"{i}{name}").choice(VALUES) for name in NAMES} for i in range(150)]
START = 1_795_240_800


@pytest.fixture
def series(store: Store, engine: Engine) -> list[dict[str, str]]:
    """The series, all of one metric."""
    for i, labels in enumerate(SERIES):
        given = {name: value for name, value in labels.items() if value}
        engine.execute(
            "INSERT INTO series SELECT 'm', {id:UInt64}, mapFromArrays({n:Array(String)}, {v:Array(String)}), "
            "toDateTime({at:UInt32}), toDateTime({at:UInt32})",
            {"id": 1 + i * 7919 % 151, "n": list(given), "v": list(given.values()), "at": START},
        )
    return [{name: value for name, value in labels.items() if value} for labels in SERIES]


def index(store: Store, most: int = 1000) -> SeriesIndex:
    return SeriesIndex(store.read, store.read, lambda: Version(0, 0), lambda: Version(0, 0), most)


def found(store: Store, matchers: Sequence[Matcher]) -> list[Mapping[str, str]]:
    series = index(store).find(matchers, START * 1000, START * 1000)
    assert series.ids.tolist() == sorted(series.ids.tolist())
    return sorted(({k: v for k, v in one.items() if k != "__name__"} for one in series.labels), key=_order)


def _order(labels: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted(labels.items())


@pytest.mark.parametrize("in_store", [8, 1, 0])
def test_what_is_found_is_what_all_matchers_match(
    store: Store, series: list[dict[str, str]], in_store: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_conditions, "_IN_STORE", in_store)
    chance, hits = random.Random(in_store), 0
    for _ in range(60):
        matchers = []
        for _ in range(chance.randint(1, 3)):
            op = chance.choice(list(MatchOp))
            values = VALUES if op in (MatchOp.EQUAL, MatchOp.NOT_EQUAL) else PATTERNS
            matchers.append(Matcher(chance.choice((*NAMES, "none")), op, chance.choice(values)))
        wanted = [one for one in series if all(matches(m, one.get(m.name, "")) for m in matchers)]
        assert found(store, matchers) == sorted(wanted, key=_order), matchers
        hits += bool(wanted)
    assert hits > 20


def test_ten_thousand_matchers_take_no_longer_than_a_few(store: Store, series: list[dict[str, str]]) -> None:
    many = [Matcher("a", MatchOp.NOT_EQUAL, str(i)) for i in range(10_000)]
    many += [Matcher(f"none{i}", MatchOp.EQUAL, "") for i in range(10_000)]
    many += [Matcher("b", MatchOp.EQUAL, "1")] * 1000
    began = time.process_time()
    assert len(found(store, many)) == sum(one.get("b") == "1" and one.get("a") not in ("1", "12") for one in series)
    assert time.process_time() - began < 2


@pytest.mark.usefixtures("series")
def test_regular_expressions_have_a_bound_and_are_checked(store: Store) -> None:
    with pytest.raises(ExecutionError, match="1,001 regular expressions, the most allowed is 1,000"):
        found(store, [Matcher("a", MatchOp.REGEX, f"{i}") for i in range(1001)])
    with pytest.raises(RegexError):
        found(store, [Matcher("a", MatchOp.REGEX, "(")])


@pytest.mark.usefixtures("series")
def test_more_series_than_a_selector_may_select_are_refused_and_not_fetched(store: Store) -> None:
    rows = []

    def read(name: str, parameters: Mapping[str, Any]) -> Any:
        table = store.read(name, parameters)
        rows.append(table.num_rows)
        return table

    everything = [Matcher("__name__", MatchOp.NOT_EQUAL, "")]
    few = SeriesIndex(read, read, lambda: Version(0, 0), lambda: Version(0, 0), 149)
    with pytest.raises(ExecutionError) as raised:
        few.find(everything, START * 1000, START * 1000)
    assert rows[-1] == 150
    refused = refusal(raised.value)
    assert (refused.status, refused.kind) == (422, "execution")
    assert str(refused) == "a selector selects more than 149 series, the most allowed; add matchers to it"
    assert len(index(store, 150).find(everything, START * 1000, START * 1000).labels) == 150
