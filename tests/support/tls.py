"""TLS in front of servers that speak none: an authority, its certificates, and a proxy that shows them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
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
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self, context: ssl.SSLContext) -> int:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)
        asyncio.get_running_loop().add_reader(self._listening, self._accept, context)
        port: int = self._listening.getsockname()[1]
        return port

    async def stop(self) -> None:
        asyncio.get_running_loop().remove_reader(self._listening)
        for end in self._open:
            end.transport.abort()
        await asyncio.gather(*self._serving, return_exceptions=True)
        self._listening.close()

    def _accept(self, context: ssl.SSLContext) -> None:
        accepted, _ = self._listening.accept()
        accepted.setblocking(False)
        self._serving.add(task := asyncio.create_task(self._serve(accepted, context)))
        task.add_done_callback(self._serving.discard)

    async def _serve(self, accepted: socket.socket, context: ssl.SSLContext) -> None:
        """One connection, until either side ends it, or does not believe the other."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol, accepted, ssl=context, ssl_handshake_timeout=5, ssl_shutdown_timeout=0.2
            )
        except (OSError, ssl.SSLError):
            accepted.close()
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
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
