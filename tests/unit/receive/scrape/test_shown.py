"""What the API may show of a configuration."""

from __future__ import annotations

import pytest

from watchkeeper_server.receive.scrape.shown import shown


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("scrape_configs: [{basic_auth: {username: us, password: hidden-1}}]", "hidden-1"),
        ("scrape_configs: [{basic_auth: {username: us, password: 12345678}}]", "12345678"),
        ("scrape_configs: [{authorization: {credentials: 2026-01-01}}]", "2026-01-01"),
        ("scrape_configs: [{proxy_connect_header: {Authorization: [hidden-2]}}]", "hidden-2"),
        ("scrape_configs: [{http_headers: {X-Key: {secrets: [hidden-3]}}}]", "hidden-3"),
        ("remote_write: [{url: 'http://us:hid@den-4@host/write'}]", "den-4"),
        ("remote_write: [{url: 'http://us:hid/den-5@host/write'}]", "den-5"),
        ("alerting: {x: {client_secret: hidden-6}}", "hidden-6"),
    ],
)
def test_secrets_are_not_shown(text: str, secret: str) -> None:
    answer = shown(text)
    assert secret not in answer
    assert "<secret>" in answer


def test_everything_else_is_shown() -> None:
    text = "global:\n  scrape_interval: 15s\nscrape_configs:\n- job_name: a\n  scheme: https\n"
    assert shown(text) == text


@pytest.mark.parametrize("text", ["a: [", "[" * 5000 + "]" * 5000])
def test_what_cannot_be_read_is_not_shown(text: str) -> None:
    assert shown(text) == ""
