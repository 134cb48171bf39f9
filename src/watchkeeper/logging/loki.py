"""Lines to Grafana Loki: its push API (https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs).

JSON, because protobuf would need snappy; Loki takes both alike. A stream is one level of one service, so that there are
few; everything else is in the line, and the ids to find it by are structured metadata.

Loki keeps what it can of a request and answers 400 for the rest, telling how many lines of a stream were too old; where
it does not tell, the whole request is counted as lost, though a part may be there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import orjson
import urllib3

from watchkeeper.export.options import SignalOptions
from watchkeeper.export.transport import OK, Answer, Endpoint
from watchkeeper.logging.levels import severity_of
from watchkeeper.logging.line import NAMES, JsonLines, json_of
from watchkeeper.logging.record import Record
from watchkeeper.logging.server_options import LokiOptions, basic_authorization
from watchkeeper.options import ServiceOptions

PUSH = "/loki/api/v1/push"
LONGEST_LINE = 256 * 1024  # bytes: Loki's default `max_line_size`
_LONGEST_LABEL = 1_024  # characters: half of what Loki takes
_RETRYABLE = frozenset({429, *range(500, 600)})  # a 500 is an ingester that was away
_IGNORED = re.compile(r"total ignored: (\d{1,9}) out of \d{1,9}")
_REASONS = (("too far behind", "out_of_order"), ("out of order", "out_of_order"), ("too old", "too_old"))


class LokiEncoder:
    """Encodes batches for one service."""

    def __init__(self, options: LokiOptions, service: ServiceOptions) -> None:
        self._line = JsonLines(service, NAMES[options.format])
        named = {"service": service.name, "environment": service.environment, **options.labels}
        self._labels = {name: value[:_LONGEST_LABEL] for name, value in named.items() if value}
        self._metadata = options.metadata
        self._heads: dict[str, bytes] = {}  # by level, of which there are eight

    def encode(self, records: Sequence[Record]) -> bytes:
        """A push request; the lines of each stream are in the order of their times."""
        streams: dict[str, list[bytes]] = {}
        for record in sorted(records, key=lambda record: record.time_ns):
            level = severity_of(record.level).name
            values = streams.get(level)
            if values is None:
                values = streams[level] = []
            values.append(self._value(record))
        encoded = [b"%b%b]}" % (self._head(level), b",".join(values)) for level, values in streams.items()]
        return b'{"streams":[%b]}' % b",".join(encoded)

    def _head(self, level: str) -> bytes:
        head = self._heads.get(level)
        if head is None:
            head = b'{"stream":%b,"values":[' % json_of({**self._labels, "level": level})
            self._heads[level] = head
        return head

    def _value(self, record: Record) -> bytes:
        line = self._line(record)
        if len(line) > LONGEST_LINE:
            left_out = {"fields_left_out": len(record.fields)}
            line = self._line(record._replace(fields=left_out, failure=None))
        text = orjson.dumps(line[:-1].decode())
        metadata = json_of(_ids(record)) if self._metadata else b"{}"
        return b'["%d",%b]' % (record.time_ns, text if metadata == b"{}" else b"%b,%b" % (text, metadata))


def _ids(record: Record) -> dict[str, str]:
    ids = {}
    if record.trace_id:
        ids = {"trace_id": f"{record.trace_id:032x}", "span_id": f"{record.span_id:016x}"}
    if record.request_id:
        ids["request_id"] = record.request_id
    if record.correlation_id and record.correlation_id != record.request_id:
        ids["correlation_id"] = record.correlation_id
    return ids


class Loki(Endpoint):
    """The way there."""

    def __init__(self, options: LokiOptions, user_agent: str) -> None:
        url = options.url.rstrip("/")
        headers = {"content-type": "application/json"}
        if options.tenant:
            headers["x-scope-orgid"] = options.tenant
        if options.username:
            headers["authorization"] = basic_authorization(options.username, options.password)
        target = SignalOptions(
            url if url.endswith("/push") else url + PUSH,
            headers={**headers, **options.headers},
            timeout_seconds=options.timeout_seconds,
            certificate=options.certificate,
        )
        super().__init__(target, user_agent)

    def read(self, response: urllib3.BaseHTTPResponse, body: bytes) -> Answer:  # noqa: ARG002  # Loki tells no more
        """What Loki's response means."""
        if response.status in OK:
            return Answer(delivered=True)
        told = response.data[:2_000].decode("utf-8", "replace").strip()
        refusal = self.refusal(response, _RETRYABLE, told)
        if refusal.retry:
            return refusal
        reason = next((name for words, name in _REASONS if words in told), refusal.reason)
        ignored = sum(map(int, _IGNORED.findall(told)))
        if ignored:
            return Answer(delivered=True, rejected=ignored, reason=reason, detail=refusal.detail)
        return refusal._replace(reason=reason)
