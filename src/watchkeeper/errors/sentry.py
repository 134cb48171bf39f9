"""The way to a Sentry: envelopes over HTTP, as long as it wants them; or through sentry-sdk where that runs already.

https://develop.sentry.dev/sdk/foundations/transport/rate-limiting/: a server says for how long it takes no errors,
with any answer. What comes up meanwhile is dropped and counted, as Sentry's own SDKs do.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import urllib3

from watchkeeper.errors.event import ErrorEvent
from watchkeeper.errors.options import Dsn
from watchkeeper.export.options import SignalOptions
from watchkeeper.export.transport import OK, Answer, Endpoint, retry_after_seconds
from watchkeeper.tracing.api import VERSION

TIMEOUT_SECONDS = 10.0
CLIENT = f"watchkeeper-python/{VERSION}"
DEFAULT_LIMIT_SECONDS = 60.0  # of a 429 that does not say for how long
LONGEST_LIMIT_SECONDS = 86_400.0
_RETRYABLE = frozenset({502, 503, 504})


class SentryOutlet(Endpoint):
    """Posts envelopes to a project."""

    def __init__(self, dsn: Dsn, monotonic: Callable[[], float] = time.monotonic) -> None:
        keys = f"Sentry sentry_version=7, sentry_client={CLIENT}, sentry_key={dsn.public_key}"
        headers = {
            "content-type": "application/x-sentry-envelope",
            "x-sentry-auth": keys + (f", sentry_secret={dsn.secret_key}" if dsn.secret_key else ""),
        }
        super().__init__(SignalOptions(dsn.endpoint, headers, TIMEOUT_SECONDS, compression="gzip"), CLIENT)
        self._monotonic = monotonic
        self._limited_until = 0.0

    def post(self, body: bytes, timeout_seconds: float) -> Answer:
        """Sends an envelope, unless the server wants none now."""
        if self._monotonic() < self._limited_until:
            return Answer(delivered=False, reason="rate_limited_by_server", detail="Sentry asked to send no errors now")
        return super().post(body, timeout_seconds)

    def read(self, response: urllib3.BaseHTTPResponse, body: bytes) -> Answer:  # noqa: ARG002  # one event, or none
        """What Sentry's answer means."""
        limits = response.headers.get("x-sentry-rate-limits")
        limited = response.status == HTTPStatus.TOO_MANY_REQUESTS
        if limits is not None:
            seconds = limit_of_errors(limits)
        elif limited:
            after = retry_after_seconds(response.headers.get("retry-after"), time.time())
            seconds = DEFAULT_LIMIT_SECONDS if after is None else after
        else:
            seconds = 0.0
        if seconds:
            self._limited_until = self._monotonic() + seconds
        if response.status in OK:
            return Answer(delivered=True)
        if limited:
            return Answer(delivered=False, reason="rate_limited_by_server", detail=f"for {seconds:g} seconds")
        told = response.headers.get("x-sentry-error") or response.data[:200].decode("utf-8", "replace")
        return self.refusal(response, _RETRYABLE, told)


def limit_of_errors(header: str) -> float:
    """For how many seconds X-Sentry-Rate-Limits forbids errors: `60:error;transaction:key, 2700::organization`."""
    longest = 0.0
    for limit in header.split(","):
        seconds, _, rest = limit.strip().partition(":")
        categories = rest.partition(":")[0]
        if categories and "error" not in categories.split(";"):
            continue
        try:
            longest = max(longest, min(float(seconds), LONGEST_LIMIT_SECONDS))
        except ValueError:
            continue
    return longest


def running_sentry_sdk() -> Any:
    """The module sentry_sdk if the application has initialised it, else None."""
    module: Any = sys.modules.get("sentry_sdk")
    get_client = getattr(module, "get_client", None)
    return module if get_client is not None and get_client().is_active() else None


def hand_to_sentry_sdk(module: Any, event: ErrorEvent, error: BaseException | None, payload: dict[str, Any]) -> None:
    """Lets sentry-sdk tell of it, in the words of its own options. What it has seen itself it does not take again."""
    with module.new_scope() as scope:
        scope.set_tag("category", event.category)
        for name, value in event.tags.items():
            scope.set_tag(name, value)
        if event.user:
            scope.set_user(dict(event.user))
        if event.extra:
            scope.set_context("watchkeeper extra", dict(event.extra))
        trace = {"trace_id": f"{event.trace_id:032x}", "span_id": f"{event.span_id:016x}"} if event.trace_id else {}
        about = {"event_id": event.event_id, "fingerprint": event.fingerprint, **trace}
        scope.set_context("watchkeeper", about)
        if event.grouped_by_rule:
            scope.fingerprint = [event.fingerprint]
        if error is not None:
            module.capture_exception(error)
        else:
            module.capture_event(payload)
