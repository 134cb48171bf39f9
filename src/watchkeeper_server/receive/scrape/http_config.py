"""How to speak to an HTTP server: authentication, TLS, proxies, headers; the same wherever the configuration has it.

https://prometheus.io/docs/prometheus/latest/configuration/configuration/#http_config
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal
from urllib.parse import urlsplit

from watchkeeper_server.receive.scrape.shown import without_password
from watchkeeper_server.receive.scrape.yaml_reader import INLINE, NO_FILE, FilePath

TlsVersion = Literal["", "TLS10", "TLS11", "TLS12", "TLS13"]
_RESERVED_HEADERS = frozenset({
    "accept-encoding", "authorization", "connection", "content-encoding", "content-length", "content-type", "host",
    "keep-alive", "proxy-authenticate", "proxy-authorization", "user-agent", "www-authenticate",
    "x-amz-content-sha256", "x-amz-date", "x-amz-security-token", "x-prometheus-remote-read-version",
    "x-prometheus-remote-write-version", "x-prometheus-scrape-timeout-seconds",
})  # fmt: skip
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class BasicAuth:
    """A user's name and password, written there or in files that are read for each request."""

    username: str = ""
    username_file: FilePath = NO_FILE
    password: str = field(default="", repr=False)
    password_file: FilePath = NO_FILE

    def __post_init__(self) -> None:
        if self.username and self.username_file:
            raise ValueError("at most one of basic_auth username & username_file must be configured")
        if self.password and self.password_file:
            raise ValueError("at most one of basic_auth password & password_file must be configured")


@dataclass(frozen=True)
class Authorization:
    """An Authorization header of any type but Basic."""

    type: str = "Bearer"
    credentials: str = field(default="", repr=False)
    credentials_file: FilePath = NO_FILE

    def __post_init__(self) -> None:
        object.__setattr__(self, "type", self.type.strip() or "Bearer")
        if self.credentials and self.credentials_file:
            raise ValueError("at most one of authorization credentials & credentials_file must be configured")
        if self.type.lower() == "basic":
            raise ValueError('authorization type cannot be set to "basic", use "basic_auth" instead')


@dataclass(frozen=True)
class TlsConfig:
    """What to expect of a server's certificate, and which to show."""

    ca: str = ""
    ca_file: FilePath = NO_FILE
    cert: str = ""
    cert_file: FilePath = NO_FILE
    key: str = field(default="", repr=False)
    key_file: FilePath = NO_FILE
    server_name: str = ""
    insecure_skip_verify: bool = False
    min_version: TlsVersion = ""
    max_version: TlsVersion = ""

    def __post_init__(self) -> None:
        for name in ("ca", "cert", "key"):
            if getattr(self, name) and getattr(self, f"{name}_file"):
                raise ValueError(f"at most one of {name} and {name}_file must be configured")
        has_cert, has_key = bool(self.cert or self.cert_file), bool(self.key or self.key_file)
        if has_cert and not has_key:
            raise ValueError(
                "exactly one of key or key_file must be configured when a client certificate is configured"
            )
        if has_key and not has_cert:
            raise ValueError("exactly one of cert or cert_file must be configured when a client key is configured")
        if self.min_version and self.max_version and self.max_version < self.min_version:
            raise ValueError(
                "tls_config.max_version must be greater than or equal to tls_config.min_version if both are specified"
            )


@dataclass(frozen=True)
class ProxyConfig:
    """Which proxy to go through."""

    proxy_url: str = ""
    no_proxy: str = ""
    proxy_from_environment: bool = False
    proxy_connect_header: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: MappingProxyType({}), repr=False
    )

    def __post_init__(self) -> None:
        if self.proxy_connect_header and not (self.proxy_from_environment or self.proxy_url):
            raise ValueError(
                "if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured"
            )
        if self.proxy_from_environment and self.proxy_url:
            raise ValueError("if proxy_from_environment is configured, proxy_url must not be configured")
        if self.proxy_from_environment and self.no_proxy:
            raise ValueError("if proxy_from_environment is configured, no_proxy must not be configured")
        if self.no_proxy and not self.proxy_url:
            raise ValueError("if no_proxy is configured, proxy_url must also be configured")
        if self.proxy_url and urlsplit(self.proxy_url).scheme not in ("http", "https"):
            raise ValueError(f'proxy_url "{without_password(self.proxy_url)}" must be an http or https URL')


@dataclass(frozen=True)
class OAuth2:
    """A token fetched by client credentials."""

    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    client_secret_file: FilePath = NO_FILE
    scopes: tuple[str, ...] = ()
    token_url: str = ""
    endpoint_params: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    tls_config: TlsConfig = TlsConfig()
    proxy: ProxyConfig = field(default=ProxyConfig(), metadata=INLINE)

    def __post_init__(self) -> None:
        if not self.client_id:
            raise ValueError("oauth2 client_id must be configured")
        if not self.token_url:
            raise ValueError("oauth2 token_url must be configured")
        if self.client_secret and self.client_secret_file:
            raise ValueError("at most one of oauth2 client_secret & client_secret_file must be configured")


@dataclass(frozen=True)
class Header:
    """The values of one header, written there or in files."""

    values: tuple[str, ...] = ()
    secrets: tuple[str, ...] = field(default=(), repr=False)
    files: tuple[FilePath, ...] = ()


@dataclass(frozen=True)
class HttpConfig:
    """Everything about requests to one kind of server."""

    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    oauth2: OAuth2 | None = None
    bearer_token: str = field(default="", repr=False)
    bearer_token_file: FilePath = NO_FILE
    tls_config: TlsConfig = TlsConfig()
    follow_redirects: bool = True
    enable_http2: bool = True  # read for the sake of existing files; requests are HTTP/1.1
    proxy: ProxyConfig = field(default=ProxyConfig(), metadata=INLINE)
    http_headers: Mapping[str, Header] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.bearer_token and self.bearer_token_file:
            raise ValueError("at most one of bearer_token & bearer_token_file must be configured")
        bearer = bool(self.bearer_token or self.bearer_token_file)
        if (self.basic_auth or self.oauth2) and bearer:
            raise ValueError("at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured")
        if self.authorization and bearer:
            raise ValueError("authorization is not compatible with bearer_token & bearer_token_file")
        if sum(part is not None for part in (self.basic_auth, self.authorization, self.oauth2)) > 1:
            raise ValueError("at most one of basic_auth, oauth2 & authorization must be configured")
        if bearer:
            form = Authorization(credentials=self.bearer_token, credentials_file=self.bearer_token_file)
            object.__setattr__(self, "authorization", form)
        for name in self.http_headers:
            if name.lower() in _RESERVED_HEADERS:
                raise ValueError(f'setting header "{name}" is not allowed')
