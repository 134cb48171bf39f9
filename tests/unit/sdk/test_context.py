"""What belongs to a request, where one thread serves one request after another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import watchkeeper as wk
from support.wsgi import call
from watchkeeper.testing import Captured


def serve(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/login":
        wk.bind_context(user_id="u-7")
    wk.get_logger("app").info("served")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]


def test_a_wsgi_requests_correlation_id_is_kept_returned_and_on_every_line(seen: Captured) -> None:
    app = wk.instrument(serve)
    given = call(app, headers=[("X-Correlation-ID", "work-7")])
    made = call(app)
    assert {name.lower(): value for name, value in given.headers.items()}["x-correlation-id"] == "work-7"
    headers = {name.lower(): value for name, value in made.headers.items()}
    assert headers["x-correlation-id"] == headers["x-request-id"]  # the work begins here
    lines = [record for record in seen.records if record.message == "served"]
    assert [line.correlation_id for line in lines] == ["work-7", lines[1].request_id]


def test_what_a_wsgi_request_binds_is_not_the_next_ones(seen: Captured) -> None:
    app = wk.instrument(serve)
    call(app, "/login")
    call(app, "/other")
    lines = [record for record in seen.records if record.message == "served"]
    assert [line.fields for line in lines] == [{"user_id": "u-7"}, {}]
