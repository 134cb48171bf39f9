"""Each page shows its data, by its address alone; and tells what to do when there is none, or no answer."""

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


def refuse(route: Route) -> None:
    problem = {"error": "overloaded", "message": "Too many queries at once: try again in 2 s.", "field": None}
    route.fulfill(status=503, content_type="application/json", body=json.dumps(problem))


def test_services_shows_rates_errors_and_percentiles(page: Page) -> None:
    page.goto("/services?range=1h")
    row = page.get_by_role("row").filter(has=page.get_by_role("button", name="payments"))
    expect(row).to_contain_text("/min")
    expect(row).to_contain_text("%")
    expect(row.get_by_role("img")).to_have_count(2)
    expect(page.get_by_role("heading", name="Services")).to_be_visible()


def test_root_is_the_services_page(page: Page) -> None:
    page.goto("/")
    expect(page).to_have_title("Services · Watchkeeper")


def test_a_service_opens_to_operations_that_lead_to_their_traces(page: Page) -> None:
    page.goto("/services?range=1h")
    page.get_by_role("button", name="shop").click()
    expect(page).to_have_url(re.compile("service=shop"))
    page.get_by_role("link", name="POST /orders").click()
    expect(page).to_have_url(re.compile(r"/traces\?range=1h&service=shop&operation=POST\+%2Forders"))
    expect(page.get_by_role("table", name="Traces").get_by_role("row").nth(1)).to_contain_text("POST /orders")
    page.go_back()
    expect(page.get_by_role("link", name="GET /products")).to_be_visible()


def test_services_sort_by_any_column_and_remember_it_in_the_address(page: Page) -> None:
    page.goto("/services?range=1h")
    page.get_by_role("button", name="Service", exact=True).click()
    expect(page).to_have_url(re.compile("sort=-name"))
    expect(page.locator("tbody th").first).to_contain_text("cache")
    page.get_by_role("button", name="Errors", exact=True).click()
    expect(page.locator("tbody th").first).to_contain_text("payments")


def test_traces_filters_come_from_the_address_and_go_back_into_it(page: Page) -> None:
    page.goto("/traces?range=1h&service=payments&status=error&min=10ms")
    expect(page.get_by_label("Service", exact=True)).to_have_value("payments")
    expect(page.get_by_label("Shortest duration")).to_have_value("10ms")
    rows = page.get_by_role("table", name="Traces").get_by_role("row")
    expect(rows.nth(1)).to_contain_text("errors")
    page.get_by_label("Attribute", exact=True).fill("http.route=/charges")
    page.get_by_label("Attribute", exact=True).press("Enter")
    expect(page).to_have_url(re.compile("attribute=http.route%3D%2Fcharges"))
    expect(rows.nth(1)).to_be_visible()
    page.get_by_label("Remove http.route=/charges").click()
    expect(page).not_to_have_url(re.compile("attribute"))
    page.get_by_role("button", name="Clear").click()
    expect(page).to_have_url(re.compile(r"/traces\?range=1h$"))


@pytest.mark.refused
def test_an_unreadable_duration_is_marked_and_the_servers_message_shown(page: Page) -> None:
    page.goto("/traces?range=1h&min=fast")
    expect(page.get_by_label("Shortest duration")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("alert")).to_contain_text("write 250ms, 1.5s or 2m. Look at min_duration")


def test_further_traces_are_read_when_asked_and_hold_the_refreshing(page: Page) -> None:
    page.goto("/traces?range=1h")
    rows = page.get_by_role("table", name="Traces").get_by_role("row")
    expect(rows).to_have_count(201)
    page.get_by_role("button", name="Older traces").click()
    expect(rows).to_have_count(401)
    expect(page.get_by_role("button", name="held")).to_be_visible()


def test_a_dot_of_the_scatter_opens_its_trace(page: Page) -> None:
    page.goto("/traces?range=1h&operation=rebuild+catalogue&service=worker")
    dot = page.locator(".scatter circle").first
    box = dot.bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page).to_have_url(re.compile("/traces/5000500050005000"))


def test_brushing_the_scatter_zooms_to_its_times_and_durations(page: Page) -> None:
    page.goto("/traces?range=1h&refresh=off")
    chart = page.locator("svg[role=img]").first
    box = chart.bounding_box()
    assert box
    page.mouse.move(box["x"] + 700, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 1100, box["y"] + 90, steps=5)
    page.mouse.up()
    expect(page).to_have_url(re.compile("from=.*to=.*min=.*ms&max="))
    page.go_back()
    expect(page).to_have_url(re.compile(r"/traces\?range=1h&refresh=off$"))


def test_a_trace_id_in_the_search_box_opens_that_trace(page: Page) -> None:
    page.goto("/traces?range=1h")
    expect(page.get_by_role("table", name="Traces")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("5000" * 8)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="rebuild catalogue")).to_be_visible()


def test_the_time_range_is_in_the_address_and_goes_along_to_other_pages(page: Page) -> None:
    page.goto("/services")
    page.get_by_role("button", name="Last 15 minutes").click()
    page.get_by_role("button", name="Last 6 hours").click()
    expect(page).to_have_url(re.compile("range=6h"))
    page.keyboard.press("g")
    page.keyboard.press("l")
    expect(page).to_have_url(re.compile(r"/logs\?range=6h"))
    page.go_back()
    page.go_back()
    expect(page.get_by_role("button", name="Last 15 minutes")).to_be_visible()


def test_a_custom_range_is_kept_to_the_second(page: Page) -> None:
    page.goto("/traces")
    page.get_by_role("button", name="Last 15 minutes").click()
    page.get_by_label("From").fill("2026-11-20T10:00:00")
    page.get_by_label("To").fill("2026-11-20T10:30:05")
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile(r"from=.*to=.*"))
    page.reload()
    expect(page.get_by_role("button", name=re.compile("11-20 10:00 . 10:30"))).to_be_visible()


def test_refreshing_asks_anew_and_stops_when_switched_off(page: Page) -> None:
    page.clock.install()
    page.goto("/services")
    expect(page.get_by_role("button", name="5 s")).to_be_visible()
    page.wait_for_load_state("networkidle")
    with page.expect_request("**/api/wk/services?*"):
        page.clock.fast_forward(5_100)
    page.get_by_role("button", name="5 s").click()
    expect(page).to_have_url(re.compile("refresh=off"))
    page.wait_for_load_state("networkidle")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.fast_forward(20_000)
    assert asked == []


def test_keys_go_to_pages_and_are_listed(page: Page) -> None:
    page.goto("/services")
    for key, path in [("t", "traces"), ("e", "explore"), ("a", "targets"), ("s", "services")]:
        page.keyboard.press("g")
        page.keyboard.press(key)
        expect(page).to_have_url(re.compile(f"/{path}"))
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Go to the search box")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_systems_theme_is_followed_until_one_is_chosen_and_that_is_remembered(page: Page, scheme: str) -> None:
    other = {"dark": "light", "light": "dark"}[scheme]
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto("/services")
    expect(page.locator("html")).to_have_attribute("data-theme", scheme)
    page.get_by_role("button", name=other.title()).click()
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", other)


@pytest.mark.parametrize("path", ["services", "traces", "logs", "explore"])
def test_without_data_a_page_says_how_to_send_some(page: Page, empty_server: FakeServer, path: str) -> None:
    page.goto(f"{empty_server.url}/{path}")
    expect(page.get_by_text("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318")).to_be_visible()
    page.get_by_role("button", name="Look at the last 24 hours").click()
    expect(page).to_have_url(re.compile("range=24h"))


def test_filters_that_match_nothing_offer_to_be_cleared(page: Page) -> None:
    page.goto("/logs?range=1h&words=unheard-of")
    page.get_by_role("button", name="Clear the filters").click()
    expect(page.get_by_role("list", name="Log records").get_by_role("listitem").first).to_be_visible()


@pytest.mark.parametrize(
    ("path", "request_path"),
    [
        ("/services", "services"),
        ("/services?range=1h&service=shop", "services/shop/operations"),
        ("/traces", "traces"),
        (f"/traces/{'5000' * 8}", f"traces/{'5000' * 8}"),
        ("/logs", "logs"),
        ("/logs", "logs/counts"),
        ("/explore", "metrics"),
    ],
)
@pytest.mark.refused
def test_a_refusal_shows_the_servers_message_and_a_retry(page: Page, path: str, request_path: str) -> None:
    asked = re.compile(rf"/api/wk/{re.escape(request_path)}(\?|$)")
    page.route(asked, refuse)
    page.goto(path)
    expect(page.get_by_role("alert")).to_contain_text("Too many queries at once: try again in 2 s.")
    page.unroute(asked)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("alert")).to_have_count(0)


@pytest.mark.refused
def test_one_failing_request_leaves_the_others_answers_standing(page: Page) -> None:
    page.route(re.compile("/api/wk/logs/counts"), refuse)
    page.goto("/logs?range=1h")
    expect(page.get_by_role("region", name="Records over time").get_by_role("alert")).to_be_visible()
    expect(page.get_by_role("list", name="Log records").get_by_role("listitem").first).to_be_visible()


@pytest.mark.refused
def test_a_silent_server_is_told_of_and_the_last_answer_stays(page: Page) -> None:
    page.goto("/services?range=1h&refresh=off")
    expect(page.get_by_role("button", name="payments")).to_be_visible()
    page.route(re.compile("/api/wk/"), lambda route: route.abort())
    page.keyboard.press("r")
    expect(page.get_by_role("alert")).to_contain_text("The server did not answer")
    expect(page.get_by_role("button", name="payments")).to_be_visible()
    expect(page.get_by_text("No answer from the server")).to_be_visible()


def test_while_waiting_a_skeleton_stands_in(page: Page) -> None:
    page.route(re.compile(r"/api/wk/services\?"), lambda _: None)
    page.goto("/services")
    expect(page.get_by_role("status").filter(has_text="Loading")).to_be_attached()


@pytest.mark.parametrize("path", ["/services?service=shop", "/traces", "/logs", "/explore?q=queue_depth", "/targets?"])
def test_nothing_overflows_at_900_pixels(page: Page, path: str) -> None:
    page.set_viewport_size({"width": 900, "height": 700})
    page.goto(path + ("&" if "?" in path else "?") + "range=1h")
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth") <= 900
    assert page.evaluate("(e => e.scrollWidth - e.clientWidth)(document.querySelector('.page'))") <= 0


def test_an_unknown_address_says_so(page: Page) -> None:
    page.goto("/nowhere")
    expect(page.get_by_text("There is nothing at /nowhere")).to_be_visible()
