"""Routes that say which series, labels and metrics there are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from watchkeeper_server.api.prometheus.answering import Answer
from watchkeeper_server.api.prometheus.errors import RequestError, naming
from watchkeeper_server.api.prometheus.parameters import Parameters
from watchkeeper_server.api.prometheus.queries import PrometheusQueries
from watchkeeper_server.api.prometheus.query_routes import TRUNCATED
from watchkeeper_server.api.prometheus.results import sorted_labels
from watchkeeper_server.promql.quoting import quote

T = TypeVar("T")

_ESCAPED = re.compile(r"U__((?:[^_]|__|_[0-9a-fA-F]{1,5}_)*)", re.DOTALL)
_ESCAPE = re.compile(r"__|_([0-9a-fA-F]{1,5})_")
_SURROGATE = re.compile("[\ud800-\udfff]")
# what the server makes of bytes in an address that are no text
_NOT_UTF8 = "\ufffd"


class SeriesRoutes:
    """Looks up what is stored."""

    def __init__(self, queries: PrometheusQueries) -> None:
        self._queries = queries

    def series(self, parameters: Parameters) -> Answer:
        """The series that any of the selectors select."""
        if not parameters.texts("match[]"):
            raise RequestError("no match[] parameter provided")
        limit, range_ms = parameters.limit(), parameters.range_ms()
        with naming("match[]"):
            selectors = parameters.selectors()
        found = self._queries.series(selectors, *range_ms, _one_more(limit))
        kept, warnings = _truncated(found, limit)
        return Answer([sorted_labels(labels) for labels in kept], warnings)

    def labels(self, parameters: Parameters) -> Answer:
        """Label names."""
        limit, range_ms = parameters.limit(), parameters.range_ms()
        found = self._queries.label_names(parameters.selectors(), *range_ms, _one_more(limit))
        return Answer(*_truncated(found, limit))

    def label_values(self, parameters: Parameters) -> Answer:
        """The values of a label."""
        name = unescaped(parameters.path["name"])
        if not name or _NOT_UTF8 in name:
            raise RequestError(f"invalid label name: {quote(name)}")
        limit, range_ms = parameters.limit(), parameters.range_ms()
        found = self._queries.label_values(name, parameters.selectors(), *range_ms, _one_more(limit))
        return Answer(*_truncated(found, limit))

    def metadata(self, parameters: Parameters) -> Answer:
        """What metrics say of themselves."""
        limit, limit_per_metric = parameters.optional_limit("limit"), parameters.optional_limit("limit_per_metric")
        if limit == 0:
            return Answer({})
        return Answer(self._queries.metadata(parameters.text("metric") or None, limit or 0, limit_per_metric or 0))


def unescaped(name: str) -> str:
    """The name that `U__` and escapes stand for, `__` for `_` and `_2e_` for a dot; any other name is itself.

    Source: https://prometheus.io/docs/instrumenting/escaping_schemes/.
    """
    escaped = _ESCAPED.fullmatch(name)
    if escaped is None:
        return name
    written = _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)) if escape[1] else "_", escaped[1])
    # half of a surrogate pair is no character
    return name if _SURROGATE.search(written) else written


def _one_more(limit: int) -> int:
    """One past the limit tells that there are more."""
    return limit + 1 if limit else 0


def _truncated(found: Sequence[T], limit: int) -> tuple[Sequence[T], Sequence[str]]:
    if 0 < limit < len(found):
        return found[:limit], [TRUNCATED]
    return found, []
