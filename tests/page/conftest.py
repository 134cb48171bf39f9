"""The built page in a real Chromium, before a fake server."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# pytest's importlib mode puts no folder of tests on the path, and these modules are shared.
sys.path.insert(0, str(Path(__file__).parent))

from fake_server import STATIC, FakeServer
from fake_shop import Shop, make_shop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def shop() -> Shop:
    return make_shop(time.time_ns())


@pytest.fixture(scope="module")
def server(shop: Shop) -> Iterator[FakeServer]:
    if not (STATIC / "index.html").is_file():
        pytest.fail("the page is not built: run `make setup`, or `npm ci && npm run build` in page/")
    with FakeServer(shop) as running:
        yield running


@pytest.fixture(scope="module")
def empty_server() -> Iterator[FakeServer]:
    with FakeServer(Shop()) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("needs Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  not needed where Chromium is missing

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser, server: FakeServer, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A fresh page, dark, at 1440 by 900; the test fails when it left an error in the console.

    Requests that fail are no error in a test marked `refused`: Chromium tells of each, some time after the page did.
    """
    complaints: list[str] = []
    context = browser.new_context(
        base_url=server.url, viewport={"width": 1440, "height": 900}, color_scheme="dark", locale="en-GB"
    )
    context.set_default_timeout(5_000)
    opened = context.new_page()
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    yield opened
    context.close()
    server.end_tails()
    if request.node.get_closest_marker("refused"):
        complaints = [each for each in complaints if not each.startswith("Failed to load resource")]
    assert complaints == []
