"""Lines to Elasticsearch or OpenSearch: their bulk API, which is the same.

https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk,
https://docs.opensearch.org/latest/api-reference/document-apis/bulk/. Each document is created under an id of our own:
data streams take nothing else, and a batch that is sent twice, because its answer was lost, is there once.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

import orjson
import urllib3

from watchkeeper.export.options import SignalOptions
from watchkeeper.export.transport import OK, Answer, Endpoint, Payload, Refused
from watchkeeper.logging.lifecycle import Lifecycle
from watchkeeper.logging.line import NAMES, JsonLines, json_of
from watchkeeper.logging.record import Record
from watchkeeper.logging.server_options import ElasticsearchOptions, basic_authorization
from watchkeeper.options import ServiceOptions

_RETRYABLE = frozenset({429, 502, 503, 504})
_CONFLICT = 409  # a document of that id is there: an earlier try has put it there
_ANSWER = "filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason"
_MOST_REASONS = 32
_DAY_NS = 86_400_000_000_000


def index_of(options: ElasticsearchOptions, service: ServiceOptions) -> str:
    """The index' name without a date."""
    if options.index:
        return options.index
    name = re.sub(r"[^a-z0-9._-]+", "-", service.name.lower()).strip("._-")[:200]
    return f"logs-{name or 'unknown_service'}"


class BulkEncoder:
    """Encodes batches for one service."""

    def __init__(self, options: ElasticsearchOptions, service: ServiceOptions) -> None:
        self._document = JsonLines(service, NAMES[options.format])
        self._index = index_of(options, service)
        self._interval = options.interval
        self._day = (-1, b"")  # of the newest document, and the beginning of its action
        self._process = uuid.uuid4().hex
        self._number = count()

    def encode(self, records: Sequence[Record]) -> bytes:
        """A bulk request: two lines a document."""
        parts = []
        for record in records:
            parts.append(b'%b%x"}}\n' % (self._action(record.time_ns // _DAY_NS), next(self._number)))
            parts.append(self._document(record))
        return b"".join(parts)

    def _action(self, day: int) -> bytes:
        known, action = self._day
        if known != day:
            index = json_of(self._index + date_suffix(self._interval, day))
            action = b'{"create":{"_index":%b,"_id":"%b-' % (index, self._process.encode())
            self._day = (day, action)
        return action


def date_suffix(interval: str, day: int) -> str:
    """What an index' name ends with, for a day counted from 1970, in UTC."""
    if interval == "none":
        return ""
    date = datetime.fromtimestamp(day * 86_400, UTC)
    if interval == "weekly":
        year, week, _ = date.isocalendar()
        return f"-{year}.w{week:02}"
    return date.strftime("-%Y.%m.%d" if interval == "daily" else "-%Y.%m")


class Elasticsearch(Endpoint):
    """The way there; the first batch waits until template and policy are made, if they are wanted."""

    def __init__(self, options: ElasticsearchOptions, service: ServiceOptions, user_agent: str) -> None:
        headers = {"content-type": "application/x-ndjson"}
        if options.api_key:
            headers["authorization"] = f"ApiKey {options.api_key}"
        elif options.username:
            headers["authorization"] = basic_authorization(options.username, options.password)
        url = options.url.rstrip("/")
        target = SignalOptions(
            f"{url}/_bulk?{_ANSWER}",
            headers={**headers, **options.headers},
            timeout_seconds=options.timeout_seconds,
            certificate=options.certificate,
        )
        super().__init__(target, user_agent)
        self._lifecycle = (
            Lifecycle(url, index_of(options, service), options.interval, options.keep_days, self.ask)
            if options.keep_days
            else None
        )
        self._reasons: set[str] = set()

    def post(self, body: bytes, timeout_seconds: float) -> Answer:
        """Sends a batch."""
        if self._lifecycle is not None:
            trouble = self._lifecycle.make(timeout_seconds)
            if trouble is not None:
                return trouble
            self._lifecycle = None
        return super().post(body, timeout_seconds)

    def read(self, response: urllib3.BaseHTTPResponse, body: bytes) -> Answer:
        """What became of each document."""
        if response.status not in OK:
            return self.refusal(response, _RETRYABLE, response.data[:500].decode("utf-8", "replace"))
        try:
            answer = orjson.loads(response.data)
            if not answer["errors"]:
                return Answer(delivered=True)
            outcomes = [_outcome(item) for item in answer["items"]]
        except (ValueError, LookupError, TypeError, AttributeError):
            return Answer(
                delivered=False,
                reason="unreadable_answer",
                detail="what answers is neither Elasticsearch nor OpenSearch",
            )
        return self._partial(outcomes, body)

    def _partial(self, outcomes: list[tuple[int, str, str]], body: bytes) -> Answer:
        lines = body.split(b"\n")
        again: list[bytes] = []
        refused: dict[str, Refused] = {}
        for at, (status, kind, why) in enumerate(outcomes):
            if status in OK or status == _CONFLICT:
                continue
            if status in _RETRYABLE:
                again += lines[2 * at : 2 * at + 2]
                continue
            reason = self._reason(kind)
            known = refused.get(reason)
            refused[reason] = Refused(1, reason, why) if known is None else known._replace(items=known.items + 1)
        told = tuple(refused.values())
        if not again:
            return Answer(delivered=True, refused=told)
        waiting = Payload(b"\n".join(again) + b"\n", len(again) // 2)
        return Answer(delivered=False, retry=True, reason="http_429", refused=told, again=waiting)

    def _reason(self, kind: str) -> str:
        """The kind of an error as a label, of which there may be few."""
        if kind not in self._reasons:
            if len(self._reasons) >= _MOST_REASONS or not re.fullmatch(r"\w{1,64}", kind, re.ASCII):
                return "rejected"
            self._reasons.add(kind)
        return kind


def _outcome(item: dict[str, Any]) -> tuple[int, str, str]:
    """Status, kind of error and its reason."""
    result = next(iter(item.values()))
    error = result.get("error") or {}
    return int(result["status"]), str(error.get("type", "")), str(error.get("reason", ""))[:500]
