"""A server's TCP connections, as Linux knows them: no server has to say anything.

`/proc/self/fd` names the sockets of this process, `/proc/self/net/tcp` (proc(5)) the state of all sockets: those that
listen tell how many connections wait to be accepted, the others' local ports tell which of them were accepted there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_ESTABLISHED, _LISTENING = "01", "0A"
_MOST_BYTES = 4 * 1024 * 1024  # of the table, some 25,000 sockets: beyond that it takes too long to read


class Sockets(NamedTuple):
    """What a server has to do with."""

    connections: int  # accepted and open
    waiting: int  # not yet accepted; workers that share a listening socket see the same ones


def read_sockets(proc: Path = Path("/proc/self")) -> Sockets | None:
    """The state of now; None if nothing listens here, or if it cannot be known."""
    try:
        own = _own_sockets(proc)
        rows = [row for table in ("tcp", "tcp6") for row in _rows(proc / "net" / table)] if own else []
    except OSError:  # no Linux, or a sandbox
        return None
    listening = {row.port: row.received for row in rows if row.state == _LISTENING and row.inode in own}
    if not listening:
        return None
    connections = sum(row.state == _ESTABLISHED and row.port in listening and row.inode in own for row in rows)
    return Sockets(connections, sum(listening.values()))


class _Row(NamedTuple):
    port: str
    state: str
    received: int  # bytes, or of a listening socket connections
    inode: str


def _rows(table: Path) -> list[_Row]:
    try:
        with table.open(encoding="ascii") as lines:
            text = lines.read(_MOST_BYTES + 1)
    except FileNotFoundError:  # no IPv6
        return []
    if len(text) > _MOST_BYTES:
        raise OSError(f"{table} is larger than {_MOST_BYTES} bytes")
    fields = (line.split() for line in text.splitlines()[1:])
    return [_Row(f[1].rpartition(":")[2], f[3], int(f[4].partition(":")[2], 16), f[9]) for f in fields]


def _own_sockets(proc: Path) -> frozenset[str]:
    """Inodes of this process's sockets."""
    found = set()
    for entry in os.scandir(proc / "fd"):
        try:
            target = os.readlink(entry.path)  # noqa: PTH115  # a thousand of them at each collection
        except OSError:  # closed meanwhile
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return frozenset(found)
