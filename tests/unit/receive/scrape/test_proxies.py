from __future__ import annotations

import pytest

from watchkeeper_server.receive.scrape.http_config import ProxyConfig
from watchkeeper_server.receive.scrape.proxies import bypasses, proxy_of


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "direct"),
    [
        ("example.org", "example.org", 80, True),
        ("example.org", "a.example.org", 80, True),
        ("example.org", "notexample.org", 80, False),
        (".example.org", "a.example.org", 80, True),
        ("*.example.org", "a.example.org", 80, True),
        ("other, EXAMPLE.org:8080", "example.org", 8080, True),
        ("example.org:8080", "example.org", 80, False),
        ("10.0.0.0/8", "10.1.2.3", 80, True),
        ("10.0.0.0/8", "11.1.2.3", 80, False),
        ("10.0.0.0/nonsense", "10.1.2.3", 80, False),
        ("10.1.2.3", "10.1.2.3", 80, True),
        ("[::1]:9100", "[::1]", 9100, True),
        ("::1", "[::1]", 9100, True),
        ("*", "anything", 1, True),
        ("", "anything", 1, False),
    ],
)
def test_no_proxy_lists_names_addresses_networks_and_ports(no_proxy: str, host: str, port: int, direct: bool) -> None:
    assert bypasses(no_proxy, host, port) is direct


def test_a_proxy_is_the_configured_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "env:3128")
    monkeypatch.delenv("http_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "skipped")
    assert proxy_of(ProxyConfig(), "http", "a", None) is None
    configured = ProxyConfig(proxy_url="http://p", no_proxy="b:80")
    assert proxy_of(configured, "http", "a", None) == "http://p"
    assert proxy_of(configured, "http", "b", None) is None
    assert proxy_of(configured, "https", "b", None) == "http://p"
    environment = ProxyConfig(proxy_from_environment=True)
    assert proxy_of(environment, "http", "a", None) == "http://env:3128"
    assert proxy_of(environment, "http", "skipped", None) is None
    assert proxy_of(environment, "http", "localhost", None) is None
    assert proxy_of(environment, "https", "a", None) is None
