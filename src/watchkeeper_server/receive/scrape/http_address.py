"""A URL, taken apart for a request."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote, urlsplit

from watchkeeper_server.receive.scrape.discovery.groups import host_port

_PORTS = {"http": 80, "https": 443}
_PATH_SAFE = "/%:@!$&'()*+,;=~-._"
_QUERY_SAFE = f"{_PATH_SAFE}?"


@dataclass(frozen=True, slots=True)
class Address:
    """Whom to ask for what.

    Attributes:
        user: as `user:password`.
        target: path and query, quoted.
    """

    scheme: str
    host: str
    port: int
    user: str
    target: str

    @classmethod
    @lru_cache(maxsize=4096)  # a target's URL is the same each time
    def of(cls, url: str) -> Address:
        """The parts of a URL.

        Raises:
            ValueError: it is none that can be asked.
        """
        parts = urlsplit(url)
        if parts.scheme not in _PORTS:
            raise ValueError(f'unsupported protocol scheme "{parts.scheme}"')
        host = parts.hostname or ""
        if not host:
            raise ValueError("no Host in request URL")
        if not host.isascii():
            host = host.encode("idna").decode()
        target = quote(parts.path or "/", safe=_PATH_SAFE)
        if parts.query:
            target += f"?{quote(parts.query, safe=_QUERY_SAFE)}"
        user, at, _ = parts.netloc.rpartition("@")
        return cls(parts.scheme, host, parts.port or _PORTS[parts.scheme], unquote(user) if at else "", target)

    @property
    def authority(self) -> str:
        """The Host header."""
        if self.port != _PORTS[self.scheme]:
            return host_port(self.host, self.port)
        return f"[{self.host}]" if ":" in self.host else self.host
