"""The targets page: what is scraped, how it goes, and why not."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from fake_server import FakeServer
    from playwright.sync_api import Route

pytestmark = pytest.mark.page


def test_pools_count_their_targets_and_show_those_in_trouble_first(page: Page) -> None:
    page.goto("/targets")
    expect(page.get_by_text("2 of 4 up")).to_be_visible()
    pool = page.get_by_role("region", name="Scrape pool shop")
    expect(pool).to_contain_text("1 / 3 up")
    first = pool.get_by_role("list").first.locator("> li").first
    expect(first).to_contain_text("down")
    expect(first).to_contain_text('Get "http://10.0.0.3:8000/metrics": connection refused')
    expect(first).to_contain_text("instance=10.0.0.3:8000")
    expect(first).to_contain_text("12.5 ms")
    expect(first.get_by_role("link")).to_have_attribute("href", "http://10.0.0.3:8000/metrics")


def test_what_was_never_scraped_says_so(page: Page) -> None:
    page.goto("/targets?state=unknown")
    expect(page.locator(".row")).to_have_count(1)
    expect(page.locator(".row")).to_contain_text("not yet")


def test_targets_are_filtered_by_state_pool_and_words_and_the_address_keeps_it(page: Page) -> None:
    page.goto("/targets")
    rows = page.locator(".row")
    expect(rows).to_have_count(4)
    page.get_by_role("button", name="up 2").click()
    expect(rows).to_have_count(2)
    page.get_by_label("Scrape pool", exact=True).select_option("node")
    expect(rows).to_have_count(1)
    page.reload()
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="Clear").click()
    page.keyboard.press("/")
    page.keyboard.type("REFUSED")
    expect(rows).to_have_count(1)
    expect(page).to_have_url(re.compile("search=REFUSED"))
    page.get_by_label("Search targets").fill("nothing like it")
    page.get_by_role("button", name="Clear the filters").click()
    expect(rows).to_have_count(4)


def test_dropped_targets_are_asked_for_only_when_wanted(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "state=dropped" in request.url else None)
    page.goto("/targets")
    expect(page.locator(".row")).to_have_count(4)
    assert asked == []
    page.get_by_role("button", name="Dropped").click()
    pool = page.get_by_role("region", name="Scrape pool node")
    expect(pool).to_contain_text("12 dropped by relabelling")
    expect(pool.get_by_role("list", name="Dropped targets of node")).to_contain_text("10.0.0.7:9100")
    expect(pool).to_contain_text("11 more are not listed")


def test_a_target_opens_to_what_discovery_found(page: Page) -> None:
    page.goto("/targets")
    page.get_by_role("button", name="Discovered labels of http://10.0.0.1:9100/metrics").click()
    expect(page.get_by_role("list", name="Targets of node")).to_contain_text("__scheme__")


def test_a_pool_is_closed_by_its_name(page: Page) -> None:
    page.goto("/targets")
    page.get_by_role("button", name=re.compile("^shop")).click()
    expect(page.locator(".row")).to_have_count(1)


def test_without_a_configuration_it_is_told_how_to_give_one(page: Page, empty_server: FakeServer) -> None:
    page.goto(f"{empty_server.url}/targets")
    expect(page.get_by_text("scrape_configs:")).to_be_visible()


@pytest.mark.refused
def test_a_refusal_shows_the_servers_message_and_a_retry(page: Page) -> None:
    def refuse(route: Route) -> None:
        body = json.dumps({"status": "error", "errorType": "unavailable", "error": "the store is closed"})
        route.fulfill(status=503, content_type="application/json", body=body)

    asked = re.compile("/api/v1/targets")
    page.route(asked, refuse)
    page.goto("/targets?refresh=off")
    expect(page.get_by_role("alert")).to_contain_text("the store is closed")
    page.unroute(asked)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".row")).to_have_count(4)
