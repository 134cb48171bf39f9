"""An HTTP request that the application sends: its span, the headers that go with it, and its count.

What all HTTP clients share. Each of them says where its requests pass, and calls

    request = begin("GET", url)
    if request is None:
        return wrapped(*args, **kwargs)
    with request:
        response = wrapped(...)  # with request.headers(...) besides
        request.answered(response.status_code)

The application's own objects are left as they are: clients are handed a copy that carries more headers.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Container
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import unquote_plus, urlsplit

from opentelemetry.context import (  # published under no other names
    _SUPPRESS_HTTP_INSTRUMENTATION_KEY,
    _SUPPRESS_INSTRUMENTATION_KEY,
)
from opentelemetry.semconv._incubating.attributes.http_attributes import HTTP_REQUEST_RESEND_COUNT
from opentelemetry.semconv.attributes.exception_attributes import EXCEPTION_MESSAGE, EXCEPTION_STACKTRACE
from opentelemetry.semconv.attributes.http_attributes import (
    HTTP_REQUEST_METHOD,
    HTTP_REQUEST_METHOD_ORIGINAL,
    HTTP_RESPONSE_STATUS_CODE,
)
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS, SERVER_PORT
from opentelemetry.semconv.attributes.url_attributes import URL_FULL

from watchkeeper.context import BOUND_KEY, CORRELATION_ID, REQUEST_KEY, Request, get_current, usable_id
from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.calls import HTTP, Call
from watchkeeper.integrations.exchange import KNOWN_METHODS, OTHER_METHOD
from watchkeeper.integrations.part import requests
from watchkeeper.logging.redaction import Redaction
from watchkeeper.metrics.paths import normalised
from watchkeeper.metrics.sets import external_apis
from watchkeeper.tracing.http import server_of
from watchkeeper.tracing.propagation import header_writer
from watchkeeper.tracing.span import Checked, stack_of
from watchkeeper.values import text_of, truncated

MOST_SERVICES = 100  # of a process; further ones are counted as one
MOST_PATHS = 50  # of a service; further ones are counted by their method alone
OTHER_SERVICES = "__other__"
FAILED = 400  # and upwards: for whoever asked, such an answer is a failure
_LONGEST_PATH = 200  # characters of a metric's label
_LONGEST_REMEMBERED = 2_048  # characters of a URL; longer ones may hold a whole form
_DEFAULT_PORTS = {("http", 80), ("https", 443), ("ws", 80), ("wss", 443)}


REDACTED = "REDACTED"  # as OpenTelemetry's conventions have it
_SIGNATURES = frozenset({"awsaccesskeyid", "signature", "sig", "x-goog-signature", "x-amz-signature", "key", "code"})
# Secrets that services put into paths, as webhooks do: a bot's token, long parts of mixed letters and digits.
_SECRET_PARTS = re.compile(
    r"(?<=/)(?:bot\d+:[\w-]{20,}|(?=[^/]*[a-z])(?=[^/]*[A-Z])(?=[^/]*\d)[A-Za-z0-9]{24,}|[\w-]{60,})(?=/|$)"
)
# What besides numbers names one thing of many: longer parts with a digit, addresses, what had to be encoded.
_NAMES = re.compile(r"(?<=/)(?=[^/]*[\d@%:])[^/{]{8,}(?=/|$)|(?<=/)[^/]{41,}(?=/|$)")


class Target(NamedTuple):
    """Where a request goes."""

    full: str  # the URL, without what is secret
    address: str
    port: int | None
    service: str  # host[:port]
    path: str  # normalised
    hidden: tuple[tuple[str, str], ...] = ()  # what errors may repeat of the URL, and what is shown instead


class Operations:
    """The labels of requests: of a bounded number, whatever the application calls.

    A path is told in its normalised form. An API whose paths hold names that look like words has more of those than
    are of use: beyond MOST_PATHS of a service, the method alone is told, and beyond MOST_SERVICES no service.
    """

    def __init__(self) -> None:
        self._paths: dict[str, set[str]] = {}

    def labels(self, method: str, service: str, path: str) -> tuple[str, str]:
        """The service and the operation of a request."""
        paths = self._paths.get(service)
        if paths is None:
            if len(self._paths) >= MOST_SERVICES:
                return OTHER_SERVICES, method
            paths = self._paths.setdefault(service, set())
        if path not in paths:
            if len(paths) >= MOST_PATHS or not path:
                return service, method
            paths.add(path)
        return service, f"{method} {path}"


class Prepared:
    """What requests of one method to one URL have in common."""

    __slots__ = ("attributes", "mark", "method", "name", "target")

    def __init__(self, method: str, target: Target) -> None:
        known = method in KNOWN_METHODS
        self.target = target
        self.name = method if known else "HTTP"  # the span's
        self.method = method if known else OTHER_METHOD
        self.mark = (method, target.service)
        attributes: dict[str, Any] = {HTTP_REQUEST_METHOD: self.method, URL_FULL: target.full}
        if not known:
            attributes[HTTP_REQUEST_METHOD_ORIGINAL] = truncated(method)
        if target.address:
            attributes[SERVER_ADDRESS] = target.address
            if target.port is not None:
                attributes[SERVER_PORT] = target.port
        self.attributes = Checked(attributes)


class Outgoing(Call):
    """A request under way, as a `with` block. How it ended is counted at the block's end."""

    __slots__ = ("_prepared", "_status")

    def __init__(self, prepared: Prepared, traced: bool) -> None:
        self._prepared = prepared
        self._status = 0
        super().__init__(prepared.name, HTTP, prepared.attributes, traced=traced, mark=prepared.mark)

    def headers(self, present: Container[str]) -> dict[str, str]:
        """What goes with the request so that its server knows what it is part of; call it inside of the block.

        Nothing of what is `present` already (by name in lower case): that is the application's. Never raises.
        """
        try:
            context = get_current()
            found = header_writer.headers(context)
            if "tracestate" in found and "traceparent" in present:
                del found["tracestate"]  # it would be another trace's
            request: Request | None = context.get(REQUEST_KEY)  # type: ignore[assignment]
            bound: Any = context.get(BOUND_KEY)
            correlation_id = text_of(bound[CORRELATION_ID]) if bound and CORRELATION_ID in bound else ""
            if request is not None:
                found["X-Request-ID"] = request.request_id
                correlation_id = correlation_id or request.correlation_id
            # A header with a line break in it would fail the request: such an id is kept to log lines.
            if correlation_id and usable_id(correlation_id):
                found["X-Correlation-ID"] = correlation_id
            return {name: value for name, value in found.items() if value and name.lower() not in present}
        except Exception as failure:  # noqa: BLE001  # the boundary; propagators may be the application's own
            boundary.failed("http client", failure)
            return {}

    def _record(self, error: Exception) -> None:
        """Without the secrets of the URL, which requests' and urllib3's errors repeat."""
        hidden = self._prepared.target.hidden
        if not hidden or not self.span.is_recording():
            super()._record(error)
            return
        message, stack = text_of(error), stack_of(error)
        for secret, shown in hidden:
            message, stack = message.replace(secret, shown), stack.replace(secret, shown)
        self.span.record_exception(error, {EXCEPTION_MESSAGE: message, EXCEPTION_STACKTRACE: stack})

    def answered(self, status: Any, resends: int = 0) -> None:
        """The answer's status has come, after so many requests more than one. Never raises."""
        if not isinstance(status, int):
            return
        self._status = status
        span = self.span
        span.set_attribute(HTTP_RESPONSE_STATUS_CODE, int(status))
        if resends:
            span.set_attribute(HTTP_REQUEST_RESEND_COUNT, resends)
        if status >= FAILED:
            self.fail(str(int(status)))

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Ends the span and counts the request."""
        # An exception after an answer is how a client tells of that answer.
        super().__exit__(exc_type, None if self._status else exc_val, exc_tb)
        try:
            if self._status:
                status = str(int(self._status))
            elif exc_val is None:
                status = "ok"
            else:
                status = "error" if isinstance(exc_val, Exception) else "cancelled"
            prepared = self._prepared
            service, operation = operations.labels(prepared.method, prepared.target.service, prepared.target.path)
            external_apis().call(service, operation, status, self.seconds)
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("http client", failure)


def begin(method: Any, url: Any, *, traced: bool = True) -> Outgoing | None:
    """A request that is to be watched; None if it is not, or is the same one seen by another library below.

    `url` may be a library's own kind. Never raises. Without `traced`, somebody else makes the span.
    """
    try:
        context = get_current()
        if context.get(_SUPPRESS_INSTRUMENTATION_KEY):
            return None
        if traced and context.get(_SUPPRESS_HTTP_INSTRUMENTATION_KEY):
            return None  # where somebody else makes the span, it is they who say so, around this very request
        if not isinstance(method, str) or url is None:
            return None  # the library is about to say what is wrong
        method = method.upper()
        text = str(url)
        prepare = prepared_of if len(text) <= _LONGEST_REMEMBERED else prepared_of.__wrapped__
        prepared = prepare(requests.settings.redaction, method, text)
        # A body may be read from another server meanwhile: only the same request is the same call.
        if context.get(HTTP) == prepared.mark:
            return None
        return Outgoing(prepared, traced)
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("http client", failure)
        return None


def repetitions(answer: Any) -> int:
    """How often urllib3 sent a request again before this answer of its."""
    return len(getattr(getattr(answer, "retries", None), "history", None) or ())


@functools.lru_cache(maxsize=512)
def prepared_of(redaction: Redaction, method: str, url: str) -> Prepared:
    """What requests of that method to that URL have in common."""
    return Prepared(method, target_of(redaction, url))


def target_of(redaction: Redaction, url: str) -> Target:
    """Takes a URL apart. One that cannot be has no address."""
    try:
        scheme, authority, path, query, _fragment = urlsplit(url)
    except ValueError:
        return Target("", "", None, "unknown", "")
    asked = path
    if not authority:  # a mistake, such as a URL without its scheme, whose user and password are here
        path = path.rpartition("@")[2]
    user, _, authority = authority.rpartition("@")
    address, port = server_of(authority, scheme)
    service = address or "unknown"
    if port is not None and (scheme, port) not in _DEFAULT_PORTS:
        service = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    safe = redaction.text(_SECRET_PARTS.sub(REDACTED, path))
    safe_query = _redacted_query(redaction, query) if query else ""
    full = f"{scheme}://{authority}{safe}" + (f"?{safe_query}" if query else "")
    hidden = [(f"{user}@", ""), (query, safe_query), (asked, safe)]
    return Target(
        truncated(full),
        address,
        port,
        service,
        operation_path(safe),
        tuple((secret, shown) for secret, shown in hidden if secret not in {shown, "@"}),
    )


def operation_path(path: str) -> str:
    """`/users/jo@shop.example/orders/7f3a-2026` as `/users/{id}/orders/{id}`; empty if it is too long for a label."""
    found = _NAMES.sub("{id}", normalised(path or "/"))
    return found if len(found) <= _LONGEST_PATH else ""


def _redacted_query(redaction: Redaction, query: str) -> str:
    """The query without the values of parameters whose names say that they are secret."""
    parts = []
    for part in query.split("&"):
        name, equals, value = part.partition("=")
        told = unquote_plus(name)
        if value and (told.lower() in _SIGNATURES or redaction.is_secret(told)):
            value = REDACTED
        parts.append(f"{name}{equals}{value if value == REDACTED else redaction.text(value)}")
    return "&".join(parts)


operations = Operations()
