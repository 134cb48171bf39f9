"""One Prometheus for the tests here; without the program they are skipped, which the summary says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.prometheus import BINARY, PrometheusProcess


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusProcess]:
    """A running Prometheus that holds nothing yet."""
    if BINARY is None:
        pytest.skip("no program named prometheus to compare with; Debian's package prometheus has it")
    with PrometheusProcess(tmp_path_factory.mktemp("prometheus")) as running:
        yield running
