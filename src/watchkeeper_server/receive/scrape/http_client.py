"""GET requests by an `HttpConfig`: bounded in size and time, with errors that say in a line what is wrong.

Each target has a client of its own, which keeps its connection from one scrape to the next.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlencode, urljoin

from watchkeeper_server.model.errors import WatchkeeperError
from watchkeeper_server.receive.bodies import decompressed
from watchkeeper_server.receive.options import ReceiveOptions
from watchkeeper_server.receive.refusal import Reason, RefusedError
from watchkeeper_server.receive.scrape.http_address import Address
from watchkeeper_server.receive.scrape.http_config import BasicAuth, HttpConfig, OAuth2
from watchkeeper_server.receive.scrape.http_connection import (
    BrokenError,
    Head,
    HttpConnection,
    Proxy,
    Server,
    connect,
    encoded,
)
from watchkeeper_server.receive.scrape.proxies import proxy_of
from watchkeeper_server.receive.scrape.shown import without_password
from watchkeeper_server.receive.scrape.tls import TlsFileError, tls_context

USER_AGENT = f"Watchkeeper/{version('watchkeeper')}"
_MOST_REDIRECTS = 10
_REDIRECTS, _SAME_METHOD = (301, 302, 303, 307, 308), (307, 308)
# A target's own, and what it redirects to.
_MOST_CONNECTIONS = 2
# More is decompressed in a thread, so that other targets go on: it may become a thousand times as much.
_QUICK_BYTES = 16 * 1024
_MOST_LINE_BYTES = 16 * 1024 * 1024
# Longer than any sensible interval, so that a scrape finds its connection open.
_KEEP_SECONDS = 300
_TOKEN_SPARE_SECONDS = 10
_TOKEN_SECONDS = 60.0
_TOKEN_BYTES = 1024 * 1024
_OK = 200


class FetchError(WatchkeeperError):
    """A response could not be had, or is of no use."""


class BodySizeError(FetchError):
    """The response is larger than allowed."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response of status 200, its body decompressed."""

    content_type: str
    body: bytes


class HttpClient:
    """Sends requests to one server, one after another."""

    def __init__(self, config: HttpConfig, tokens: TokenSource | None = None) -> None:
        """Nothing is connected before the first request.

        Args:
            config: how to speak to the server.
            tokens: where tokens come from when the configuration asks for OAuth 2; shared by the clients of one
                configuration.
        """
        self._config = config
        self._tokens = tokens
        self._context: ssl.SSLContext | None = None
        # to the server and to those that it redirects to, with when each was used last
        self._connections: dict[Server, tuple[HttpConnection, float]] = {}

    async def get(self, url: str, headers: Mapping[str, str], *, most_bytes: int, timeout_seconds: float) -> Response:
        """The response to a GET.

        Raises:
            FetchError: there is none in time, or its status is not 200.
            BodySizeError: it is larger than `most_bytes`, compressed or not.
        """
        with _told(url, timeout_seconds):
            async with asyncio.timeout(timeout_seconds):
                head, connection = await self._begin("GET", url, headers)
                try:
                    _check_status(head)
                    body = await _whole(connection, most_bytes)
                finally:
                    _release(connection)
        encoding = head.headers.get("content-encoding", "")
        if encoding and len(body) > _QUICK_BYTES:
            body = await asyncio.to_thread(_decompressed, body, encoding, most_bytes)
        else:
            body = _decompressed(body, encoding, most_bytes)
        return Response(head.headers.get("content-type", ""), body)

    async def stream_lines(
        self, url: str, headers: Mapping[str, str], *, timeout_seconds: float
    ) -> AsyncGenerator[bytes]:
        """The response as an asynchronous iterator over its lines; for responses that go on and on.

        Raises:
            FetchError: the status is not 200, the connection breaks, or it has not ended in time.
        """
        end = asyncio.get_running_loop().time() + timeout_seconds
        with _told(url, timeout_seconds):
            async with asyncio.timeout_at(end):
                head, connection = await self._begin("GET", url, headers)
            try:
                _check_status(head)
                rest = b""
                while True:
                    async with asyncio.timeout_at(end):
                        chunk = await connection.read()
                    if not chunk:
                        break
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        yield line
                    if len(rest) > _MOST_LINE_BYTES:
                        raise FetchError(f"a line of the response is longer than {_MOST_LINE_BYTES:,} bytes")
                if rest:
                    yield rest
            finally:
                connection.close()

    async def post_form(
        self, url: str, form: Mapping[str, str], headers: Mapping[str, str], *, timeout_seconds: float
    ) -> tuple[Head, bytes]:
        """The response to a form, whatever its status.

        Raises:
            FetchError: there is none in time.
        """
        sent = {"content-type": "application/x-www-form-urlencoded", **headers}
        with _told(url, timeout_seconds, "Post"):
            async with asyncio.timeout(timeout_seconds):
                head, connection = await self._begin("POST", url, sent, urlencode(form).encode())
                try:
                    body = await _whole(connection, _TOKEN_BYTES)
                finally:
                    _release(connection)
        return head, _decompressed(body, head.headers.get("content-encoding", ""), _TOKEN_BYTES)

    def close(self) -> None:
        """Close the connections; the next request would open another."""
        connections, self._connections = self._connections, {}
        for connection, _ in connections.values():
            connection.close()

    async def _begin(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[Head, HttpConnection]:
        """Send a request, wherever it is redirected to; the caller reads the body and releases the connection."""
        sent = {"user-agent": USER_AGENT, "accept-encoding": "gzip", **headers, **await self._own_headers()}
        for _ in range(_MOST_REDIRECTS + 1):
            address = Address.of(url)
            head, connection = await self._ask(address, method, sent, body)
            location = head.headers.get("location")
            if head.status not in _REDIRECTS or not location or not self._config.follow_redirects:
                return head, connection
            _release(connection)
            url = urljoin(url, location)
            if Address.of(url).host != address.host:
                sent.pop("authorization", None)
            if method == "POST" and head.status not in _SAME_METHOD:
                method, body = "GET", b""
                sent.pop("content-type", None)
        raise BrokenError(f"stopped after {_MOST_REDIRECTS} redirects")

    async def _ask(
        self, address: Address, method: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[Head, HttpConnection]:
        """Send one request, on the connection that is open if there is one."""
        proxy = proxy_of(self._config.proxy, address.scheme, address.host, address.port)
        server = Server(
            address.scheme,
            address.host,
            address.port,
            self._proxy(proxy) if proxy else None,
            self._config.tls_config.server_name,
        )
        sent = {"host": address.authority, **headers}
        if address.user and "authorization" not in sent:
            sent["authorization"] = _basic_header(address.user)
        if body:
            sent["content-length"] = str(len(body))
        target = address.target
        if server.proxy and address.scheme == "http":
            target = f"http://{address.authority}{target}"
            sent |= server.proxy.headers
        request = encoded(method, target, sent, body)
        connection, known = await self._connected(server)
        while True:
            try:
                return await connection.ask(request), connection
            except BaseException as error:
                connection.close()
                # the server may have closed a kept connection at the moment of the request
                if not known or connection.answered or not isinstance(error, (BrokenError, OSError)):
                    raise
            connection, known = await self._connected(server)

    async def _connected(self, server: Server) -> tuple[HttpConnection, bool]:
        """A connection, and whether it has been used before."""
        encrypted = server.scheme == "https" or (server.proxy is not None and server.proxy.scheme == "https")
        try:
            context = tls_context(self._config.tls_config) if encrypted else None  # 50 ms the first time
        except TlsFileError as error:
            raise FetchError(str(error)) from error
        now = asyncio.get_running_loop().time()
        if context is not None and context is not self._context:
            self.close()
            self._context = context
        connection, used = self._connections.pop(server, (None, 0.0))
        known = connection is not None and connection.reusable and now - used < _KEEP_SECONDS
        if connection is None or not known:
            if connection is not None:
                connection.close()
            while len(self._connections) >= _MOST_CONNECTIONS:
                self._connections.pop(next(iter(self._connections)))[0].close()
            connection = await connect(server, context)
        self._connections[server] = connection, now
        return connection, known

    def _proxy(self, url: str) -> Proxy:
        address = Address.of(url)
        told = {name.lower(): ", ".join(values) for name, values in self._config.proxy.proxy_connect_header.items()}
        authorization = _basic_header(address.user) if address.user else ""
        return Proxy(address.scheme, address.host, address.port, authorization, told)

    async def _own_headers(self) -> dict[str, str]:
        config = self._config
        headers = {
            name.lower(): ",".join([*header.values, *header.secrets, *map(_read, header.files)])
            for name, header in config.http_headers.items()
        }
        if config.basic_auth:
            headers["authorization"] = _basic(config.basic_auth)
        elif config.authorization:
            form = config.authorization
            credentials = _read(form.credentials_file) if form.credentials_file else form.credentials
            headers["authorization"] = f"{form.type} {credentials}"
        elif self._tokens:
            headers["authorization"] = await self._tokens.authorization()
        return headers


class TokenSource:
    """Tokens by OAuth 2's client credentials (RFC 6749, 4.4), each used until shortly before it ends."""

    def __init__(self, config: OAuth2) -> None:
        """Nothing is fetched before it is needed."""
        self._config = config
        self._client = HttpClient(HttpConfig(tls_config=config.tls_config, proxy=config.proxy))
        self._lock = asyncio.Lock()
        self._secret = ""
        self._header = ""
        self._ends = 0.0

    async def authorization(self) -> str:
        """The Authorization header's value.

        Raises:
            FetchError: the token's server gives none.
        """
        async with self._lock:
            secret = _read(self._config.client_secret_file) if self._config.client_secret_file else ""
            now = asyncio.get_running_loop().time()
            if not self._header or now >= self._ends or secret != self._secret:
                self._secret = secret
                await self._fetch(secret or self._config.client_secret)
            return self._header

    def close(self) -> None:
        """Close the connection to the token's server."""
        self._client.close()

    async def _fetch(self, secret: str) -> None:
        config = self._config
        form = {"grant_type": "client_credentials", **config.endpoint_params}
        if config.scopes:
            form["scope"] = " ".join(config.scopes)
        # servers differ in where they look for the secret: RFC 6749, 2.3.1, prefers the header
        basic = _basic(BasicAuth(username=config.client_id, password=secret))
        head, body = await self._post(form, {"authorization": basic})
        if head.status != _OK:
            form |= {"client_id": config.client_id, "client_secret": secret}
            head, body = await self._post(form, {})
        if head.status != _OK:
            raise FetchError(f"oauth2: cannot fetch token: {head.status} {head.reason}")
        try:
            token = json.loads(body)
            kind = str(token.get("token_type") or "Bearer")
            self._header = f"{'Bearer' if kind.lower() == 'bearer' else kind} {token['access_token']}"
            seconds = float(token.get("expires_in") or float("inf"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FetchError("oauth2: the token's server answered no access_token in JSON") from error
        self._ends = asyncio.get_running_loop().time() + seconds - _TOKEN_SPARE_SECONDS

    async def _post(self, form: Mapping[str, str], headers: Mapping[str, str]) -> tuple[Head, bytes]:
        return await self._client.post_form(self._config.token_url, form, headers, timeout_seconds=_TOKEN_SECONDS)


def token_source(config: HttpConfig) -> TokenSource | None:
    """Where the tokens of a configuration come from, if it needs any."""
    return TokenSource(config.oauth2) if config.oauth2 else None


@contextmanager
def _told(url: str, seconds: float, what: str = "Get") -> Iterator[None]:
    """Make a line that says what was asked of any error of the network."""
    try:
        yield
    except TimeoutError as error:
        raise FetchError(f'{what} "{without_password(url)}": context deadline exceeded after {seconds:g}s') from error
    except (BrokenError, OSError, ValueError) as error:
        raise FetchError(f'{what} "{without_password(url)}": {_reason(error)}') from error


async def _whole(connection: HttpConnection, most_bytes: int) -> bytes:
    chunks, size = [], 0
    while chunk := await connection.read():
        size += len(chunk)
        if size > most_bytes:
            raise BodySizeError("body size limit exceeded")
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _release(connection: HttpConnection) -> None:
    """Leave a connection open only if the next request can use it."""
    if not connection.reusable:
        connection.close()


def _check_status(head: Head) -> None:
    if head.status != _OK:
        raise FetchError(f"server returned HTTP status {head.status} {head.reason}".rstrip())


def _decompressed(body: bytes, encoding: str, most_bytes: int) -> bytes:
    try:
        return decompressed(body, encoding.strip().lower(), ReceiveOptions(body_bytes=most_bytes))
    except RefusedError as error:
        if error.reason is Reason.TOO_LARGE:
            raise BodySizeError("body size limit exceeded") from error
        raise FetchError(f"the response cannot be decompressed: {error}") from error


def _basic(auth: BasicAuth) -> str:
    username = _read(auth.username_file) if auth.username_file else auth.username
    password = _read(auth.password_file) if auth.password_file else auth.password
    return _basic_header(f"{username}:{password}")


def _basic_header(user: str) -> str:
    return "Basic " + base64.b64encode((user if ":" in user else f"{user}:").encode()).decode()


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FetchError(f"unable to read file {path}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """What is wrong at the bottom of it: the operating system's or TLS' own words, where there are any."""
    text = ""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError):
            return (
                f"tls: {seen.reason or seen}"
                if not isinstance(seen, ssl.SSLCertVerificationError)
                else (f"tls: failed to verify certificate: {seen.verify_message}")
            )
        if isinstance(seen, OSError):
            text = os.strerror(seen.errno).lower() if seen.errno and seen.errno > 0 else seen.strerror or str(seen)
        if isinstance(seen, BaseExceptionGroup) and seen.exceptions:
            seen = seen.exceptions[0]
        else:
            seen = seen.__cause__ or seen.__context__
    return text or str(error) or type(error).__name__
