"""TLS in front of servers that speak none: an authority, its certificates, and a proxy that shows them."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Certificate(NamedTuple):
    """Files in PEM."""

    certificate: Path
    key: Path


class Authority:
    """Vouches for servers and clients."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        usage = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign")
        self._own = self._made(name, usage)
        self.certificate = str(self._own.certificate)

    def vouched(self, name: str) -> Certificate:
        """A certificate of `name`, which is this machine's, too."""
        signing = ("-CA", str(self._own.certificate), "-CAkey", str(self._own.key))
        names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
        return self._made(name, ("basicConstraints=CA:FALSE", "keyUsage=digitalSignature", names), signing)

    def _made(self, name: str, extensions: tuple[str, ...], signing: tuple[str, ...] = ()) -> Certificate:
        made = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        asked = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
        for extension in extensions:
            asked += ["-addext", extension]
        files = ["-out", str(made.certificate), "-keyout", str(made.key)]
        subprocess.run(["openssl", "req", "-x509", *asked, *signing, *files], check=True, capture_output=True)
        return made


@contextmanager
def tls_before(port: int, shown: Certificate, *, clients_of: str = "") -> Iterator[int]:
    """The port of a proxy of 127.0.0.1 that speaks TLS for what listens at `port`.

    It takes only clients that show a certificate of the authority `clients_of`, if that is given.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.certificate, shown.key)
    if clients_of:
        context.load_verify_locations(clients_of)
        context.verify_mode = ssl.CERT_REQUIRED
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _loop, _told: None)  # of clients that leave in the middle of a handshake
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    proxy = _Proxy(port)
    try:
        yield asyncio.run_coroutine_threadsafe(proxy.start(context), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(proxy.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Proxy:
    def __init__(self, port: int) -> None:
        self._port = port
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self, context: ssl.SSLContext) -> int:
        self._server = await asyncio.start_server(self._joined, "127.0.0.1", ssl=context, ssl_shutdown_timeout=0.2)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        self._server.close()
        for end in self._open:
            end.transport.abort()
        own = asyncio.current_task()
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not own))

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._port)
        ends = {inner_writer, writer}
        self._open |= ends
        await asyncio.gather(_passed(reader, inner_writer), _passed(inner_reader, writer))
        for end in ends:
            with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
                await end.wait_closed()
        self._open -= ends


async def _passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        while read := await reader.read(65_536):
            writer.write(read)
            await writer.drain()
    writer.close()
