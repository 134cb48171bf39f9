"""Explore: queries are written, run and read back from the address; their results are drawn, listed and explained."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Page, expect

if TYPE_CHECKING:
    from fake_server import FakeServer

pytestmark = pytest.mark.page


def editor(page: Page, letter: str = "A") -> Locator:
    """A query's editor, once it has been loaded."""
    query = page.get_by_role("group", name=f"Query {letter}")
    expect(query.locator(".editor")).to_have_attribute("data-editor", "ready")
    return query.get_by_role("textbox")


def legend(page: Page) -> Locator:
    return page.get_by_role("group", name="Legend").get_by_role("button")


def outcome(page: Page, letter: str = "A") -> Locator:
    return page.get_by_role("group", name=f"Query {letter}").locator(".outcome")


def test_a_query_is_completed_as_it_is_typed_and_run_by_enter(page: Page) -> None:
    page.goto("/explore?range=1h")
    editor(page).click()
    page.keyboard.type("http_requests")
    completion = page.locator(".cm-tooltip-autocomplete li", has_text="http_requests_total")
    expect(completion).to_contain_text("counter")
    expect(completion).to_have_attribute("aria-selected", "true")
    page.wait_for_timeout(150)  # a list that has only just opened does not take Enter yet
    page.keyboard.press("Enter")
    expect(editor(page)).to_have_text("http_requests_total")
    expect(legend(page)).to_have_count(0)
    page.keyboard.press("Enter")
    expect(legend(page)).to_have_count(6)
    expect(page).to_have_url(re.compile(r"q=http_requests_total"))
    expect(outcome(page)).to_contain_text("6 series in 12 ms")


def test_shift_enter_makes_a_new_line_and_runs_nothing(page: Page) -> None:
    page.goto("/explore")
    editor(page).click()
    page.keyboard.type("queue_depth ")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("+ 1 ")
    expect(page.locator(".cm-line")).to_have_count(2)
    expect(page).not_to_have_url(re.compile("q="))
    page.get_by_role("button", name="Run").click()
    expect(page).to_have_url(re.compile(r"q=queue_depth\+%0A%2B\+1"))


@pytest.mark.refused
def test_what_the_server_cannot_parse_is_underlined_where_it_says(page: Page) -> None:
    page.goto("/explore?refresh=off&q=queue_depth")
    expect(legend(page)).to_have_count(2)
    editor(page).fill("queue_depth\n  + nonsense ")
    expect(page.locator(".cm-lintRange-error")).to_have_text("nonsense")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text('2:5 unexpected identifier "nonsense"')
    # the answer to another query does not stand beside the refusal of this one
    expect(legend(page)).to_have_count(0)


@pytest.mark.refused
def test_a_query_that_fails_leaves_the_others_drawn(page: Page) -> None:
    page.goto("/explore?range=1h&refresh=off&q=queue_depth&q=queue_depth%5B5m%5D")
    expect(page.get_by_role("group", name="Query B").get_by_role("alert")).to_contain_text("range vector")
    expect(legend(page)).to_have_count(2)


def test_queries_are_added_hidden_moved_and_removed_and_the_address_keeps_them(page: Page) -> None:
    page.goto("/explore?refresh=off&q=queue_depth")
    page.get_by_role("button", name="Add query").click()
    expect(editor(page, "B")).to_be_focused()
    page.keyboard.type("cache_hit_ratio ")
    page.keyboard.press("Enter")
    expect(legend(page)).to_have_count(3)
    expect(legend(page).nth(2)).to_contain_text("B")
    page.get_by_role("button", name="Move query B up").click()
    expect(page).to_have_url(re.compile("q=cache_hit_ratio&q=queue_depth"))
    page.get_by_role("button", name="Show query A").click()
    expect(page).to_have_url(re.compile("hide=A"))
    expect(legend(page)).to_have_count(2)
    page.reload()
    expect(outcome(page)).to_contain_text("Hidden")
    expect(legend(page)).to_have_count(2)
    page.get_by_role("button", name="Remove query B").click()
    expect(editor(page)).to_have_text("cache_hit_ratio")
    page.go_back()
    expect(editor(page, "B")).to_have_text("queue_depth")


def test_a_query_is_laid_out_by_the_server(page: Page) -> None:
    page.goto("/explore?q=queue_depth%2B1")
    editor(page)
    page.get_by_role("button", name="Format query A").click()
    expect(editor(page)).to_have_text("queue_depth + 1")


def test_remarks_are_shown_beside_the_result(page: Page) -> None:
    page.goto("/explore?q=rate(queue_depth%5B5m%5D)&q=histogram_quantile(2, http_request_duration_seconds_bucket)")
    expect(outcome(page)).to_contain_text('metric might not be a counter: "queue_depth" (1:6)')
    expect(outcome(page, "B")).to_contain_text("quantile value should be between 0 and 1")


def test_the_legend_brings_out_one_series_and_shows_values_in_their_unit(page: Page) -> None:
    page.goto("/explore?range=1h&refresh=off&q=process_resident_memory_bytes")
    expect(legend(page)).to_have_count(3)
    expect(legend(page).nth(0)).to_contain_text("MiB")
    legend(page).nth(1).click()
    expect(legend(page).nth(0)).to_have_attribute("aria-pressed", "false")
    expect(legend(page).nth(1)).to_have_attribute("aria-pressed", "true")
    legend(page).nth(1).click()
    expect(legend(page).nth(0)).to_have_attribute("aria-pressed", "true")


def test_the_line_under_the_pointer_is_named(page: Page) -> None:
    page.goto("/explore?range=1h&refresh=off&q=cache_hit_ratio&stacked=on")
    area = page.locator(".u-over")
    expect(area).to_be_visible()
    # the whole height is passed through: the line is somewhere on the way
    box = area.bounding_box()
    assert box
    tip = page.locator(".tip")
    for step in range(60):
        page.mouse.move(box["x"] + 300, box["y"] + box["height"] * step / 60)
        if tip.count():
            break
    expect(tip).to_contain_text("instance=shop-1")
    expect(tip).to_contain_text("%")


def test_dragging_over_the_chart_zooms_and_back_undoes_it(page: Page) -> None:
    page.goto("/explore?range=1h&refresh=off&q=queue_depth")
    expect(legend(page)).to_have_count(2)
    box = page.locator(".u-over").bounding_box()
    assert box
    page.mouse.move(box["x"] + 200, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 400, box["y"] + 120, steps=4)
    page.mouse.up()
    expect(page).to_have_url(re.compile("from=.*to="))
    page.go_back()
    expect(page).to_have_url(re.compile("range=1h"))


def test_more_series_than_can_be_drawn_are_told_of(page: Page) -> None:
    page.goto("/explore?range=5m&refresh=off&q=many_series")
    expect(page.get_by_text("200 of 260 series are drawn")).to_be_visible()
    expect(legend(page)).to_have_count(200)


@pytest.mark.parametrize(
    "query", ["sum by (le) (rate(http_request_duration_seconds_bucket[5m]))", "rate(checkout_duration_seconds[5m])"]
)
def test_a_histogram_is_drawn_as_a_heatmap(page: Page, query: str) -> None:
    page.goto(f"/explore?range=1h&refresh=off&q={query}")
    heatmap = page.get_by_role("img", name="Heatmap of query A")
    expect(heatmap).to_be_visible()
    box = heatmap.bounding_box()
    assert box
    tip = page.locator(".tip")
    for step in range(10):
        page.mouse.move(box["x"] + 400, box["y"] + 20 + 24 * step)
        if tip.count():
            break
    expect(tip).to_contain_text("ms to")
    expect(tip).to_contain_text("/s")
    expect(legend(page)).to_have_count(0)


def test_an_exemplar_leads_to_its_trace(page: Page) -> None:
    quantile = "histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))"
    page.goto(f"/explore?range=1h&refresh=off&q={quantile}")
    expect(legend(page)).to_have_count(1)
    dots = page.get_by_role("link", name=re.compile("^Exemplar"))
    expect(dots).to_have_count(0)
    page.get_by_role("button", name="Exemplars").click()
    expect(dots).to_have_count(2)
    dots.first.hover()
    expect(page.locator(".tip")).to_contain_text("400 ms")
    dots.first.click()
    expect(page).to_have_url(re.compile(r"/traces/[0-9a-f]{32}\?range=1h"))


def test_the_table_lists_the_values_of_now_and_sorts_them(page: Page) -> None:
    page.goto("/explore?range=1h&refresh=off&q=http_requests_total&tab=table")
    table = page.get_by_role("table", name="Result of query A")
    expect(table.get_by_role("row")).to_have_count(7)
    expect(page.locator(".common")).to_have_text(re.compile("All have.*http_requests_total"))
    values = [float(text) for text in table.locator(".value").all_inner_texts()]
    assert values == sorted(values, reverse=True)
    page.get_by_role("button", name="route").click()
    expect(table.get_by_role("row").nth(1)).to_contain_text("/charges")


def test_options_are_in_the_address(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "query_range" in request.url else None)
    page.goto("/explore?range=1h&refresh=off&q=queue_depth&step=1m&stacked=on")
    expect(legend(page)).to_have_count(2)
    assert all("step=60&" in url for url in asked)
    expect(page.get_by_role("button", name="Stacked")).to_have_attribute("aria-pressed", "true")
    page.get_by_label("Step").select_option("5m")
    expect(page).to_have_url(re.compile("step=5m"))
    page.get_by_role("button", name="Table").click()
    expect(page).to_have_url(re.compile("tab=table"))


@pytest.mark.parametrize(
    ("address", "query"),
    [
        ("/metrics?metric=queue_depth&label=queue%3Demails", 'queue_depth{queue="emails"}'),
        ("/metrics?metric=http_requests_total&rate=on", "rate(http_requests_total[5m])"),
        ("/graph?g0.expr=queue_depth&g0.tab=1", "queue_depth"),
    ],
)
def test_older_addresses_and_those_of_alerts_lead_here(page: Page, address: str, query: str) -> None:
    page.goto(address)
    expect(page).to_have_url(re.compile("/explore"))
    expect(editor(page)).to_have_text(query)


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("http_requests_total", "rate(http_requests_total[5m])"),
        ("queue_depth", "queue_depth"),
        (
            "http_request_duration_seconds",
            "histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))",
        ),
        ("checkout_duration_seconds", "histogram_quantile(0.95, sum(rate(checkout_duration_seconds[5m])))"),
        ("http.server.requests", 'rate({"http.server.requests"}[5m])'),
    ],
)
def test_a_metric_of_the_browser_is_asked_for_as_suits_its_type(page: Page, name: str, query: str) -> None:
    page.goto("/explore?range=1h&refresh=off")
    editor(page)
    page.keyboard.press("/")
    page.keyboard.type(name)
    metrics = page.get_by_role("list", name="Metrics").get_by_role("link")
    expect(metrics).to_have_count(1)
    metrics.click()
    expect(editor(page)).to_have_text(query)
    expect(page.get_by_role("img").first).to_be_visible()


def test_metrics_looked_through_take_each_others_place_but_not_that_of_what_was_written(page: Page) -> None:
    page.goto("/explore?range=1h&refresh=off&q=1+%2B+queue_depth")
    editor(page)
    metrics = page.get_by_role("list", name="Metrics")
    metrics.get_by_role("link", name="queue_depth").click()
    expect(editor(page, "B")).to_have_text("queue_depth")
    metrics.get_by_role("link", name="cache_hit_ratio").click()
    expect(editor(page, "B")).to_have_text("cache_hit_ratio")
    expect(editor(page)).to_have_text("1 + queue_depth")
    page.get_by_role("button", name="Add a query for http_requests_total").click()
    expect(editor(page, "C")).to_have_text("rate(http_requests_total[5m])")


def test_a_metrics_labels_are_told_with_how_many_series_have_them_and_narrow_the_query(page: Page) -> None:
    page.goto("/explore?range=1h&refresh=off")
    editor(page)
    page.get_by_role("list", name="Metrics").get_by_role("link", name="http_requests_total").click()
    page.get_by_role("list", name="Labels of http_requests_total").get_by_role("button", name="status").click()
    values = page.get_by_role("list", name="Values of status").get_by_role("button")
    expect(values.first).to_have_text(re.compile(r"200\s*3"))
    page.get_by_role("button", name="502 1").click()
    expect(editor(page)).to_have_text('rate(http_requests_total{status="502"}[5m])')
    expect(legend(page)).to_have_count(1)
    page.get_by_role("group", name="Queries for http_requests_total").get_by_role("button", name="total").click()
    expect(editor(page)).to_have_text('http_requests_total{status="502"}')


def test_the_key_e_goes_to_the_query_and_escape_leaves_it(page: Page) -> None:
    page.goto("/explore")
    field = editor(page)
    page.keyboard.press("e")
    expect(field).to_be_focused()
    page.keyboard.press("Escape")
    expect(field).not_to_be_focused()


@pytest.mark.refused
def test_without_the_editor_a_plain_field_runs_queries(page: Page) -> None:
    page.route(re.compile("promqlEditor"), lambda route: route.abort())
    page.goto("/explore?range=1h&refresh=off")
    field = page.get_by_role("textbox", name="PromQL of query A")
    field.fill("queue_depth")
    field.press("Enter")
    expect(legend(page)).to_have_count(2)


def test_what_matches_nothing_offers_a_longer_look(page: Page) -> None:
    page.goto("/explore?range=5m&q=unheard_of")
    page.get_by_role("button", name="Look at the last 24 hours").click()
    expect(page).to_have_url(re.compile("range=24h"))


def test_other_pages_load_neither_editor_nor_charts(page: Page, server: FakeServer) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/assets/" in request.url else None)
    page.goto("/services?range=1h")
    expect(page.get_by_role("heading", name="Services")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert {re.sub(r".*/(\w+)-.*", r"\1", url) for url in asked} == {"index"}


@pytest.mark.parametrize("path", ["/explore?q=http_requests_total", "/explore?q=queue_depth&tab=table", "/targets"])
def test_nothing_overflows_on_a_phone(page: Page, path: str) -> None:
    page.set_viewport_size({"width": 420, "height": 860})
    page.goto(path)
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    assert page.evaluate("(e => e.scrollWidth - e.clientWidth)(document.querySelector('.page'))") <= 0


def test_on_a_phone_the_metrics_lie_over_the_page_until_one_is_chosen(page: Page) -> None:
    page.set_viewport_size({"width": 420, "height": 860})
    page.goto("/explore?range=1h&refresh=off")
    metrics = page.get_by_role("list", name="Metrics")
    expect(metrics).to_have_count(0)
    page.get_by_role("button", name="Metrics").click()
    metrics.get_by_role("link", name="queue_depth").click()
    page.get_by_role("group", name="Queries for queue_depth").get_by_role("button", name="sum").click()
    expect(metrics).to_have_count(0)
    expect(editor(page)).to_have_text("sum(queue_depth)")
