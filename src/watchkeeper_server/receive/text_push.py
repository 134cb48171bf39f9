"""Metrics pushed as text, or in any format that targets expose: what batch jobs and scripts send.

`POST /api/v1/import/prometheus` is VictoriaMetrics' import, `/metrics/job/<job>{/<label>/<value>}` is Pushgateway's
API. Samples are stored as of when they arrive, unless they bring a time, with the labels in the address over those of
the same name in the body. A body is taken whole or, with the line at fault named, not at all.

Unlike a Pushgateway nothing is exposed again: a push is one sample of each series, which queries see for five minutes
as they do any other, and which `last_over_time` finds for as long as it is retained. So PUT and POST do the same, and
DELETE finds nothing to delete. When a group was last pushed tells its `push_time_seconds`.

Sources: https://github.com/prometheus/pushgateway#api,
https://docs.victoriametrics.com/victoriametrics/single-server-victoriametrics/ ("import data in Prometheus format")
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

from watchkeeper_server.receive.bodies import IncomingBody
from watchkeeper_server.receive.exposition.exposed import ExpositionError
from watchkeeper_server.receive.exposition.push import parse_to_write_request
from watchkeeper_server.receive.exposition.write_request import encode_metadata, encode_sample, series_head
from watchkeeper_server.receive.plain_http import Receive, Scope, Send, decompressed_body, headers_of, refuse, respond
from watchkeeper_server.receive.refusal import Reason, RefusedError
from watchkeeper_server.receive.remote_write import SIGNAL, RemoteWriteReceiver
from watchkeeper_server.receive.sample_labels import characters

IMPORT_PATH = "/api/v1/import/prometheus"
# VictoriaMetrics has Pushgateway's API below its import, too.
_GROUP_PATH = re.compile(rf"({IMPORT_PATH})?/metrics/job(@base64)?(/.*)?", re.DOTALL)
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_IN_BASE64 = "@base64"
_PUSH_TIME = "push_time_seconds"
# Labels given to a whole push are written out with each of its series: a character counts as so many of the body.
_LABEL_COST = 16


def is_push(path: str) -> bool:
    """Whether a path is one of these."""
    return path == IMPORT_PATH or _GROUP_PATH.fullmatch(path) is not None


class TextPush:
    """An ASGI application for the paths that `is_push`."""

    def __init__(self, receiver: RemoteWriteReceiver, now_ns: Callable[[], int]) -> None:
        """Write through this receiver."""
        self._receiver = receiver
        self._now_ns = now_ns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path, method = scope["path"], scope["method"]
        grouped = path != IMPORT_PATH
        methods = ("PUT", "POST", "DELETE") if grouped else ("POST",)
        if method not in methods:
            allowed = ", ".join(methods)
            await respond(send, 405, f"{path} takes {allowed}, not {method}", {"allow": allowed})
            return
        with IncomingBody(receive, self._receiver.intake) as incoming:
            await self._push(scope, incoming, send, grouped=grouped)

    async def _push(self, scope: Scope, incoming: IncomingBody, send: Send, *, grouped: bool) -> None:
        try:
            labels = group_labels(scope["path"]) if grouped else {}
            if scope["method"] == "DELETE":
                await respond(send, 202, "")
                return
            message = await self._store(scope, incoming, labels, grouped=grouped)
        except ConnectionResetError:
            return
        except RefusedError as error:
            await refuse(send, error, incoming)
            return
        if message:
            await respond(send, 400, message)
        else:
            await respond(send, 200 if grouped else 204, "")

    async def _store(self, scope: Scope, incoming: IncomingBody, labels: Mapping[str, str], *, grouped: bool) -> str:
        """Store a body; answers what of it was left out."""
        now_ns = self._now_ns()
        headers = headers_of(scope)
        try:
            time_ms, extra = _parameters(scope["query_string"], now_ns // 1_000_000)
            body = await decompressed_body(incoming, headers)
            given = {**extra, **labels}
            arguments = (body, headers.get("content-type", ""), time_ms, given)
            size = len(body) + _LABEL_COST * characters(given.items())
            request = await self._receiver.intake.run(size, parse_to_write_request, *arguments)
        except ExpositionError as error:
            self._receiver.events.refused(SIGNAL, Reason.MALFORMED.label, 0)
            raise RefusedError(Reason.MALFORMED, str(error)) from error
        except RefusedError as error:
            self._receiver.events.refused(SIGNAL, error.reason.label, error.items)
            raise
        if grouped:
            head = series_head([("__name__", _PUSH_TIME), *labels.items()])
            request += encode_sample(head, now_ns / 1e9, now_ns // 1_000_000)
            request += encode_metadata(_PUSH_TIME, "gauge", "When this group was last pushed.", "")
        written = await self._receiver.receive(request)
        return written.message


def group_labels(path: str) -> dict[str, str]:
    """The labels that a Pushgateway path gives to all that is pushed to it: `/metrics/job/backup/instance/db-1`.

    Raises:
        RefusedError: it is no such path.
    """
    parts = path.partition("/metrics/")[2].split("/")
    labels: dict[str, str] = {}
    if len(parts) % 2:
        raise _malformed(f"{path} does not end with a label's value; write /metrics/job/<job>/<label>/<value>")
    for written, text in zip(parts[0::2], parts[1::2], strict=True):
        name = written.removesuffix(_IN_BASE64)
        if not _LABEL.fullmatch(name):
            raise _malformed(f"{name!r} in {path} is not a label's name, or begins with the reserved __")
        if name in labels:
            raise _malformed(f"the label {name!r} is twice in {path}")
        labels[name] = text if name == written else _from_base64(name, text)
    if not labels.get("job"):
        raise _malformed(f"{path} has no job; write /metrics/job/<job>")
    return {name: value for name, value in labels.items() if value}


def _from_base64(name: str, text: str) -> str:
    """A value in base64 for addresses (RFC 4648, 5); padding may be missing, and = alone is the empty value."""
    try:
        bare = text.rstrip("=")
        return base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise _malformed(f"the value of {name}{_IN_BASE64}, {text!r}, is not text in base64 for addresses") from error


def _parameters(query: bytes, now_ms: int) -> tuple[int, dict[str, str]]:
    """The time of samples that bring none, and labels for all."""
    time_ms, labels = now_ms, {}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        match name:
            case "timestamp":
                if not re.fullmatch(r"[0-9]{1,15}", value):
                    raise _malformed(f"timestamp is {value!r}; write Unix milliseconds")
                time_ms = int(value)
            case "extra_label":
                label, separator, text = value.partition("=")
                if not label or not separator:
                    raise _malformed(f"extra_label is {value!r}; write extra_label=<name>=<value>")
                labels[label] = text
    return time_ms, labels


def _malformed(message: str) -> RefusedError:
    return RefusedError(Reason.MALFORMED, message)
