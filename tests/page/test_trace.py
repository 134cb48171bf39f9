"""The trace page: waterfall, details and logs, and the keys that move among them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from fake_shop import LARGE_TRACE_ID
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from fake_shop import Shop

    from watchkeeper_server.model.answers import Span

pytestmark = pytest.mark.page


@pytest.fixture
def declined(shop: Shop) -> list[Span]:
    """A trace of an order whose card was declined."""
    return next(
        spans
        for spans in shop.traces.values()
        if any(span["events"] and span["status"]["code"] == "error" for span in spans)
    )


@pytest.fixture
def placed(shop: Shop) -> list[Span]:
    """A trace of an order that went well."""
    return next(spans for spans in shop.traces.values() if any(span["kind"] == "producer" for span in spans))


def named(spans: list[Span], name: str) -> Span:
    return next(span for span in spans if span["name"] == name)


def test_the_header_sums_the_trace_up(page: Page, placed: list[Span]) -> None:
    page.goto(f"/traces/{placed[0]['trace_id']}")
    expect(page.get_by_role("heading", name="POST /orders")).to_be_visible()
    facts = page.locator("dl[aria-label='The trace']")
    expect(facts).to_contain_text(f"Spans {len(placed)}")
    for service in ("shop", "payments", "cache", "worker"):
        expect(facts).to_contain_text(service)


def test_every_span_is_a_row_with_errors_events_and_the_critical_path_marked(page: Page, declined: list[Span]) -> None:
    page.goto(f"/traces/{declined[0]['trace_id']}")
    rows = page.get_by_role("treeitem")
    expect(rows).to_have_count(len(declined))
    expect(page.locator(".bar.failed")).to_have_count(4)
    expect(page.locator("i.event.failed")).to_have_count(1)
    assert page.locator("i.critical").count() > 3


def test_arrow_keys_walk_fold_and_unfold_the_tree(page: Page, placed: list[Span]) -> None:
    page.goto(f"/traces/{placed[0]['trace_id']}")
    tree = page.get_by_role("tree")
    rows = page.get_by_role("treeitem")
    expect(rows).to_have_count(len(placed))
    selected = page.locator("[aria-selected=true] .operation")
    tree.focus()
    page.keyboard.press("ArrowDown")
    expect(selected).to_have_text("POST /orders")
    page.keyboard.press("ArrowDown")
    expect(selected).to_have_text("validate order")
    page.keyboard.press("ArrowLeft")
    expect(rows).to_have_count(len(placed) - 3)
    page.keyboard.press("ArrowRight")
    expect(rows).to_have_count(len(placed))
    page.keyboard.press("ArrowRight")
    expect(selected).to_have_text("GET")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(rows).to_have_count(len(placed) - 3)
    page.keyboard.press("End")
    expect(selected).to_have_text("render template")
    page.keyboard.press("Home")
    expect(selected).to_have_text("POST /orders")
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary", name="Span details")).to_be_focused()
    page.keyboard.press("Escape")
    expect(selected).to_have_count(0)


def test_the_selected_span_is_in_the_address(page: Page, declined: list[Span]) -> None:
    charge = named(declined, "POST /charges")
    page.goto(f"/traces/{declined[0]['trace_id']}")
    page.get_by_role("treeitem").filter(has_text="POST /charges").click()
    expect(page).to_have_url(re.compile(f"span={charge['span_id']}"))
    page.reload()
    expect(page.get_by_role("article", name="Span POST /charges")).to_be_visible()


def test_an_exception_is_shown_with_its_frames(page: Page, declined: list[Span]) -> None:
    charge = named(declined, "POST /charges")
    page.goto(f"/traces/{declined[0]['trace_id']}?span={charge['span_id']}")
    detail = page.get_by_role("article")
    expect(detail).to_contain_text("shop.payments.CardDeclined")
    expect(detail.locator(".frame")).to_have_count(3)
    expect(detail.locator(".frame.library")).to_have_count(1)
    expect(detail).to_contain_text("payments.instrumentation")


def test_attributes_keep_their_types(page: Page, placed: list[Span]) -> None:
    page.goto(f"/traces/{placed[0]['trace_id']}?span={placed[0]['span_id']}")
    for key, text in [
        ("order.gift", "falsebool"),
        ("order.coupon", '""string'),
        ("http.response.status_code", "201int"),
        ("order.items", '["brass lantern","sea chart"]array'),
        ("order.signature", "3q2+7w==bytes"),
    ]:
        row = page.get_by_role("article").locator("dl > div").filter(has=page.locator(f"dt[title='{key}']"))
        assert re.sub(r"\s", "", row.locator("dd").inner_text()) == text.replace(" ", "")


def test_a_link_leads_to_the_linked_span(page: Page, placed: list[Span]) -> None:
    mail = named(placed, "process emails")
    page.goto(f"/traces/{placed[0]['trace_id']}?span={mail['span_id']}")
    page.get_by_role("article").get_by_role("link", name=re.compile("^[0-9a-f]{16}…")).click()
    expect(page.get_by_role("article", name="Span send emails")).to_be_visible()


def test_log_records_and_spans_are_tied_to_one_another(page: Page, declined: list[Span]) -> None:
    page.goto(f"/traces/{declined[0]['trace_id']}")
    logs = page.get_by_role("region", name="Log records of the trace")
    record = logs.get_by_role("button").filter(has_text="card declined")
    record.hover()
    expect(page.get_by_role("treeitem").filter(has_text="POST /charges")).to_have_class(re.compile("marked"))
    page.get_by_role("treeitem").filter(has_text="POST bank.example").hover()
    expect(logs.get_by_role("button").filter(has_text="bank answered")).to_have_class(re.compile("marked"))
    record.click()
    expect(page.get_by_role("article", name="Span POST /charges")).to_be_visible()
    logs.get_by_role("checkbox").check()
    expect(logs.get_by_role("listitem")).to_have_count(2)
    logs.get_by_role("link", name="Open in logs").click()
    expect(page).to_have_url(re.compile(f"/logs.*trace_id={declined[0]['trace_id']}"))


def test_dragging_on_the_ruler_zooms_in_and_whole_trace_zooms_out(page: Page, placed: list[Span]) -> None:
    page.goto(f"/traces/{placed[0]['trace_id']}")
    root = page.get_by_role("treeitem").first.locator(".bar")
    expect(page.get_by_role("treeitem")).to_have_count(len(placed))
    before = root.evaluate("e => e.getBoundingClientRect().width")
    box = page.get_by_title("Drag to zoom").bounding_box()
    assert box
    page.mouse.move(box["x"] + 100, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 10, steps=4)
    page.mouse.up()
    assert root.evaluate("e => e.getBoundingClientRect().width") > 2 * before
    page.get_by_role("button", name="Whole trace").click()
    assert root.evaluate("e => e.getBoundingClientRect().width") == pytest.approx(before, abs=1)


def test_five_thousand_spans_scroll_with_few_rows_in_the_document(page: Page) -> None:
    page.goto(f"/traces/{LARGE_TRACE_ID}")
    rows = page.get_by_role("treeitem")
    expect(rows.first).to_be_visible()
    assert rows.count() < 80
    page.get_by_role("tree").focus()
    page.keyboard.press("End")
    expect(page.locator("[aria-selected=true]")).to_be_in_viewport()
    assert rows.count() < 80
    frames = page.evaluate(
        """async () => {
          const scroller = document.querySelector('.waterfall');
          const times = [];
          let last = performance.now();
          for (let i = 0; i < 60; i++) {
            scroller.scrollTop = (i * 1999) % (5000 * 26 - 800);
            await new Promise(requestAnimationFrame);
            times.push(performance.now() - last);
            last = performance.now();
          }
          return times.sort((a, b) => a - b);
        }"""
    )
    # A screenful is drawn anew at each of these jumps. Far above what it takes, but a full re-draw of all 5,000
    # rows takes seconds.
    assert frames[len(frames) // 2] < 150


def test_a_settled_trace_is_read_once_and_a_young_one_again_as_it_may_grow(page: Page, placed: list[Span]) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/wk/traces/" in request.url else None)
    page.goto(f"/traces/{LARGE_TRACE_ID}")
    page.wait_for_load_state("networkidle")
    page.keyboard.press("r")
    page.wait_for_load_state("networkidle")
    assert len(asked) == 1
    page.clock.install(time=placed[0]["start"])
    page.goto(f"/traces/{placed[0]['trace_id']}")
    expect(page.get_by_role("treeitem").first).to_be_visible()
    with page.expect_request("**/api/wk/traces/*"):
        page.keyboard.press("r")


@pytest.mark.refused
def test_a_trace_that_is_not_there_says_so_and_where_to_look(page: Page) -> None:
    page.goto(f"/traces/{'ab' * 16}")
    expect(page.get_by_role("alert")).to_contain_text("There is no trace")
    page.get_by_role("link", name="Look for its log records").click()
    expect(page).to_have_url(re.compile("/logs.*trace_id=abab"))
