"""Routes that say how the server is set up and how it is doing."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable

from watchkeeper_server.api.prometheus.answering import Answer
from watchkeeper_server.api.prometheus.errors import RequestError, invalid_parameter
from watchkeeper_server.api.prometheus.facts import ServerFacts
from watchkeeper_server.api.prometheus.parameters import Parameters, parse_whole_number
from watchkeeper_server.api.prometheus.queries import PrometheusQueries
from watchkeeper_server.model.times import format_time
from watchkeeper_server.promql.quoting import quote
from watchkeeper_server.promql.signatures import AGGREGATIONS, SIGNATURES

PROMETHEUS_VERSION = "3.9.0"
"""Whose API this is. Clients such as Grafana decide by it what they may ask."""

_DEFAULT_LIMIT, _MAX_LIMIT = 10, 10_000
_UNLIMITED_BYTES = 2**63 - 1
_RULE_TYPES = ("", "alert", "record")


class StatusRoutes:
    """Shows the server itself."""

    def __init__(
        self,
        queries: PrometheusQueries,
        facts: Callable[[], ServerFacts],
        now_ms: Callable[[], int],
        *,
        admin: bool,
        experimental: bool,
    ) -> None:
        """`admin` and `experimental` say what the rest of the API allows."""
        self._queries = queries
        self._facts = facts
        self._now_ms = now_ms
        self._admin = admin
        self._experimental = experimental

    def config(self, _: Parameters) -> Answer:
        """The scrape configuration in force."""
        return Answer({"yaml": self._facts().config_yaml})

    def flags(self, _: Parameters) -> Answer:
        """The options the server was started with."""
        return Answer(dict(sorted(self._facts().flags.items())))

    def build_info(self, _: Parameters) -> Answer:
        """Which Prometheus this is like, and which Watchkeeper it is."""
        return Answer(
            {
                "version": PROMETHEUS_VERSION,
                "revision": f"watchkeeper-{self._facts().version}",
                "branch": "",
                "buildUser": "",
                "buildDate": "",
                "goVersion": "",
            }
        )

    def runtime_info(self, _: Parameters) -> Answer:
        """The process; what only a program in Go has is said as one without limits would."""
        facts = self._facts()
        return Answer(
            {
                "startTime": format_time(facts.started_ns),
                "CWD": os.getcwd(),  # noqa: PTH109  a text
                "hostname": socket.gethostname(),
                "serverTime": format_time(self._now_ms() * 1_000_000),
                "reloadConfigSuccess": facts.config_current,
                "lastConfigTime": format_time(facts.config_loaded_ns),
                "corruptionCount": facts.corruptions,
                "goroutineCount": threading.active_count(),
                "GOMAXPROCS": len(os.sched_getaffinity(0)),
                "GOMEMLIMIT": _UNLIMITED_BYTES,
                "GOGC": "",
                "GODEBUG": "",
                "storageRetention": facts.retention,
            }
        )

    def tsdb(self, parameters: Parameters) -> Answer:
        """How much is stored, and where it comes from."""
        return Answer(self._queries.tsdb_status(_ranking_limit(parameters.text("limit"))))

    def wal_replay(self, _: Parameters) -> Answer:
        """Always done: queries are answered while the journal is replayed."""
        return Answer({"min": 0, "max": 0, "current": 0})

    def notifications(self, _: Parameters) -> Answer:
        """What an administrator should know: a configuration that cannot be used."""
        facts = self._facts()
        if facts.config_current:
            return Answer([])
        date = format_time(self._now_ms() * 1_000_000)
        return Answer([{"text": "Configuration reload has failed.", "date": date, "active": True}])

    def features(self, _: Parameters) -> Answer:
        """What can be asked of this server, by kind."""
        functions = {name: self._experimental or not signature.experimental for name, signature in SIGNATURES.items()}
        operators = {name: self._experimental or not signature.experimental for name, signature in AGGREGATIONS.items()}
        return Answer(
            {
                "api": {
                    "admin": self._admin,
                    "label_values_match": True,
                    "otlp_write_receiver": True,
                    "query_stats": True,
                    "query_warnings": True,
                    "remote_write_receiver": True,
                    "time_range_labels": True,
                    "time_range_series": True,
                },
                "promql_functions": dict(sorted(functions.items())),
                "promql_operators": dict(sorted(operators.items())),
            }
        )

    def rules(self, parameters: Parameters) -> Answer:
        """Rule groups, of which there are none."""
        kind = parameters.text("type").lower()
        if kind not in _RULE_TYPES:
            raise invalid_parameter("type", f"not supported value {quote(kind)}")
        parameters.selectors()
        return Answer({"groups": []})

    def alerts(self, _: Parameters) -> Answer:
        """Alerts of rules, of which there are none."""
        return Answer({"alerts": []})

    def alertmanagers(self, _: Parameters) -> Answer:
        """Alertmanagers that alerts are sent to, of which there are none."""
        return Answer({"activeAlertmanagers": [], "droppedAlertmanagers": []})


def _ranking_limit(text: str) -> int:
    try:
        limit = parse_whole_number(text) if text else _DEFAULT_LIMIT
    except ValueError:
        limit = 0
    if limit < 1:
        raise RequestError("limit must be a positive number")
    if limit > _MAX_LIMIT:
        raise RequestError(f"limit must not exceed {_MAX_LIMIT}")
    return limit
