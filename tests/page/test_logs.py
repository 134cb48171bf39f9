"""The log explorer: search, histogram, records and the live tail."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from fake_server import FakeServer

pytestmark = pytest.mark.page


def test_words_are_searched_as_they_are_typed_and_marked(page: Page) -> None:
    page.goto("/logs?range=1h")
    page.keyboard.press("/")
    page.keyboard.type("declined order")
    expect(page).to_have_url(re.compile(r"words=declined\+order"))
    expect(page.locator(".line").first).to_contain_text("card declined for order")
    expect(page.locator(".line").first.locator("mark")).to_have_text(["declined", "order"])


def test_a_level_includes_those_above_it(page: Page) -> None:
    page.goto("/logs?range=1h")
    page.get_by_role("button", name="warn", exact=True).click()
    expect(page).to_have_url(re.compile("level=warn"))
    legend = page.locator(".legend")
    expect(legend).to_contain_text("error")
    expect(legend).to_contain_text("warn")
    expect(legend).not_to_contain_text("info")


def test_a_record_opens_to_all_of_its_fields_and_leads_to_its_trace(page: Page) -> None:
    page.goto("/logs?range=1h&level=error")
    line = page.locator(".line").first
    line.click()
    expect(line).to_have_attribute("aria-expanded", "true")
    opened = page.locator(".record.open")
    for text in ("order_id", "service.instance.id", "ERROR (17)", "payments.log"):
        expect(opened).to_contain_text(text)
    expect(opened.locator(".frame")).to_have_count(3)
    opened.get_by_role("link", name="Open its trace").click()
    expect(page.get_by_role("article", name="Span POST /charges")).to_be_visible()


def test_records_of_one_trace_can_be_asked_for_from_a_record(page: Page) -> None:
    page.goto("/logs?range=1h&level=error")
    page.locator(".line").first.click()
    page.get_by_role("button", name="Records of this trace").click()
    expect(page).to_have_url(re.compile("trace_id=[0-9a-f]{32}"))


def test_a_click_on_a_bar_zooms_to_its_time_and_back_undoes_it(page: Page) -> None:
    page.goto("/logs?range=1h")
    page.get_by_role("img", name=re.compile("log records over time")).click(position={"x": 500, "y": 60})
    expect(page).to_have_url(re.compile("from=.*to="))
    page.go_back()
    expect(page).to_have_url(re.compile("range=1h"))


def test_older_records_are_read_on_scrolling(page: Page) -> None:
    page.goto("/logs?range=1h&refresh=off")
    lines = page.locator(".line")
    expect(lines).to_have_count(100)
    page.locator(".page").evaluate("e => e.scrollTo(0, e.scrollHeight)")
    expect(lines).to_have_count(200)


def test_the_tail_shows_records_as_they_arrive_and_only_those_that_match(page: Page, server: FakeServer) -> None:
    page.goto("/logs?range=1h&level=warn")
    page.get_by_role("button", name="Live tail").click()
    server.wait_for_tail()
    page.mouse.move(5, 5)
    server.tail("info", "not asked for")
    server.tail("warn", "first")
    server.tail("error", "second")
    lines = page.locator(".line")
    expect(lines).to_have_count(2)
    expect(lines.nth(0)).to_contain_text("second")
    expect(lines.nth(1)).to_contain_text("first")
    expect(page).to_have_url(re.compile("tail=on"))


def test_the_tail_is_held_while_the_pointer_rests_on_it(page: Page, server: FakeServer) -> None:
    page.goto("/logs?tail=on")
    server.wait_for_tail()
    server.tail("info", "first")
    lines = page.locator(".line")
    expect(lines).to_have_count(1)
    lines.first.hover()
    expect(page.get_by_text("Held while you read")).to_be_visible()
    server.tail("info", "second")
    server.tail("info", "third")
    expect(page.get_by_role("button", name="Show 2 new records")).to_be_visible()
    expect(lines).to_have_count(1)
    page.mouse.move(5, 5)
    expect(lines).to_have_count(3)
    expect(lines.first).to_contain_text("third")


def test_the_tail_ends_when_it_is_switched_off(page: Page, server: FakeServer) -> None:
    page.goto("/logs?range=1h&tail=on")
    server.wait_for_tail()
    page.get_by_role("button", name="Live tail").click()
    expect(page.get_by_role("region", name="Records over time")).to_be_visible()
    expect(page.locator(".line").first).to_be_visible()
