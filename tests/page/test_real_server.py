"""The page before the real server: what an application sends is on it within two seconds."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from playwright.sync_api import Browser, Page, expect

from support.server import ServerProcess

pytestmark = pytest.mark.page


@pytest.fixture(scope="module")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("data")) as server:
        yield server


@pytest.fixture
def real_page(browser: Browser, real_server: ServerProcess) -> Iterator[Page]:
    context = browser.new_context(base_url=real_server.url, viewport={"width": 1440, "height": 900})
    context.set_default_timeout(5_000)
    complaints: list[str] = []
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


def _resource(service: str) -> dict[str, Any]:
    return {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}


def _send_request(server: ServerProcess, trace_id: str) -> None:
    """A request of a shop as curl would send it: a span with a child in another service, and a log line."""
    now = time.time_ns()
    root, child = secrets.token_hex(8), secrets.token_hex(8)

    def span(span_id: str, parent: str, name: str, kind: int, start: int, end: int) -> dict[str, Any]:
        times = {"startTimeUnixNano": str(now + start), "endTimeUnixNano": str(now + end)}
        return {"traceId": trace_id, "spanId": span_id, "parentSpanId": parent, "name": name, "kind": kind} | times

    spans = {
        "shop": [span(root, "", "POST /checkout", 2, 0, 80_000_000)],
        "payments": [span(child, root, "POST /charges", 2, 10_000_000, 70_000_000)],
    }
    traces = {
        "resourceSpans": [{"resource": _resource(s), "scopeSpans": [{"spans": made}]} for s, made in spans.items()]
    }
    line = {
        "timeUnixNano": str(now + 20_000_000),
        "severityNumber": 17,
        "severityText": "ERROR",
        "body": {"stringValue": "card declined by the bank"},
        "traceId": trace_id,
        "spanId": child,
    }
    logs = {"resourceLogs": [{"resource": _resource("payments"), "scopeLogs": [{"logRecords": [line]}]}]}
    for signal, body in (("traces", traces), ("logs", logs)):
        assert server.post(f"/v1/{signal}", orjson.dumps(body), "application/json").status == 200


def test_a_request_is_on_the_page_as_a_trace_with_its_logs_within_two_seconds(
    real_page: Page, real_server: ServerProcess
) -> None:
    trace_id = secrets.token_hex(16)
    _send_request(real_server, trace_id)
    sent = time.monotonic()
    while real_server.get(f"/api/wk/traces/{trace_id}").status != 200:
        assert time.monotonic() - sent < 2
        time.sleep(0.05)
    real_page.goto(f"/traces/{trace_id}")
    expect(real_page.get_by_role("heading", name="POST /checkout")).to_be_visible()
    expect(real_page.get_by_text("POST /charges").first).to_be_visible()
    expect(real_page.get_by_text("card declined by the bank").first).to_be_visible()


def test_services_traces_and_logs_show_what_was_sent(real_page: Page, real_server: ServerProcess) -> None:
    _send_request(real_server, secrets.token_hex(16))
    real_server.wait_drained()
    real_page.goto("/services")
    expect(real_page.get_by_text("payments").first).to_be_visible()
    real_page.goto("/traces?service=shop")
    expect(real_page.get_by_role("link", name="POST /checkout").first).to_be_visible()
    real_page.goto("/logs?words=declined")
    expect(real_page.get_by_text("card declined by the bank").first).to_be_visible()


def test_an_empty_server_tells_how_to_send_to_it(browser: Browser, tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        page = browser.new_page(base_url=server.url)
        page.goto("/services")
        expect(page.get_by_text("OTEL_EXPORTER_OTLP_ENDPOINT").first).to_be_visible()
        page.close()


@pytest.fixture(scope="module")
def scraping_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that scrapes itself, and what is not there."""
    folder = tmp_path_factory.mktemp("scraping")
    config = folder / "prometheus.yml"
    server = ServerProcess(folder / "data", arguments=["--config", str(config)])
    config.write_text(
        f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: watchkeeper
    static_configs: [{{targets: ["{server.url.removeprefix("http://")}"]}}]
  - job_name: gone
    static_configs: [{{targets: ["127.0.0.1:1"]}}]
"""
    )
    with server:
        yield server


def test_what_is_scraped_is_listed_queried_and_drawn(browser: Browser, scraping_server: ServerProcess) -> None:
    page = browser.new_page(base_url=scraping_server.url)
    page.goto("/targets")
    expect(page.get_by_role("region", name="Scrape pool watchkeeper")).to_contain_text("1 / 1 up", timeout=10_000)
    expect(page.get_by_role("region", name="Scrape pool gone")).to_contain_text("connection refused", timeout=10_000)
    page.goto("/explore?range=5m")
    expect(page.locator(".editor")).to_have_attribute("data-editor", "ready")
    page.get_by_role("textbox", name="PromQL of query A").click()
    page.keyboard.type("sum by (job) (up")
    page.keyboard.press("Control+Enter")
    legend = page.get_by_role("group", name="Legend").get_by_role("button")
    expect(legend.filter(has_text="job=watchkeeper")).to_contain_text("1", timeout=10_000)
    expect(legend.filter(has_text="job=gone")).to_contain_text("0")
    page.close()


def test_the_real_servers_parse_errors_are_underlined(browser: Browser, scraping_server: ServerProcess) -> None:
    page = browser.new_page(base_url=scraping_server.url)
    page.goto("/explore")
    expect(page.locator(".editor")).to_have_attribute("data-editor", "ready")
    page.get_by_role("textbox", name="PromQL of query A").fill("up{job='ü'} + rate(up) ")
    expect(page.locator(".cm-lintRange-error")).to_have_text("up")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("1:20 expected type range vector")
    page.close()
