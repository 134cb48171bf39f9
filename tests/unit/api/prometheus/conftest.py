from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from support.prometheus_api import Api
from watchkeeper_server.api.prometheus.options import PrometheusApiOptions


@pytest.fixture
def options() -> PrometheusApiOptions:
    """For tests to override."""
    return PrometheusApiOptions()


@pytest.fixture
async def api(options: PrometheusApiOptions) -> AsyncIterator[Api]:
    api = Api(options)
    async with api.client:
        yield api
