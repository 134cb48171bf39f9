"""Which proxy a request goes through, by the rules of the variables HTTP_PROXY, HTTPS_PROXY and NO_PROXY."""

from __future__ import annotations

import ipaddress
from urllib.request import getproxies_environment

from watchkeeper_server.receive.scrape.http_config import ProxyConfig

_PORTS = {"http": 80, "https": 443}


def proxy_of(config: ProxyConfig, scheme: str, host: str, port: int | None) -> str | None:
    """The URL of the proxy to a server; None goes there directly."""
    if config.proxy_url:
        return None if bypasses(config.no_proxy, host, port or _PORTS[scheme]) else config.proxy_url
    if not config.proxy_from_environment:
        return None
    environment = getproxies_environment()
    proxy = environment.get(scheme)
    if not proxy or _is_local(host) or bypasses(environment.get("no", ""), host, port or _PORTS[scheme]):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def bypasses(no_proxy: str, host: str, port: int) -> bool:
    """Whether a list of names, addresses and networks, each perhaps with a port, holds a server; `*` holds all."""
    host = host.lower().strip("[]")
    for listed in no_proxy.lower().replace(",", " ").split():
        entry, entry_port = _split_port(listed)
        if listed == "*" or (entry_port in (None, port) and _holds(entry, host)):
            return True
    return False


def _holds(entry: str, host: str) -> bool:
    address = _address(host)
    if address is None:
        return host == entry.removeprefix("*") or host.endswith("." + entry.removeprefix("*").removeprefix("."))
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _split_port(entry: str) -> tuple[str, int | None]:
    if entry.startswith("["):
        name, _, port = entry[1:].partition("]")
        return name, int(port[1:]) if port[1:].isdecimal() else None
    name, colon, port = entry.rpartition(":")
    if colon and ":" not in name and port.isdecimal():
        return name, int(port)
    return entry, None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _is_local(host: str) -> bool:
    address = _address(host.strip("[]"))
    return host == "localhost" or (address is not None and address.is_loopback)
