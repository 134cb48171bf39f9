"""A message broker: RabbitMQ and NATS by their own protocols' first words, anything else by a TCP connection.

What is spoken is as much as proves that the broker would serve the application: it takes the credentials and opens the
virtual host (AMQP 0-9-1), it answers a PING (NATS). No client library is needed; a connection of aio-pika may be given
instead of a URL.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import SplitResult, unquote

from watchkeeper.environment import ConfigurationError, check_number
from watchkeeper.health.checks.urls import url_in
from watchkeeper.health.options import LONGEST_TIMEOUT
from watchkeeper.health.registry import checked, registry
from watchkeeper.health.results import HealthResult

SLOW_SECONDS = 0.5
_PORTS = {"amqp": 5672, "amqps": 5671, "nats": 4222, "tcp": 0}
_LARGEST_FRAME = 1 << 20

# AMQP 0-9-1, section 2.3 and the methods of class `connection`
_METHOD_FRAME, _FRAME_END = 1, 0xCE
_START, _START_OK, _TUNE, _TUNE_OK = (10, 10), (10, 11), (10, 30), (10, 31)
_OPEN, _OPEN_OK, _CLOSE = (10, 40), (10, 41), (10, 50)

# The client's properties: whom the broker's log names, and that it shall say it when it refuses a password.
_WHO = (
    b"\x0fconnection_nameS\0\0\0\x12watchkeeper-health\x0ccapabilitiesF\0\0\0\x1f\x1cauthentication_failure_closet\x01"
)


class BrokerError(Exception):
    """The broker refused; the message is its own."""


class _Method(NamedTuple):
    """(class, method) and its arguments."""

    kind: tuple[int, int]
    arguments: bytes


class Broker:
    """Asks a broker at a URL. Unhealthy if it refuses or does not answer in time; degraded if it is slow."""

    def __init__(self, url: SplitResult, timeout_seconds: float, slow_seconds: float = SLOW_SECONDS) -> None:
        self._url = url
        self._timeout = timeout_seconds
        self._slow = slow_seconds

    def __call__(self) -> HealthResult:
        """How long it took."""
        speak = {"amqp": _amqp, "amqps": _amqp, "nats": _nats}.get(self._url.scheme, _nothing)
        started = time.perf_counter()
        try:
            with _connected(self._url, self._timeout) as connection:
                details = speak(connection, self._url)
        except BrokerError as refusal:
            return HealthResult("unhealthy", str(refusal))
        return _judged(time.perf_counter() - started, self._slow, details)


class OpenConnection:
    """Asks a connection of aio-pika that the application has open, by opening a channel."""

    def __init__(self, connection: Any, slow_seconds: float = SLOW_SECONDS) -> None:
        self._connection = connection
        self._slow = slow_seconds

    async def __call__(self) -> HealthResult:
        """How long it took."""
        if self._connection.is_closed:
            return HealthResult("unhealthy", "the connection is closed")
        started = time.perf_counter()
        async with self._connection.channel():
            return _judged(time.perf_counter() - started, self._slow, {})


_OTHERWISE = {  # how those are checked that people call brokers, too
    "redis": "; a Redis is checked by check_cache",
    "rediss": "; a Redis is checked by check_cache",
    "kafka": ", which is how Kafka is checked: tcp://kafka:9092",
}


def check_broker(
    target: Any,
    name: str = "broker",
    *,
    critical: bool = False,
    timeout: float = LONGEST_TIMEOUT,
    weight: float | None = None,
    interval: float | None = None,
    slow_seconds: float = SLOW_SECONDS,
) -> None:
    """Checks a message broker. Nothing is published or consumed.

    `target` is a URL, `amqp://user:password@host/vhost` or `amqps://` (RabbitMQ), `nats://host`, or `tcp://host:port`
    for any other (a connection is opened); or a connection of aio-pika. `critical`, `timeout`, `weight` and `interval`
    are those of `health_check`.

    Example:
        >>> import watchkeeper as wk
        >>> wk.check_broker("amqp://shop:secret@rabbit.example/orders", critical=True)
    """
    function: Callable[[], Any]
    secret = ""
    check_number(f"slow_seconds of health check {name!r}", slow_seconds)
    if isinstance(target, str):
        url = url_in(target, "check_broker")
        if url.scheme not in _PORTS or not url.hostname or not (url.port or _PORTS[url.scheme]):
            other = _OTHERWISE.get(url.scheme, "")
            raise ConfigurationError(
                f"check_broker got a URL of {url.scheme!r} for {name!r}: use amqp://, amqps:// or nats:// with a host,"
                f" or tcp:// with a host and a port{other}"
            )
        function = Broker(url, timeout, slow_seconds)
        secret = unquote(url.password or "")
    elif hasattr(target, "channel") and hasattr(target, "is_closed") and hasattr(target, "__aenter__"):
        function = OpenConnection(target, slow_seconds)
    else:
        raise ConfigurationError(
            f"check_broker got a {type(target).__name__}: give it a URL (amqp://…), or a connection of aio-pika"
        )
    registry.add(
        checked(
            name,
            function,
            critical=critical,
            timeout=timeout,
            weight=weight,
            interval=interval,
            secrets=(secret,),
        )
    )


def _judged(took: float, slow: float, details: dict[str, Any]) -> HealthResult:
    details = {**details, "answer_seconds": round(took, 6)}
    if took < slow:
        return HealthResult(details=details)
    return HealthResult("degraded", f"the broker took {took:.3f} s, the limit is {slow:g} s", details)


@contextmanager
def _connected(url: SplitResult, timeout_seconds: float) -> Iterator[socket.socket]:
    host, port = url.hostname or "", url.port or _PORTS[url.scheme]
    with socket.create_connection((host, port), timeout=timeout_seconds) as plain:
        if url.scheme != "amqps":
            yield plain
            return
        with ssl.create_default_context().wrap_socket(plain, server_hostname=host) as secure:
            yield secure


def _nothing(_connection: socket.socket, _url: SplitResult) -> dict[str, Any]:
    """To be connected is enough."""
    return {}


def _nats(connection: socket.socket, url: SplitResult) -> dict[str, Any]:
    """NATS's client protocol: INFO, CONNECT, PING, PONG."""
    with connection.makefile("rb") as lines:
        info = lines.readline(_LARGEST_FRAME)
        if not info.startswith(b"INFO "):
            raise BrokerError(f"this is not NATS: {info[:40]!r}")
        options: dict[str, Any] = {"verbose": False, "pedantic": False, "name": "watchkeeper-health", "lang": "python"}
        if url.username is not None and url.password is None:
            options["auth_token"] = unquote(url.username)
        elif url.username is not None:
            options |= {"user": unquote(url.username), "pass": unquote(url.password or "")}
        connection.sendall(f"CONNECT {json.dumps(options)}\r\nPING\r\n".encode())
        answer = lines.readline(_LARGEST_FRAME)
        if not answer.startswith(b"PONG"):
            raise BrokerError(answer.decode("utf-8", "replace").strip() or "the connection was closed")
        return {"version": json.loads(info[5:]).get("version", "")}


def _amqp(connection: socket.socket, url: SplitResult) -> dict[str, Any]:
    """AMQP 0-9-1's handshake, up to an open virtual host, and goodbye."""
    user = unquote(url.username or "guest").encode()
    password = unquote(url.password if url.password is not None else "guest").encode()
    host = (unquote(url.path[1:]) if len(url.path) > 1 else "/").encode()
    with connection.makefile("rb") as frames:
        connection.sendall(b"AMQP\0\0\x09\x01")
        _expect(frames, _START)
        response = b"\0" + user + b"\0" + password
        _send(connection, _START_OK, _long(_WHO) + _short(b"PLAIN") + _long(response) + _short(b"en_US"))
        tune = _expect(frames, _TUNE, "the user or the password is refused")
        _send(connection, _TUNE_OK, tune.arguments[:6] + struct.pack(">H", 0))  # its channels and frames, no heartbeat
        _send(connection, _OPEN, _short(host) + _short(b"") + b"\0")
        _expect(frames, _OPEN_OK, f"the virtual host {host.decode()!r} is refused")
        _send(connection, _CLOSE, struct.pack(">H", 200) + _short(b"bye") + struct.pack(">HH", 0, 0))
        _method(frames)  # close-ok
    return {}


def _expect(frames: Any, kind: tuple[int, int], refused: str = "this is not AMQP 0-9-1") -> _Method:
    method = _method(frames)
    if method is None:
        raise BrokerError(f"the connection was closed: {refused}")
    if method.kind == _CLOSE:
        code, length = struct.unpack(">HB", method.arguments[:3])
        raise BrokerError(f"{code} {method.arguments[3 : 3 + length].decode('utf-8', 'replace')}")
    if method.kind != kind:
        raise BrokerError(f"the method {method.kind} came instead of {kind}")
    return method


def _method(frames: Any) -> _Method | None:
    """The next method; None if the connection was closed."""
    head = frames.read(7)
    if len(head) < 7:  # noqa: PLR2004  # type, channel, size
        return None
    frame, _, size = struct.unpack(">BHI", head)
    if frame != _METHOD_FRAME or not 4 <= size <= _LARGEST_FRAME:  # noqa: PLR2004  # class and method
        raise BrokerError(f"this is not AMQP 0-9-1: {head!r}")
    payload = frames.read(size + 1)
    if len(payload) != size + 1 or payload[-1] != _FRAME_END:
        return None
    number, method = struct.unpack(">HH", payload[:4])
    return _Method((number, method), payload[4:-1])


def _send(connection: socket.socket, kind: tuple[int, int], arguments: bytes) -> None:
    payload = struct.pack(">HH", *kind) + arguments
    connection.sendall(struct.pack(">BHI", _METHOD_FRAME, 0, len(payload)) + payload + bytes([_FRAME_END]))


def _short(text: bytes) -> bytes:
    return struct.pack(">B", len(text)) + text


def _long(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text
