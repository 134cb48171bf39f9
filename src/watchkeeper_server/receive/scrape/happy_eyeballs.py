"""A TCP connection to a name that has several addresses, by whichever answers first ("Happy Eyeballs", RFC 8305).

Tried one after another, as event loops do by themselves, an address that swallows what is sent to it takes the whole
time limit, and the next one is never asked: that is how a name with IPv6 looks from a network without.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

# family, type, protocol, canonical name, address: as getaddrinfo answers
AddressInfo = tuple[int, int, int, str, Any]
# How long the addresses before it are given until the next one is tried beside them: RFC 8305, 8
_STAGGER_SECONDS = 0.25


async def connected_socket(addresses: Iterable[AddressInfo]) -> socket.socket:
    """A socket connected to one of the addresses; whatever else was begun is given up.

    Raises:
        OSError: none can be connected to; the first one's.
    """
    untried = _families_by_turns(addresses)
    trying: set[asyncio.Task[socket.socket]] = set()
    failures: list[BaseException] = []
    try:
        while untried or trying:
            if untried:
                trying.add(asyncio.create_task(_connected(untried.pop(0))))
            patience = _STAGGER_SECONDS if untried else None
            done, _ = await asyncio.wait(trying, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                trying.remove(task)
                failure = task.exception()
                if failure is None:
                    return task.result()
                failures.append(failure)
    finally:
        for task in trying:
            task.cancel()
            task.add_done_callback(_close)  # it may have been too late to cancel
    raise failures[0]


def _families_by_turns(addresses: Iterable[AddressInfo]) -> list[AddressInfo]:
    """The addresses in their order, but IPv6 and IPv4 alternate."""
    families: dict[int, list[AddressInfo]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    turns: Iterable[Sequence[AddressInfo | None]] = zip_longest(*families.values())
    return [address for turn in turns for address in turn if address]


async def _connected(address: AddressInfo) -> socket.socket:
    family, kind, protocol, _, where = address
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setblocking(False)
        await asyncio.get_running_loop().sock_connect(opened, where)
    except BaseException:
        opened.close()
        raise
    return opened


def _close(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()
