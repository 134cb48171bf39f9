"""GET requests by an `HttpConfig`: bounded in size and time, with errors that say in a line what is wrong.

Each target has a client of its own with one kept connection: pools of many connections are searched for each request.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx

from watchkeeper_server.model.errors import WatchkeeperError
from watchkeeper_server.receive.bodies import decompressed
from watchkeeper_server.receive.options import ReceiveOptions
from watchkeeper_server.receive.refusal import Reason, RefusedError
from watchkeeper_server.receive.scrape.http_config import BasicAuth, HttpConfig, OAuth2
from watchkeeper_server.receive.scrape.proxies import proxy_of
from watchkeeper_server.receive.scrape.tls import tls_context

USER_AGENT = f"Watchkeeper/{version('watchkeeper')}"
_MOST_REDIRECTS = 10
# Longer than any sensible interval, so that a scrape finds its connection open.
_KEEP_SECONDS = 300
_TOKEN_SPARE_SECONDS = 10
_TOKEN_BYTES = 1024 * 1024
_OK = 200
# It would write a line for each scrape.
logging.getLogger("httpx").setLevel(logging.WARNING)


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
        self._client: httpx.AsyncClient | None = None

    async def get(self, url: str, headers: Mapping[str, str], *, most_bytes: int, timeout_seconds: float) -> Response:
        """The response to a GET.

        Raises:
            FetchError: there is none in time, or its status is not 200.
            BodySizeError: it is larger than `most_bytes`, compressed or not.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                sent = {"user-agent": USER_AGENT, **headers, **await self._own_headers()}
                try:
                    return await self._get(url, sent, most_bytes)
                except httpx.RemoteProtocolError:
                    # a kept connection that the server closed at the moment of the request
                    return await self._get(url, sent, most_bytes)
        except TimeoutError as error:
            raise FetchError(f'Get "{url}": context deadline exceeded after {timeout_seconds:g}s') from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
            raise FetchError(f'Get "{url}": {_reason(error)}') from error

    async def stream_lines(self, url: str, headers: Mapping[str, str]) -> Any:
        """The response as an asynchronous iterator over its lines; for responses that go on and on.

        Raises:
            FetchError: the status is not 200, or the connection breaks.
        """
        client = self._connected()
        try:
            sent = {"user-agent": USER_AGENT, **headers, **await self._own_headers()}
            async with client.stream("GET", url, headers=sent, extensions=self._extensions()) as response:
                _check_status(response)
                async for line in response.aiter_lines():
                    yield line
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
            raise FetchError(f'Get "{url}": {_reason(error)}') from error

    async def close(self) -> None:
        """Close the connection; the next request would open another."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def post_form(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> httpx.Response:
        """The response to a form; errors are httpx' own."""
        return await self._connected().post(url, data=dict(form), headers=dict(headers))

    async def _get(self, url: str, headers: Mapping[str, str], most_bytes: int) -> Response:
        async with self._connected().stream("GET", url, headers=headers, extensions=self._extensions()) as response:
            _check_status(response)
            chunks, size = [], 0
            async for chunk in response.aiter_raw():
                size += len(chunk)
                if size > most_bytes:
                    raise BodySizeError("body size limit exceeded")
                chunks.append(chunk)
        body = _decompressed(b"".join(chunks), response.headers.get("content-encoding", ""), most_bytes)
        return Response(response.headers.get("content-type", ""), body)

    def _connected(self) -> httpx.AsyncClient:
        context = tls_context(self._config.tls_config)
        if self._client is None or context is not self._context:
            self._context = context
            self._client = httpx.AsyncClient(
                transport=_Transport(self._config, context),
                follow_redirects=self._config.follow_redirects,
                max_redirects=_MOST_REDIRECTS,
                trust_env=False,
                timeout=None,  # noqa: S113  the caller's own
            )
        return self._client

    def _extensions(self) -> dict[str, str]:
        name = self._config.tls_config.server_name
        return {"sni_hostname": name} if name else {}

    async def _own_headers(self) -> dict[str, str]:
        config = self._config
        headers = {
            name: ",".join([*header.values, *header.secrets, *map(_read, header.files)])
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

    async def close(self) -> None:
        """Close the connection to the token's server."""
        await self._client.close()

    async def _fetch(self, secret: str) -> None:
        config = self._config
        form = {"grant_type": "client_credentials", **config.endpoint_params}
        if config.scopes:
            form["scope"] = " ".join(config.scopes)
        # servers differ in where they look for the secret: RFC 6749, 2.3.1, prefers the header
        basic = _basic(BasicAuth(username=config.client_id, password=secret))
        response = await self._client.post_form(config.token_url, form, {"authorization": basic})
        if response.status_code != _OK:
            form |= {"client_id": config.client_id, "client_secret": secret}
            response = await self._client.post_form(config.token_url, form, {})
        if response.status_code != _OK:
            raise FetchError(f"oauth2: cannot fetch token: {response.status_code} {response.reason_phrase}")
        try:
            token = response.json()
            kind = str(token.get("token_type") or "Bearer")
            self._header = f"{'Bearer' if kind.lower() == 'bearer' else kind} {token['access_token']}"
            seconds = float(token.get("expires_in") or float("inf"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FetchError("oauth2: the token's server answered no access_token in JSON") from error
        self._ends = asyncio.get_running_loop().time() + seconds - _TOKEN_SPARE_SECONDS


def token_source(config: HttpConfig) -> TokenSource | None:
    """Where the tokens of a configuration come from, if it needs any."""
    return TokenSource(config.oauth2) if config.oauth2 else None


class _Transport(httpx.AsyncBaseTransport):
    """Directly, or through the proxy that the configuration names for the server."""

    def __init__(self, config: HttpConfig, context: ssl.SSLContext) -> None:
        self._proxy = config.proxy
        self._context = context
        self._ways: dict[str | None, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        proxy = proxy_of(self._proxy, url.scheme, url.host, url.port)
        way = self._ways.get(proxy)
        if way is None:
            way = self._ways[proxy] = httpx.AsyncHTTPTransport(
                verify=self._context,
                trust_env=False,
                limits=httpx.Limits(max_keepalive_connections=1, keepalive_expiry=_KEEP_SECONDS),
                proxy=self._with_headers(proxy),
            )
        return await way.handle_async_request(request)

    async def aclose(self) -> None:
        for way in self._ways.values():
            await way.aclose()

    def _with_headers(self, proxy: str | None) -> httpx.Proxy | None:
        headers = [(name, value) for name, values in self._proxy.proxy_connect_header.items() for value in values]
        return httpx.Proxy(proxy, headers=headers) if proxy else None


def _check_status(response: httpx.Response) -> None:
    if response.status_code != _OK:
        raise FetchError(f"server returned HTTP status {response.status_code} {response.reason_phrase}".rstrip())


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
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


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
