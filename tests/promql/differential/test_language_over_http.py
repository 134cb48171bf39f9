"""The test language against a server: themes in which nothing changed between Prometheus 2.42 and 3 hold for both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from support.prometheus import PrometheusProcess
from support.promqltest.over_http import OverHttp
from support.promqltest.run import Runner
from support.promqltest.script import read_script
from support.promqltest.targets import NotSupportedError

CASES = Path(__file__).parents[1] / "cases"


@pytest.fixture(scope="module")
def server(prometheus: PrometheusProcess) -> Iterator[OverHttp]:
    with closing(OverHttp(prometheus.url)) as server:
        yield server


@pytest.mark.parametrize("theme", ["matching", "functions_math"])
def test_cases_hold_for_a_real_prometheus(server: OverHttp, theme: str) -> None:
    runner = Runner(server)
    failures = [runner.failures(case) for case in read_script(CASES / f"{theme}.test")]
    assert not "\n".join(filter(None, failures))


def test_a_query_that_names_a_time_is_not_asked_of_a_server_of_other_times(server: OverHttp) -> None:
    with pytest.raises(NotSupportedError, match="names a time"):
        server.instant("up @ 120", 0)
