from __future__ import annotations

import math

import numpy as np
import pytest
from prometheus_client.openmetrics.exposition import ALLOWUTF8, UNDERSCORES
from prometheus_client.parser import text_string_to_metric_families

from support.prometheus_api import NOW_MS, Api
from support.promql import MemoryReader, samples
from watchkeeper_server.api.prometheus.federate import exposition
from watchkeeper_server.promql.tree import Matcher, MatchOp
from watchkeeper_server.promql.values import STALE, Samples


async def test_the_newest_sample_of_each_series_is_told_by_metric(api: Api) -> None:
    answer = await api.get("/federate", match="up")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
    assert answer.text == (
        "# TYPE size_bytes untyped\n"
        f'size_bytes{{instance="a:1"}} 1.5e+17 {NOW_MS - 500}\n'
        "# TYPE up untyped\n"
        f'up{{instance="a:1",job="api"}} 1 {NOW_MS}\n'
        f'up{{instance="b:1",job="api"}} 1 {NOW_MS - 60_000}\n'
    )
    assert api.queries.asked == [("federate", [(Matcher("__name__", MatchOp.EQUAL, "up"),)], NOW_MS, None)]


async def test_without_a_selector_nothing_is_told(api: Api) -> None:
    answer = await api.get("/federate")
    assert (answer.status_code, answer.text) == (200, "")
    assert api.queries.asked == []


async def test_a_wrong_selector_is_refused(api: Api) -> None:
    message = "1:4: parse error: unexpected end of input inside braces"
    assert await api.error("/federate", match="up{") == (400, "bad_data", message)


async def test_names_are_told_as_the_scraper_can_read_them(api: Api) -> None:
    api.queries.reader = MemoryReader([({"__name__": "http.size", "http.route": "/"}, [(5, 1.0)])])
    answer = await api.get("/federate", match="a")
    assert answer.text == '# TYPE http_size untyped\nhttp_size{http_route="/",instance=""} 1 5\n'
    accept = {"Accept": "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.1"}
    answer = await api.get("/federate", match="a", headers=accept)
    assert answer.text == '# TYPE "http.size" untyped\n{"http.size","http.route"="/",instance=""} 1 5\n'
    assert answer.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8"


@pytest.mark.parametrize("escaping", [ALLOWUTF8, UNDERSCORES])
def test_what_cannot_be_told_is_left_out(escaping: str) -> None:
    gone, nameless, empty = [(1, 1.0), (2, STALE)], [(1, 1.0)], list[tuple[int, float]]()
    told = samples([({"__name__": "gone"}, gone), ({"a": "b"}, nameless), ({"__name__": "empty"}, empty)])
    assert exposition(told, escaping) == ""
    assert exposition(samples([]), escaping) == ""
    histograms = Samples(
        [{"__name__": "a"}, {"__name__": "b"}],
        np.array([0, 1, 2]),
        np.array([1, 1]),
        np.array([0.0, 2.0]),
        np.array([0, -1]),
    )
    assert exposition(histograms, escaping) == '# TYPE b untyped\nb{instance=""} 2 1\n'


def test_a_scraper_reads_back_what_was_told() -> None:
    labels = [{"__name__": "m", "instance": "i"}, {"__name__": "m", "path": 'C:\\ "x"\n'}, {"__name__": "n"}]
    values = [-math.inf, 1e-9, 12345678901.5]
    text = exposition(samples([(of, [(1_000, value)]) for of, value in zip(labels, values, strict=True)]), UNDERSCORES)
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    assert [(sample.name, sample.value) for sample in found] == list(zip("mmn", values, strict=True))
    assert found[1].labels == {"instance": "", "path": 'C:\\ "x"\n'}
    assert found[1].timestamp == 1.0
