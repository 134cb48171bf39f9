"""For pytest: `pytest_plugins = ["watchkeeper.testing.plugin"]` in the topmost conftest.py.

It is not an entry point, since that would import the SDK in every run of every project that has it installed.

    def test_checkout(seen, client):
        client.post("/orders")
        assert seen.line("order placed").fields["order_id"] == 7

A test that asks for `fake_clock` or `sequential_ids` too is seen by these. What `seen` holds is a section of the report
of a test that failed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest

from watchkeeper.clock import SYSTEM_CLOCK
from watchkeeper.options import Options
from watchkeeper.testing.captured import Captured
from watchkeeper.testing.capturing import capture
from watchkeeper.testing.deterministic import FakeClock, SequentialIds


@pytest.fixture
def watchkeeper_options() -> Options | None:
    """The options of `seen`; define a fixture of this name to choose others."""
    return None


@pytest.fixture
def fake_clock() -> FakeClock:
    """A clock that stands still until `fake_clock.advance(seconds)`."""
    return FakeClock()


@pytest.fixture
def sequential_ids() -> SequentialIds:
    """Ids 1, 2, 3 … for traces and spans."""
    return SequentialIds()


@pytest.fixture
def seen(request: pytest.FixtureRequest, watchkeeper_options: Options | None) -> Iterator[Captured]:
    """What the SDK sees during the test: spans, log lines, metrics and errors."""
    asked = request.fixturenames
    clock = request.getfixturevalue("fake_clock").clock() if "fake_clock" in asked else SYSTEM_CLOCK
    ids = request.getfixturevalue("sequential_ids") if "sequential_ids" in asked else None
    with capture(watchkeeper_options, clock=clock, ids=ids) as captured:
        yield captured


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Adds to the report of a failed test what was seen."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    captured = getattr(item, "funcargs", {}).get("seen")
    if report.when == "call" and report.failed and isinstance(captured, Captured):
        report.sections.append(("Captured by Watchkeeper", captured.describe()))
