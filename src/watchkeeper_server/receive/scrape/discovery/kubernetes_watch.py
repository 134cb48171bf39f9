"""The Kubernetes API's list and watch: a store that holds the objects of a resource as they are now.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from watchkeeper_server.receive.scrape.discovery.groups import Sleep
from watchkeeper_server.receive.scrape.discovery.kubernetes_objects import Objects
from watchkeeper_server.receive.scrape.http_client import FetchError, HttpClient
from watchkeeper_server.receive.scrape.shown import without_password
from watchkeeper_server.telemetry import logger

_MOST_BYTES = 256 * 1024 * 1024
_LIST_SECONDS = 60.0
# How long the server is asked to keep a watch, and how much longer silence is taken for that: the other side of a
# connection may be gone without a word.
_WATCH_SECONDS, _SPARE_SECONDS = 300, 30
# A watch that ends sooner and empty was none.
_QUICK_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 30.0
_PAGE = 500
_JSON = {"accept": "application/json"}


@dataclass(frozen=True, slots=True)
class Resource:
    """The URL of a collection, and selectors."""

    url: str
    query: Mapping[str, str]

    def asked(self, **more: str) -> str:
        """The URL with these parameters too."""
        query = {**self.query, **{name: value for name, value in more.items() if value}}
        return f"{self.url}?{urlencode(query)}" if query else self.url


class _OutdatedError(Exception):
    """The watch cannot go on where it ended: list again."""


def watch(
    client: HttpClient, resource: Resource, store: Objects, changed: Callable[[], None], sleep: Sleep
) -> Callable[[asyncio.Event], Coroutine[Any, Any, None]]:
    """What keeps a store up to date until cancelled; it sets the event it is given once the store is filled."""
    return _Watch(client, resource, store, changed, sleep).run


@dataclass
class _Watch:
    """A store and the server's word on it."""

    client: HttpClient
    resource: Resource
    store: Objects
    changed: Callable[[], None]
    sleep: Sleep
    version: str = ""  # to watch from; "" if it is to be listed
    shown: str = field(init=False)
    brought: bool = False  # whether this round has brought anything

    def __post_init__(self) -> None:
        self.shown = without_password(self.resource.url)

    async def run(self, synced: asyncio.Event) -> None:
        """List and watch, again and again; while that brings nothing, more and more seldom."""
        vain = 0
        clock = asyncio.get_running_loop().time
        while True:
            started, anew, self.brought = clock(), not self.version, False
            try:
                if anew:
                    await self._list()
                    synced.set()
                    self.changed()
                await self._follow()
                in_vain = not self.brought and clock() - started < _QUICK_SECONDS
            except _OutdatedError:
                self.version = ""
                in_vain = anew and not self.brought
            except (FetchError, ValueError, KeyError, TypeError, AttributeError) as error:
                logger.warning("kubernetes_sd_configs: %s is asked again in a while: %s", self.shown, error)
                self.version = ""
                in_vain = True
            vain = vain * (not self.brought) + in_vain
            if in_vain:
                await self.sleep(min(2.0 ** (vain - 1), _LONGEST_PAUSE_SECONDS))

    async def _list(self) -> None:
        """Fill the store."""
        found: Objects = {}
        following = ""
        while True:
            url = self.resource.asked(limit=str(_PAGE), **{"continue": following})
            response = await self.client.get(url, _JSON, most_bytes=_MOST_BYTES, timeout_seconds=_LIST_SECONDS)
            page = json.loads(response.body)
            for item in page.get("items") or []:
                found[_key(item)] = item
            following = page["metadata"].get("continue") or ""
            if not following:
                break
        version = str(page["metadata"]["resourceVersion"])
        self.store.clear()
        self.store.update(found)
        self.version = version

    async def _follow(self) -> None:
        """Take in changes until the server ends the watch, as it is asked to every few minutes."""
        url = self.resource.asked(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=self.version,
            timeoutSeconds=str(_WATCH_SECONDS),
        )
        lines = self.client.stream_lines(url, _JSON, timeout_seconds=_WATCH_SECONDS + _SPARE_SECONDS)
        async with contextlib.aclosing(lines):
            async for line in lines:
                event: dict[str, Any] = json.loads(line)
                kind, item = event["type"], event["object"]
                if kind == "ERROR":
                    raise _OutdatedError
                self.version = str(item["metadata"]["resourceVersion"])
                self.brought = True
                if kind == "BOOKMARK":
                    continue
                if kind == "DELETED":
                    self.store.pop(_key(item), None)
                else:
                    self.store[_key(item)] = item
                self.changed()


def _key(item: dict[str, Any]) -> tuple[str, str]:
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
