"""`http_sd_configs`: target groups that a server answers as JSON.

https://prometheus.io/docs/prometheus/latest/http_sd/
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from watchkeeper_server.receive.scrape.discovery.groups import Publish, Sleep, groups_from_json
from watchkeeper_server.receive.scrape.http_client import FetchError, HttpClient, token_source
from watchkeeper_server.receive.scrape.http_config import HttpConfig
from watchkeeper_server.receive.scrape.shown import without_password
from watchkeeper_server.receive.scrape.units import Milliseconds
from watchkeeper_server.receive.scrape.yaml_reader import INLINE
from watchkeeper_server.telemetry import logger

_JSON = re.compile(r'application/json(;\s*charset=("utf-8"|utf-8))?', re.IGNORECASE)
_REFRESH = Milliseconds(60_000)
_MOST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class HttpDiscovery:
    """A URL to ask again and again."""

    url: str
    refresh_interval: Milliseconds = _REFRESH
    http: HttpConfig = field(default=HttpConfig(), metadata=INLINE)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https"):
            raise ValueError("URL scheme must be 'http' or 'https'")
        if not parts.netloc:
            raise ValueError("host is missing in URL")

    async def discover(self, publish: Publish, sleep: Sleep) -> None:
        """Publish what the server answers; what it answered last counts while it answers nothing of use."""
        tokens = token_source(self.http)
        client = HttpClient(self.http, tokens)
        seconds, shown = self.refresh_interval / 1000, without_password(self.url)
        headers = {"accept": "application/json", "x-prometheus-refresh-interval-seconds": f"{seconds:g}"}
        try:
            while True:
                try:
                    response = await client.get(self.url, headers, most_bytes=_MOST_BYTES, timeout_seconds=seconds)
                    if not _JSON.fullmatch(response.content_type.strip()):
                        raise ValueError(f'unsupported content type "{response.content_type}"')
                    publish(groups_from_json(response.body, {"__meta_url": shown}))
                except (FetchError, ValueError) as error:
                    logger.warning("http_sd_configs: %s is left as it was: %s", shown, error)
                await sleep(seconds)
        finally:
            client.close()
            if tokens:
                tokens.close()
