"""Prometheus' HTTP API as an ASGI application: `/api/v1/…` and `/federate`.

Clients written for Prometheus see no difference: its parameters, its answers, its words. What it documents at
https://prometheus.io/docs/prometheus/latest/querying/api/ is therefore not documented here again.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route

from watchkeeper_server.api.asking import Asking
from watchkeeper_server.api.prometheus.admin_routes import AdminRoutes
from watchkeeper_server.api.prometheus.answering import Answering, answer_elsewhere
from watchkeeper_server.api.prometheus.facts import ServerFacts
from watchkeeper_server.api.prometheus.federate import FederateRoutes
from watchkeeper_server.api.prometheus.options import PrometheusApiOptions
from watchkeeper_server.api.prometheus.queries import PrometheusQueries
from watchkeeper_server.api.prometheus.query_routes import QueryRoutes
from watchkeeper_server.api.prometheus.series_routes import SeriesRoutes
from watchkeeper_server.api.prometheus.status_routes import StatusRoutes
from watchkeeper_server.api.prometheus.target_routes import TargetRoutes
from watchkeeper_server.model.targets import Targets

PREFIX = "/api/v1"
FEDERATE = "/federate"

_GET = ("GET",)
_GET_AND_FORM = ("GET", "POST")
_CHANGE = ("POST", "PUT")


def create_prometheus_api(
    queries: PrometheusQueries,
    targets: Callable[[], Targets],
    facts: Callable[[], ServerFacts],
    options: PrometheusApiOptions | None = None,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    stopwatch: Callable[[], float] = time.perf_counter,
) -> Starlette:
    """The application.

    Args:
        queries: what is asked.
        targets: what is scraped.
        facts: what the server knows of itself.
        options: what is allowed.
        now_ms: the time, Unix milliseconds.
        stopwatch: measures seconds.
    """
    options = options or PrometheusApiOptions()
    # what the process itself knows does not wait for those who ask the store
    asked, known = Answering(Asking()), Answering(Asking())
    query = QueryRoutes(queries, now_ms, stopwatch, experimental=options.experimental)
    series = SeriesRoutes(queries)
    target = TargetRoutes(targets, facts)
    status = StatusRoutes(queries, facts, now_ms, admin=options.admin, experimental=options.experimental)
    admin = AdminRoutes(queries, allowed=options.admin)
    table = [
        (asked, _GET_AND_FORM, "/query", query.query),
        (asked, _GET_AND_FORM, "/query_range", query.query_range),
        (asked, _GET_AND_FORM, "/query_exemplars", query.query_exemplars),
        (known, _GET_AND_FORM, "/format_query", query.format_query),
        (known, _GET_AND_FORM, "/parse_query", query.parse_query),
        (asked, _GET_AND_FORM, "/series", series.series),
        (asked, _GET_AND_FORM, "/labels", series.labels),
        (asked, _GET, "/label/{name}/values", series.label_values),
        (asked, _GET, "/metadata", series.metadata),
        (known, _GET, "/targets", target.targets),
        (known, _GET, "/targets/metadata", target.metadata),
        (known, _GET, "/scrape_pools", target.scrape_pools),
        (known, _GET, "/rules", status.rules),
        (known, _GET, "/alerts", status.alerts),
        (known, _GET, "/alertmanagers", status.alertmanagers),
        (known, _GET, "/status/config", status.config),
        (known, _GET, "/status/flags", status.flags),
        (known, _GET, "/status/buildinfo", status.build_info),
        (known, _GET, "/status/runtimeinfo", status.runtime_info),
        (asked, _GET, "/status/tsdb", status.tsdb),
        (known, _GET, "/status/walreplay", status.wal_replay),
        (known, _GET, "/notifications", status.notifications),
        (known, _GET, "/features", status.features),
        (asked, _CHANGE, "/admin/tsdb/delete_series", admin.delete_series),
        (asked, _CHANGE, "/admin/tsdb/clean_tombstones", admin.clean_tombstones),
        (asked, _CHANGE, "/admin/tsdb/snapshot", admin.snapshot),
    ]
    routes = [Route(f"{PREFIX}{path}", place.endpoint(route), methods=methods) for place, methods, path, route in table]
    routes.append(Route(FEDERATE, asked.endpoint(FederateRoutes(queries, now_ms).federate), methods=_GET))
    return Starlette(routes=routes, exception_handlers={HTTPException: answer_elsewhere})
