"""Index template and lifecycle policy, made once where there are none: so that log indices are mapped well, and end.

Elasticsearch calls it index lifecycle management (`_ilm/policy`,
https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-ilm-put-lifecycle), OpenSearch index state
management (`_plugins/_ism/policies`, https://docs.opensearch.org/latest/im-plugin/ism/api/); `GET /` tells which of
both answers. What is there already is left as it is. A refusal is said once, and the lines go on without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import urllib3

from watchkeeper.export.boundary import boundary
from watchkeeper.export.transport import OK, Answer

Ask = Callable[[str, str, bytes | None, float], "urllib3.BaseHTTPResponse | Answer"]

_NOT_FOUND, _CONFLICT = 404, 409
_BUSY = frozenset({429, 502, 503, 504})
_INTERVAL_DAYS = {"daily": 1, "weekly": 7, "monthly": 31}
_PRIORITY = 500  # above Elasticsearch's own template for logs-*-*, which would make data streams of our indices


class _RefusedError(Exception):
    """The server will not have it."""


class _BusyError(Exception):
    """To be tried again."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer


class Lifecycle:
    """Makes them for indices `<index>-<date>`, which are deleted `keep_days` after their last day."""

    def __init__(self, url: str, index: str, interval: str, keep_days: float, ask: Ask) -> None:
        self._url = url
        self._index = index
        self._age = f"{round((keep_days + _INTERVAL_DAYS[interval]) * 24)}h"  # an index' age begins with its first day
        self._ask = ask

    def make(self, timeout_seconds: float) -> Answer | None:
        """Makes what is missing; an answer if that is to be tried again."""
        try:
            opensearch = self._is_opensearch(timeout_seconds)
            if opensearch:
                self._ensure(f"_plugins/_ism/policies/{self._index}", self._ism_policy(), timeout_seconds)
            else:
                self._ensure(f"_ilm/policy/{self._index}", self._ilm_policy(), timeout_seconds)
            self._ensure(f"_index_template/{self._index}", self._template(opensearch), timeout_seconds)
        except _BusyError as busy:
            return busy.answer
        except _RefusedError as refused:
            boundary.say_once(
                f"lifecycle of {self._index}",
                f"watchkeeper could not make a lifecycle policy and a template for {self._index}-*, and sends lines"
                f" without them: {refused}",
            )
        return None

    def _is_opensearch(self, timeout_seconds: float) -> bool:
        response = self._answer("GET", "", None, timeout_seconds)
        if response.status not in OK:
            raise _RefusedError(_told("GET /", response))
        try:
            return bool(orjson.loads(response.data)["version"].get("distribution") == "opensearch")
        except (ValueError, LookupError, TypeError, AttributeError):
            raise _RefusedError("what answers is neither Elasticsearch nor OpenSearch") from None

    def _ensure(self, path: str, wanted: dict[str, Any], timeout_seconds: float) -> None:
        found = self._answer("GET", path, None, timeout_seconds)
        if found.status in OK:
            return
        if found.status != _NOT_FOUND:
            raise _RefusedError(_told(f"GET {path}", found))
        made = self._answer("PUT", path, orjson.dumps(wanted), timeout_seconds)
        if made.status not in OK and made.status != _CONFLICT:  # another process was faster
            raise _RefusedError(_told(f"PUT {path}", made))

    def _answer(self, method: str, path: str, body: bytes | None, timeout_seconds: float) -> urllib3.BaseHTTPResponse:
        response = self._ask(method, f"{self._url}/{path}", body, timeout_seconds)
        if isinstance(response, Answer):
            raise _BusyError(response)
        if response.status in _BUSY:
            raise _BusyError(Answer(False, retry=True, reason=f"http_{response.status}", detail=_told(path, response)))
        return response

    def _ilm_policy(self) -> dict[str, Any]:
        phases = {
            "hot": {"min_age": "0ms", "actions": {"set_priority": {"priority": 100}}},
            "delete": {"min_age": self._age, "actions": {"delete": {}}},
        }
        return {"policy": {"phases": phases}}

    def _ism_policy(self) -> dict[str, Any]:
        ageing = {"state_name": "delete", "conditions": {"min_index_age": self._age}}
        return {
            "policy": {
                "description": "Log lines, deleted by their age",
                "default_state": "hot",
                "states": [
                    {"name": "hot", "actions": [], "transitions": [ageing]},
                    {"name": "delete", "actions": [{"delete": {}}], "transitions": []},
                ],
                "ism_template": [{"index_patterns": [self._pattern], "priority": _PRIORITY}],
            }
        }

    def _template(self, opensearch: bool) -> dict[str, Any]:
        settings: dict[str, Any] = {"index.mapping.ignore_malformed": True}  # else one odd number loses the whole line
        if not opensearch:
            settings["index.lifecycle.name"] = self._index
        texts = {"match_mapping_type": "string", "mapping": {"type": "keyword", "ignore_above": 1_024}}
        mappings = {
            "dynamic_templates": [{"texts": texts}],
            "properties": {"@timestamp": {"type": "date"}, "message": {"type": "text"}},
        }
        return {
            "index_patterns": [self._pattern],
            "priority": _PRIORITY,
            "template": {"settings": settings, "mappings": mappings},
        }

    @property
    def _pattern(self) -> str:
        # With the century: patterns of two services, `shop` and `shop-eu`, must not meet.
        return f"{self._index}-20*"


def _told(asked: str, response: urllib3.BaseHTTPResponse) -> str:
    return f"{asked} was answered by {response.status} {response.data[:300].decode('utf-8', 'replace')}".rstrip()
