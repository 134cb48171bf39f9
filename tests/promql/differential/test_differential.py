"""The engine and a real Prometheus, asked the same of the same series, must answer the same.

Prometheus is the program of that name on this machine, 2.42 as Debian has it; `known_differences` lists where it has
changed since. Every query is drawn by a seed and its number, which a failure names.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import pytest

from promql.differential.known_differences import for_older, is_known, tolerance
from promql.differential.random_data import random_data
from promql.differential.random_queries import Question, question
from support.prometheus import PrometheusProcess
from support.promqltest.check import name_of
from support.promqltest.histograms import Histogram
from support.promqltest.in_process import InProcess
from support.promqltest.over_http import OverHttp
from support.promqltest.targets import Answer, QueryFailedError, Target
from watchkeeper_server.promql.options import EngineOptions

SEED = 1


@dataclass(frozen=True, slots=True)
class Engines:
    """Ours and the other, holding the same."""

    ours: Target
    other: Target


@pytest.fixture(scope="module")
def engines(prometheus: PrometheusProcess) -> Iterator[Engines]:
    data = random_data(SEED)
    with closing(OverHttp(prometheus.url, base=0)) as other:
        both = Engines(InProcess(EngineOptions(experimental=True)), other)
        both.ours.hold(data)
        both.other.hold(data)
        yield both


def test_hundreds_of_queries_are_answered_as_prometheus_answers_them(engines: Engines) -> None:
    _compare(engines, range(300))


@pytest.mark.long
def test_thousands_of_queries_are_answered_as_prometheus_answers_them(engines: Engines) -> None:
    _compare(engines, range(300, 10_000))


def _compare(engines: Engines, numbers: range) -> None:
    outcomes: Counter[str] = Counter()
    differing = []
    for number in numbers:
        asked = question(SEED, number)
        ours, other = _ask(engines.ours, asked), _ask(engines.other, asked, older=True)
        outcomes["failed" if isinstance(other, QueryFailedError) else "answered" if other.series else "empty"] += 1
        unknown = (one for one in _differences(ours, other, tolerance(asked.query)) if not is_known(asked.query, one))
        if found := list(islice(unknown, 6)):
            differing.append("\n  ".join([f"query {number} of seed {SEED}: {asked}", *found]))
    assert not differing, f"{len(differing)} of {len(numbers)} differ:\n" + "\n".join(differing[:40])
    # a comparison of nothing with nothing would prove nothing
    assert outcomes["answered"] > 0.6 * len(numbers), outcomes


def _ask(engine: Target, asked: Question, *, older: bool = False) -> Answer | QueryFailedError:
    query = for_older(asked.query) if older else asked.query
    try:
        return engine.instant(query, asked.steps.start) if asked.instant else engine.range(query, asked.steps)
    except QueryFailedError as error:
        return error


def _differences(ours: Answer | QueryFailedError, other: Answer | QueryFailedError, tolerance: float) -> Iterator[str]:
    """One line for each: who says what."""
    if isinstance(ours, QueryFailedError) or isinstance(other, QueryFailedError):
        if isinstance(ours, Answer):
            yield f"Prometheus fails: {other}"
        elif isinstance(other, Answer):
            yield f"we fail: {ours}"
        return
    if ours.kind != other.kind:
        yield f"we answer a {ours.kind}, Prometheus a {other.kind}"
    our_series, their_series = ({frozenset(of.items()): samples for of, samples in one.series} for one in (ours, other))
    for labels in our_series.keys() | their_series.keys():
        name = name_of(dict(labels))
        if labels not in our_series or labels not in their_series:
            yield f"{name} is {'ours' if labels in our_series else 'theirs'} only"
            continue
        our_samples, their_samples = our_series[labels], their_series[labels]
        for time in sorted(our_samples.keys() | their_samples.keys()):
            our_value, their_value = our_samples.get(time), their_samples.get(time)
            if not _equal(our_value, their_value, tolerance):
                yield f"{name} at {time}: ours {our_value}, theirs {their_value}"


def _equal(ours: float | Histogram | None, other: float | Histogram | None, tolerance: float) -> bool:
    if not isinstance(ours, float) or not isinstance(other, float):
        return ours is other
    return (math.isnan(ours) and math.isnan(other)) or math.isclose(ours, other, rel_tol=tolerance)
