"""Loki and Elasticsearch as far as their documentation says what they take, because neither is to be had as a package.

Both are real HTTP servers that refuse what the real ones would refuse:

- Loki: https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs
- Elasticsearch: https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk and the pages of
  `_ilm/policy` and `_index_template`; OpenSearch: https://docs.opensearch.org/latest/im-plugin/ism/api/

What they do not show is anything that those pages leave out: limits that a deployment sets, or how fast they are.
"""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, Any] | tuple[int, Any, dict[str, str]]


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class LogServer:
    """What both share: requests as they came, replies that a test puts before the server's own, and the socket."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.replies: list[Reply | None] = []  # used up one a request; None and none: the server's own
        self.url = ""

    def answer(self, asked: Asked) -> Reply:
        raise NotImplementedError

    def reply(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        planned = self.replies.pop(0) if self.replies else None
        return planned or self.answer(asked)


@dataclass
class Entry:
    labels: dict[str, str]
    time_ns: int
    line: str
    metadata: dict[str, str]


class LokiServer(LogServer):
    """Keeps entries by tenant."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[str, list[Entry]] = {}

    def answer(self, asked: Asked) -> Reply:
        if (asked.method, asked.path) != ("POST", "/loki/api/v1/push"):
            return 404, "404 page not found"
        if asked.headers.get("content-type") != "application/json":
            return 400, "snappy: corrupt input"
        try:
            entries = self._entries(json.loads(asked.body))
        except (ValueError, TypeError, KeyError, AssertionError) as error:
            return 400, f"loghttp.PushRequest: {error!r}"
        self.entries.setdefault(asked.headers.get("x-scope-orgid", "fake"), []).extend(entries)
        return 204, None

    @staticmethod
    def _entries(request: Any) -> list[Entry]:
        assert set(request) == {"streams"}
        entries = []
        for stream in request["streams"]:
            assert set(stream) == {"stream", "values"}
            labels = stream["stream"]
            assert 0 < len(labels) <= 15
            for name, value in labels.items():
                assert re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name), name
                assert isinstance(value, str)
                assert 0 < len(value) <= 2_048
            for time_ns, line, *metadata in stream["values"]:
                assert isinstance(time_ns, str)
                assert isinstance(line, str)
                assert len(line.encode()) <= 256 * 1024, "line too long"
                found = metadata[0] if metadata else {}
                assert all(isinstance(value, str) for value in found.values())
                entries.append(Entry(labels, int(time_ns), line, found))
        return entries


@dataclass
class ElasticServer(LogServer):
    """Keeps documents by index and id, templates and policies by name.

    `judge` says what becomes of a document that would be taken: (status, kind of error).
    """

    distribution: str = "elasticsearch"
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    policies: dict[str, Any] = field(default_factory=dict)
    templates: dict[str, Any] = field(default_factory=dict)
    judge: Callable[[dict[str, Any]], tuple[int, str]] = lambda _document: (201, "")

    def __post_init__(self) -> None:
        LogServer.__init__(self)

    def all(self) -> list[dict[str, Any]]:
        return [document for index in self.documents.values() for document in index.values()]

    def answer(self, asked: Asked) -> Reply:
        path, _, query = asked.path.partition("?")
        if path == "/" and asked.method == "GET":
            return 200, {"version": {"number": "9.2.0", **self._kind()}}
        if path == "/_bulk" and asked.method == "POST":
            return self._bulk(asked, query)
        kinds = {"/_index_template/": self.templates}
        kinds["/_plugins/_ism/policies/" if self.distribution == "opensearch" else "/_ilm/policy/"] = self.policies
        for prefix, kept in kinds.items():
            if path.startswith(prefix):
                return self._named(asked, path.removeprefix(prefix), kept)
        return 400, {"error": f"no handler found for uri [{path}] and method [{asked.method}]", "status": 400}

    def _kind(self) -> dict[str, str]:
        return {"distribution": "opensearch"} if self.distribution == "opensearch" else {"build_flavor": "default"}

    def _named(self, asked: Asked, name: str, kept: dict[str, Any]) -> Reply:
        if asked.method == "GET":
            return (200, {name: kept[name]}) if name in kept else (404, {"error": "resource_not_found_exception"})
        wanted = json.loads(asked.body)
        if kept is self.templates:
            assert set(wanted) <= {"index_patterns", "priority", "template", "_meta"}, wanted
            assert set(wanted["template"]) <= {"settings", "mappings", "aliases"}
        elif self.distribution == "opensearch":
            self._check_ism(wanted["policy"])
            if name in kept:
                return 409, {"error": {"type": "version_conflict_engine_exception"}}
        else:
            for phase in wanted["policy"]["phases"].values():
                assert re.fullmatch(r"\d+(d|h|m|s|ms)", phase["min_age"])
        kept[name] = wanted
        return 200, {"acknowledged": True}

    @staticmethod
    def _check_ism(policy: dict[str, Any]) -> None:
        states = {state["name"]: state for state in policy["states"]}
        assert policy["default_state"] in states
        for state in states.values():
            for transition in state["transitions"]:
                assert transition["state_name"] in states
                assert re.fullmatch(r"\d+[dhms]", transition["conditions"]["min_index_age"])

    def _bulk(self, asked: Asked, query: str) -> Reply:
        if asked.headers.get("content-type") not in {"application/x-ndjson", "application/json"}:
            return 406, {"error": "Content-Type header is not supported"}
        if not asked.body.endswith(b"\n"):
            return 400, {"error": {"type": "illegal_argument_exception", "reason": "must be terminated by a newline"}}
        lines = asked.body.split(b"\n")[:-1]
        items = []
        for action_line, document_line in zip(lines[::2], lines[1::2], strict=True):
            ((verb, where),) = json.loads(action_line).items()
            assert verb == "create", "data streams take nothing else"
            assert set(where) <= {"_index", "_id"}
            items.append({verb: self._create(where, document_line)})
        if "filter_path" in query:
            items = [{verb: {key: item[key] for key in ("status", "error") if key in item}} for (verb, item) in
                     (next(iter(each.items())) for each in items)]  # fmt: skip
        return 200, {"errors": any(item["create"]["status"] >= 300 for item in items), "items": items}

    def _create(self, where: dict[str, str], line: bytes) -> dict[str, Any]:
        index, name = where["_index"], where["_id"]
        try:
            document = json.loads(line)
            datetime.fromisoformat(document["@timestamp"])
        except (ValueError, KeyError):
            return _failed(where, 400, "document_parsing_exception")
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,254}", index):
            return _failed(where, 400, "invalid_index_name_exception")
        kept = self.documents.setdefault(index, {})
        if name in kept:
            return _failed(where, 409, "version_conflict_engine_exception")
        status, kind = self.judge(document)
        if status != 201:
            return _failed(where, status, kind)
        kept[name] = document
        return {**where, "status": 201, "result": "created"}


def _failed(where: dict[str, str], status: int, kind: str) -> dict[str, Any]:
    return {**where, "status": status, "error": {"type": kind, "reason": f"because of {kind}"}}


@contextmanager
def running(server: LogServer) -> Iterator[None]:
    """Serves at `server.url`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            if headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            try:
                status, told, *more = server.reply(Asked(self.command, self.path, headers, body))
            except AssertionError as error:
                status, told, more = 400, {"error": f"refused: {error!r}"}, []
            answer = b"" if told is None else told.encode() if isinstance(told, str) else json.dumps(told).encode()
            self.send_response(status)
            for name, value in {**(more[0] if more else {}), "content-length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = handle_any  # noqa: N815  # http.server's names

        def log_message(self, *_args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
