"""The Kubernetes API's list and watch: a store that holds the objects of a resource as they are now.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from watchkeeper_server.receive.scrape.discovery.groups import Sleep
from watchkeeper_server.receive.scrape.discovery.kubernetes_objects import Objects
from watchkeeper_server.receive.scrape.http_client import FetchError, HttpClient
from watchkeeper_server.telemetry import logger

_MOST_BYTES = 256 * 1024 * 1024
_LIST_SECONDS = 60.0
_RETRY_SECONDS = 5.0
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

    async def run(synced: asyncio.Event) -> None:
        version = ""
        while True:
            try:
                if not version:
                    version = await _list(client, resource, store)
                    synced.set()
                    changed()
                version = await _follow(client, resource, store, changed, version)
            except _OutdatedError:
                version = ""
            except (FetchError, ValueError, KeyError, TypeError, AttributeError) as error:
                logger.warning("kubernetes_sd_configs: %s is asked again in a while: %s", resource.url, error)
                version = ""
                await sleep(_RETRY_SECONDS)

    return run


async def _list(client: HttpClient, resource: Resource, store: Objects) -> str:
    """Fill the store; answers the version to watch from."""
    found: Objects = {}
    following = ""
    while True:
        url = resource.asked(limit=str(_PAGE), **{"continue": following})
        response = await client.get(url, _JSON, most_bytes=_MOST_BYTES, timeout_seconds=_LIST_SECONDS)
        page = json.loads(response.body)
        for item in page.get("items") or []:
            found[_key(item)] = item
        following = page["metadata"].get("continue") or ""
        if not following:
            break
    store.clear()
    store.update(found)
    return str(page["metadata"]["resourceVersion"])


async def _follow(
    client: HttpClient, resource: Resource, store: Objects, changed: Callable[[], None], version: str
) -> str:
    """Take in changes until the server ends the watch, which it does every few minutes; answers where it ended."""
    url = resource.asked(watch="true", allowWatchBookmarks="true", resourceVersion=version)
    async with contextlib.aclosing(client.stream_lines(url, _JSON)) as lines:
        async for line in lines:
            event: dict[str, Any] = json.loads(line)
            kind, item = event["type"], event["object"]
            if kind == "ERROR":
                raise _OutdatedError
            version = str(item["metadata"]["resourceVersion"])
            if kind == "BOOKMARK":
                continue
            if kind == "DELETED":
                store.pop(_key(item), None)
            else:
                store[_key(item)] = item
            changed()
    return version


def _key(item: dict[str, Any]) -> tuple[str, str]:
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
