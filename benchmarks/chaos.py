"""An application's latency, memory and losses while the server it sends to misbehaves in every way it can.

A FastAPI application under uvicorn is asked at a constant rate (open loop: a slow answer does not slow the questions
down, and its latency is counted from when it was due). It sends spans, log records and metrics to a real `watchkeeper
serve`, through a proxy that can be told to refuse connections, accept and stay silent, answer 500 or 429, and cut a
request in its middle; and the server's disk is filled up and freed again (a tmpfs, so this needs root). Every trouble
stands between two spells of health, and its latency is compared with theirs.

    python benchmarks/chaos.py                  # ten minutes at 1,000 requests a second
    python benchmarks/chaos.py --spell 5 --rate 200

It ends with an error if a request failed, if what the server has and what the application counted as dropped is not
everything it made, if it still drops in the last spell of health, or if memory grew without bound.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from server import Program, Server, free_ports

TROUBLES = ("refuses", "hangs", "answers 500", "answers 429", "cuts requests", "disk full")
MOST_GROWTH = 64 * 1024 * 1024  # bytes: full queues of three signals, and the allocator's slack
_DISK = "400m"
_CHUNK = 65_536
_APPLICATION = """
import logging
import watchkeeper as wk
from fastapi import FastAPI
wk.configure()
app = FastAPI()
log = wk.get_logger("shop.orders")

@app.get("/orders/{order_id}")
async def order(order_id: int):
    log.info("order shown", order_id=order_id, customer="ada")
    return {"order_id": order_id, "total_cents": 1999}

wk.instrument(app)
"""


# The server's side


class Proxy:
    """Stands before the server; `trouble` says how it behaves now (empty: as the server does)."""

    def __init__(self, listen: int, server: int) -> None:
        self._listen, self._server = listen, server
        self._listener: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()
        self.trouble = ""

    async def behave(self, trouble: str) -> None:
        """Changes its ways; connections that are open end."""
        self.trouble = trouble
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for writer in list(self._connections):
            writer.transport.abort()
        if trouble != "refuses":
            self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self._listen)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            if self.trouble == "hangs":
                await asyncio.sleep(3_600)
            elif self.trouble == "cuts requests":
                await reader.read(_CHUNK // 16)
            elif self.trouble.startswith("answers"):
                await self._refuse(reader, writer)
            else:
                await self._pass(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # one of the two left, or the end has come
        finally:
            self._connections.discard(writer)
            writer.transport.abort()

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        status = self.trouble.removeprefix("answers ").encode()
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            wait = b"retry-after: 2\r\n" if status == b"429" else b""
            writer.write(b"HTTP/1.1 %b No\r\n%bcontent-length: 0\r\n\r\n" % (status, wait))
            await writer.drain()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server)
        try:
            await asyncio.gather(_copy(reader, server_writer), _copy(server_reader, writer))
        finally:
            server_writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    writer.close()


@contextlib.contextmanager
def small_disk() -> Iterator[Path]:
    """A file system of its own, small enough to fill."""
    folder = Path(tempfile.mkdtemp(prefix="watchkeeper-chaos-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        shutil.rmtree(folder, ignore_errors=True)


def fill(disk: Path) -> None:
    """Leaves not a byte."""
    with contextlib.suppress(OSError), (disk / "junk").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024 * 1024))


# The application's side


@dataclass
class Spell:
    """What was seen while one state of the server lasted."""

    name: str
    seconds: list[float] = field(default_factory=list)  # latencies, from when a request was due
    failures: int = 0
    dropped: float = 0  # items the application gave up meanwhile
    resident: int = 0  # bytes, at its end

    def quantile(self, q: float) -> float:
        """Of the latencies, in milliseconds."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))] * 1e3


class Asker:
    """Asks at a constant rate over kept connections."""

    def __init__(self, port: int, rate: int) -> None:
        self._port, self._rate = port, rate
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.asked = 0

    async def ask_for(self, seconds: float, spell: Spell) -> None:
        """Asks as often as it should within so many seconds, and waits for the answers."""
        running: set[asyncio.Task[None]] = set()
        began = time.perf_counter()
        for number in range(int(seconds * self._rate)):
            due = began + number / self._rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            task = asyncio.create_task(self._ask(due, spell))
            running.add(task)
            task.add_done_callback(running.discard)
        if running:
            await asyncio.wait(running)

    async def _ask(self, due: float, spell: Spell) -> None:
        self.asked += 1
        try:
            reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
            path = b"/orders/%d" % (self.asked % 1000)
            writer.write(b"GET %b HTTP/1.1\r\nhost: shop\r\n\r\n" % path)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            spell.failures += not head.startswith(b"HTTP/1.1 200")
            self._idle.append((reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            spell.failures += 1
        spell.seconds.append(time.perf_counter() - due)


class Application(Program):
    """The application, and what it says of itself."""

    def __init__(self, port: int, endpoint: str, folder: Path) -> None:
        (folder / "shop.py").write_text(_APPLICATION)
        os.environ.update(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_SERVICE_NAME="shop", WATCHKEEPER_LOG_FORMAT="json")
        command = [sys.executable, "-m", "uvicorn", "shop:app", "--app-dir", str(folder), "--port", str(port)]
        command += ["--no-access-log", "--timeout-keep-alive", "600"]
        super().__init__(command, f"http://127.0.0.1:{port}", "/metrics", folder / "shop.log")

    def dropped(self) -> dict[str, float]:
        """Items given up so far, by signal."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=60) as answer:  # noqa: S310  http, our own
            text = answer.read().decode()
        drops: dict[str, float] = {}
        for labels, value in re.findall(r"^watchkeeper_sdk_dropped_total\{(.*?)\} (\S+)$", text, re.MULTILINE):
            signal = re.search('signal="([^"]*)"', labels)
            assert signal is not None
            drops[signal[1]] = drops.get(signal[1], 0) + float(value)
        return drops


# The whole


async def run(spell_seconds: float, rate: int, folder: Path, disk: Path) -> list[str]:
    """Goes through all troubles; what is wrong."""
    application_port, proxy_port = free_ports(2)
    server = Server(disk / "data")
    proxy = Proxy(proxy_port, int(server.otlp.rsplit(":", 1)[1]))
    await proxy.behave("")
    # in a thread: what it sends while it starts has to find the proxy
    application = await asyncio.to_thread(Application, application_port, f"http://127.0.0.1:{proxy_port}", folder)
    asker = Asker(application_port, rate)
    spells: list[Spell] = []

    async def spell(name: str, seconds: float) -> Spell:
        before = sum((await asyncio.to_thread(application.dropped)).values())
        seen = Spell(name)
        await asker.ask_for(seconds, seen)
        seen.dropped = sum((await asyncio.to_thread(application.dropped)).values()) - before
        seen.resident = application.memory_bytes()["resident"]
        spells.append(seen)
        print_spell(seen)
        return seen

    try:
        await asker.ask_for(min(10.0, spell_seconds), Spell("warming up"))
        await spell("healthy", spell_seconds)
        for trouble in TROUBLES:
            if trouble == "disk full":
                await asyncio.to_thread(fill, disk)
            else:
                await proxy.behave(trouble)
            await spell(trouble, spell_seconds)
            (disk / "junk").unlink(missing_ok=True)
            await proxy.behave("")
            await asyncio.sleep(0)
            await asker.ask_for(min(35.0, spell_seconds), Spell("recovering"))  # a lane waits thirty seconds at most
            await spell("healthy", spell_seconds / 2)
        await asyncio.sleep(5)
        drops = await asyncio.to_thread(application.dropped)
        stored = await asyncio.to_thread(stored_spans, server)
    finally:
        application.stop()
        server.stop()
    return judge(spells, asker.asked, drops, stored)


def stored_spans(server: Server) -> int:
    """How many of the application's spans the server has."""
    deadline = time.monotonic() + 60
    while not server.drained() and time.monotonic() < deadline:
        time.sleep(0.2)
    return sum(service["spans"] for service in server.get("/api/wk/services")["services"])


def print_spell(seen: Spell) -> None:
    print(
        f"{seen.name:<14} {len(seen.seconds):>8,} {seen.quantile(0.5):>8.2f} {seen.quantile(0.99):>8.2f}"
        f" {seen.quantile(0.999):>9.2f} {seen.dropped:>9,.0f} {seen.resident / 1e6:>8.0f} {seen.failures:>8}",
        flush=True,
    )


def judge(spells: list[Spell], asked: int, drops: dict[str, float], stored: int) -> list[str]:
    """What the promise does not allow."""
    wrong = [f"{each.failures} requests failed while the server {each.name}" for each in spells if each.failures]
    print(f"\n{asked:,} requests made {asked:,} spans: {stored:,} stored, {drops.get('traces', 0):,.0f} dropped")
    if stored + drops.get("traces", 0) != asked:
        wrong.append(f"{asked - stored - drops.get('traces', 0):,.0f} spans are neither stored nor counted")
    if spells[-1].dropped:
        wrong.append(f"{spells[-1].dropped:,.0f} items were dropped in the last spell of health")
    growth = max(each.resident for each in spells) - spells[0].resident
    if growth > MOST_GROWTH:
        wrong.append(f"memory grew by {growth / 1e6:.0f} MB")
    healthy = sorted(each.quantile(0.99) for each in spells if each.name == "healthy")
    base = healthy[len(healthy) // 2]
    print(f"p99 in trouble against health's median of {base:.2f} ms (spells {healthy[0]:.2f} to {healthy[-1]:.2f}):")
    for each in spells:
        if each.name != "healthy":
            print(f"  {each.name:<14} {each.quantile(0.99) / base:>5.2f}")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spell", type=float, default=45, help="seconds of each state of the server")
    parser.add_argument("--rate", type=int, default=1_000, help="requests a second")
    options = parser.parse_args()
    print(f"{options.rate:,} requests a second")
    print("server         requests   p50 ms   p99 ms  p99.9 ms   dropped       MB   failed")
    with tempfile.TemporaryDirectory() as folder, small_disk() as disk:
        wrong = asyncio.run(run(options.spell, options.rate, Path(folder), disk))
    for line in wrong:
        print(f"WRONG: {line}")
    print(json.dumps({"ok": not wrong}))
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
