"""Routes that change what is stored, for administrators who have allowed them."""

from __future__ import annotations

from http import HTTPStatus

from watchkeeper_server.api.prometheus.answering import Answer
from watchkeeper_server.api.prometheus.errors import RequestError, naming
from watchkeeper_server.api.prometheus.parameters import Parameters
from watchkeeper_server.api.prometheus.queries import PrometheusQueries
from watchkeeper_server.promql.parser import parse_selector


class AdminRoutes:
    """Deletes and copies, where that is allowed."""

    def __init__(self, queries: PrometheusQueries, *, allowed: bool) -> None:
        self._queries = queries
        self._allowed = allowed

    def delete_series(self, parameters: Parameters) -> Answer:
        """Delete the samples that any of the selectors select, of a range if one is given."""
        self._check_allowed()
        if not parameters.texts("match[]"):
            raise RequestError("no match[] parameter provided")
        range_ms = parameters.range_ms()
        with naming("match[]"):
            selectors = [parse_selector(text) for text in parameters.texts("match[]")]
        self._queries.delete(selectors, *range_ms)
        return Answer()

    def clean_tombstones(self, _: Parameters) -> Answer:
        """Free the space of what was deleted."""
        self._check_allowed()
        self._queries.clean_tombstones()
        return Answer()

    def snapshot(self, _: Parameters) -> Answer:
        """Copy everything to a new folder, and name it."""
        self._check_allowed()
        return Answer({"name": self._queries.snapshot()})

    def _check_allowed(self) -> None:
        if not self._allowed:
            raise RequestError("admin APIs disabled", "unavailable", HTTPStatus.FORBIDDEN)
