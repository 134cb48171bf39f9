"""The JSON API as an ASGI application: `docs/api.md` describes it, `model/answers.py` its answers.

Questions are asked in threads, a bounded number at a time, and their answers are made into JSON there too, so that the
event loop is never kept from serving others. An answer is not checked against its type on the way out: tests do that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.resources import files

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse

from watchkeeper_server.api import routes
from watchkeeper_server.api.asking import Asking
from watchkeeper_server.api.problems import RESPONSES, install_problems
from watchkeeper_server.api.tails import Tails
from watchkeeper_server.model.answers import ServerStatus
from watchkeeper_server.query.queries import Queries

PREFIX = "/api/wk"

_SUMMARY = "Everything the page shows. Times are RFC 3339, durations nanoseconds, ids lower-case hex."
# The document's page needs nothing but itself and this API.
_DOCS_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"


def create_api(
    queries: Queries,
    status: Callable[[], ServerStatus],
    now_ns: Callable[[], int] = time.time_ns,
    tails: Tails | None = None,
) -> FastAPI:
    """The application, under `/api/wk`.

    Args:
        queries: what is asked.
        status: the server's own condition.
        now_ns: the time that relative times count from.
        tails: live tails, for the caller to close when the server stops.
    """
    app = FastAPI(
        title="Watchkeeper",
        summary=_SUMMARY,
        version="1",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,  # FastAPI's own fetches scripts from another site
        redoc_url=None,
        responses=RESPONSES,
    )
    install_problems(app)
    asking = Asking()
    router = APIRouter(prefix=PREFIX)
    routes.add_services(router, queries.services, asking, now_ns)
    routes.add_traces(router, queries.traces, asking, now_ns)
    routes.add_logs(router, queries.logs, asking, now_ns, tails or Tails())
    routes.add_metrics(router, queries.metrics, asking, now_ns)
    routes.add_status(router, status, asking)
    app.include_router(router)

    docs = (files("watchkeeper_server.api") / "docs.html").read_text()

    @app.get(f"{PREFIX}/docs", include_in_schema=False)
    async def read_docs() -> HTMLResponse:
        return HTMLResponse(docs, headers={"Content-Security-Policy": _DOCS_POLICY})

    return app
