"""The way to a server over HTTP: one request, and what its answer means.

What is said here of answers is OTLP's (https://opentelemetry.io/docs/specs/otlp/#otlphttp-response); outlets for other
protocols read them their own way.
"""

from __future__ import annotations

import email.utils
import encodings.idna  # noqa: F401  # else our thread imports it at its first connection; a fork then leaves it locked
import gzip
import ipaddress
import re
import ssl
import time
from collections.abc import Container
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

import urllib3

from watchkeeper.export.options import SignalOptions

_RETRYABLE = frozenset({429, 502, 503, 504})
_WORTH_COMPRESSING = 8_192  # bytes; below, a packet or two, gzip costs more than it saves
_LONGEST_RETRY_AFTER = 300.0
_SERVER_AGAIN = re.compile(r"^HTTPS?Connection(?:Pool)?\(host=[^)]*\): ")
OK = range(200, 300)


class Payload(NamedTuple):
    """An encoded batch."""

    body: bytes
    items: int


class Refused(NamedTuple):
    """Items that a server did not take, for one reason."""

    items: int
    reason: str  # for the drop counter
    detail: str  # for the reader


class Answer(NamedTuple):
    """What became of a request: delivered, to be tried again, or refused for good."""

    delivered: bool
    retry: bool = False
    retry_after_seconds: float | None = None
    rejected: int = 0  # items of a delivered request that the server did not take
    reason: str = ""  # for the drop counter
    detail: str = ""  # for the reader
    refused: tuple[Refused, ...] = ()  # of a request that was taken in part, where the server tells the items apart
    again: Payload | None = None  # what of it is to be tried again, instead of all


class Outlet(Protocol):
    """Where encoded batches go."""

    @property
    def destination(self) -> str:
        """The server's host and port, or what else may be slow on its own: outlets of one take turns."""

    def post(self, body: bytes, timeout_seconds: float) -> Answer:
        """Delivers a batch within the timeout, or says what became of it. Never raises for the network's trouble."""

    def close(self) -> None:
        """Gives its connection up."""


class Endpoint:
    """One signal's destination, with its own connection."""

    def __init__(self, target: SignalOptions, user_agent: str) -> None:
        self._target = target
        self.destination = urlsplit(target.endpoint).netloc
        self._headers = {
            "content-type": "application/x-protobuf",
            "user-agent": user_agent,
            **{k.lower(): v for k, v in target.headers.items()},
        }
        self._compress = wants_compression(target)
        self._pool = urllib3.PoolManager(
            num_pools=1,
            maxsize=1,
            retries=False,
            ca_certs=target.certificate or None,
            cert_file=target.client_certificate or None,
            key_file=target.client_key or None,
        )

    def post(self, body: bytes, timeout_seconds: float) -> Answer:
        """Sends a request and reads the answer within the timeout; network trouble is an answer too."""
        response = self.ask("POST", self._target.endpoint, body, timeout_seconds)
        return response if isinstance(response, Answer) else self.read(response, body)

    def ask(
        self, method: str, url: str, body: bytes | None, timeout_seconds: float
    ) -> urllib3.BaseHTTPResponse | Answer:
        """One request and its response; the answer that stands for it where there is none."""
        headers = self._headers
        if self._compress and body is not None and len(body) >= _WORTH_COMPRESSING:
            body = gzip.compress(body, compresslevel=1)
            headers = {**headers, "content-encoding": "gzip"}
        timeout = urllib3.Timeout(total=min(timeout_seconds, self._target.timeout_seconds))
        try:
            return self._pool.request(method, url, body=body, headers=headers, timeout=timeout, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            return Answer(delivered=False, retry=True, reason="unreachable", detail=f"{url}: {_shortly(error)}")

    def close(self) -> None:
        """Closes the connection."""
        self._pool.clear()

    def read(self, response: urllib3.BaseHTTPResponse, body: bytes) -> Answer:  # noqa: ARG002  # other protocols need it
        """What the response to `body` means: by OTLP, which other protocols replace."""
        if response.status in OK:
            rejected, message = partial_success(response.data)
            return Answer(delivered=True, rejected=rejected, reason="rejected", detail=message)
        return self.refusal(response, _RETRYABLE)

    def refusal(self, response: urllib3.BaseHTTPResponse, retryable: Container[int], told: str = "") -> Answer:
        """The answer of a server that took nothing, to be tried again for some statuses."""
        status = response.status
        detail = f"{self._target.endpoint} answered {status}{': ' if told else ''}{told}"
        if status in retryable:
            wait = retry_after_seconds(response.headers.get("retry-after"), time.time())
            return Answer(delivered=False, retry=True, retry_after_seconds=wait, reason=f"http_{status}", detail=detail)
        return Answer(delivered=False, reason=f"http_{status}", detail=detail)


def _shortly(error: urllib3.exceptions.HTTPError) -> str:
    """What is wrong, without the server once more, and what to do about it."""
    return _SERVER_AGAIN.sub("", str(error)) + _advice(error)


def _advice(error: urllib3.exceptions.HTTPError) -> str:
    """What to do about it, where that is not plain."""
    if not any(isinstance(cause, ssl.SSLCertVerificationError) for cause in error.args):
        return ""
    return "; name the authority that signed it in the option `certificate`, or in SSL_CERT_FILE"


def retry_after_seconds(header: str | None, now: float) -> float | None:
    """Retry-After as seconds from now (at most five minutes), from either of its two forms.

    None if absent or unreadable.
    """
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - now
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER) if seconds == seconds else None  # noqa: PLR0124  # NaN


def partial_success(body: bytes) -> tuple[int, str]:
    """(rejected items, message) of an Export*ServiceResponse; (0, "") for a full success.

    That is also what a body that is no such message means. The three responses share their layout: field 1 is the
    partial success, in it 1 the count and 2 the message.
    """
    try:
        inner = protobuf_fields(body).get(1, b"")
        fields = protobuf_fields(inner) if isinstance(inner, bytes) else {}
        count, message = fields.get(1, 0), fields.get(2, b"")
    except (IndexError, ValueError):
        return 0, ""
    if not isinstance(count, int) or not isinstance(message, bytes):
        return 0, ""
    return count, message.decode("utf-8", "replace")


def protobuf_fields(body: bytes) -> dict[int, int | bytes]:
    """A message's varint and length-delimited fields by number, the last of each.

    Raises ValueError or IndexError for bytes that are no such message.
    """
    found: dict[int, int | bytes] = {}
    at = 0
    while at < len(body):
        tag, at = _read_varint(body, at)
        if tag & 7 == 0:
            found[tag >> 3], at = _read_varint(body, at)
        elif tag & 7 == 2:  # noqa: PLR2004  # length-delimited
            size, at = _read_varint(body, at)
            found[tag >> 3] = body[at : at + size]
            at += size
        else:
            raise ValueError("not a field of an export response")
    return found


def _read_varint(body: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = body[at]
        number |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:  # noqa: PLR2004
            return number, at
        shift += 7


def wants_compression(target: SignalOptions) -> bool:
    """Whether large bodies are to be compressed.

    Bytes that stay on this machine gain nothing from being fewer, and gzip would take the application's CPU.
    """
    return target.compression == "gzip" or (target.compression == "auto" and not _is_local(target.endpoint))


def _is_local(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
