"""What is told at /health and below, by whom, and where the application's own routes win."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import flask
import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import watchkeeper as wk
from support.health import no_checks_left
from support.sdk import Response, eventually, request
from support.wsgi import call
from watchkeeper import HealthOptions, LogOptions, Options, ServiceOptions
from watchkeeper.endpoints import MOST_THREADS, Answer, Answering, Asked, Endpoint, answering, endpoints
from watchkeeper.health.monitor import monitor
from watchkeeper.health.registry import registry
from watchkeeper.integrations.claims import claims
from watchkeeper.integrations.part import requests
from watchkeeper.testing import FakeClock, capture

BELOW = ("", "/live", "/ready", "/startup", "/status", "/metrics", "/checks/stock")


def options(**health: Any) -> Options:
    return Options(
        service=ServiceOptions("shop", version="1.2"),
        logs=LogOptions(stream="off"),
        health=HealthOptions(**{"checks": (), **health}),
    )


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    monitor.lifespan("")  # other tests may have left it shutting down
    monitor._draining = False
    with no_checks_left():
        yield
    monitor._draining = False


@pytest.fixture
def stock() -> dict[str, Any]:
    """What the critical check `stock` finds; change it and ask anew."""
    state: dict[str, Any] = {"status": "healthy"}
    wk.health_check("stock", critical=True)(lambda: dict(state))
    return state


async def bare(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"the application's own"})


def bare_wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"the application's own"]


def asgi(app: Any) -> Callable[[str], Response]:
    served = wk.instrument(app)
    return lambda path: asyncio.run(request(served, path))


def wsgi(app: Any) -> Callable[[str], Any]:
    served = wk.instrument(app)
    return lambda path: call(served, path)


APPLICATIONS: dict[str, Callable[[], Callable[[str], Any]]] = {
    "asgi": lambda: asgi(bare),
    "wsgi": lambda: wsgi(bare_wsgi),
    "fastapi": lambda: asgi(FastAPI()),
    "starlette, wrapped": lambda: asgi(GZipMiddleware(Starlette())),
    "flask": lambda: wsgi(flask.Flask("shop")),
}


@pytest.mark.parametrize("kind", APPLICATIONS)
def test_all_seven_endpoints_answer_under_any_application(kind: str, stock: dict[str, Any]) -> None:
    with capture(options()):
        ask = APPLICATIONS[kind]()
        answers = {path: ask(f"/health{path}") for path in BELOW}
    assert [answer.status for answer in answers.values()] == [200] * 7
    kinds = {path: answer.headers["content-type"] for path, answer in answers.items()}
    metrics = kinds.pop("/metrics")
    assert set(kinds.values()) == {"application/health+json"}
    assert metrics.startswith("text/plain")
    assert b'watchkeeper_health_status{check="stock",critical="true"} 1.0' in answers["/metrics"].body
    assert json.loads(answers[""].body) == {"status": "pass", "score": 100.0}
    assert answers[""].headers["cache-control"] == "no-store"


@pytest.mark.parametrize("kind", APPLICATIONS)
def test_what_is_not_ours_is_the_applications(kind: str, stock: dict[str, Any]) -> None:
    with capture(options()):
        ask = APPLICATIONS[kind]()
        assert [ask(path).status for path in ("/health/", "/health/checks/other", "/healthy", "/")] == [404] * 4
    assert ask("/health").status == 404  # after shutdown


@pytest.mark.parametrize(
    ("found", "health", "ready", "words"),
    [
        ({"status": "healthy"}, 200, 200, "pass"),
        ({"status": "degraded", "message": "slow"}, 200, 200, "warn"),
        ({"status": "unhealthy", "message": "gone"}, 503, 503, "fail"),
    ],
)
def test_status_codes_follow_the_checks_but_never_those_of_live_and_startup(
    found: dict[str, Any], health: int, ready: int, words: str, stock: dict[str, Any]
) -> None:
    stock.update(found)
    with capture(options()):
        ask = asgi(bare)
        codes = {path: ask(f"/health{path}").status for path in BELOW}
        assert json.loads(ask("/health").body)["status"] == words
    assert codes == {
        "": health,
        "/live": 200,
        "/ready": ready,
        "/startup": 200,
        "/status": health,
        "/metrics": 200,
        "/checks/stock": health,
    }


def test_a_check_that_is_not_critical_fails_only_by_itself() -> None:
    wk.health_check("mail")(lambda: False)
    with capture(options()):
        ask = wsgi(bare_wsgi)
        codes = [ask(f"/health{path}").status for path in ("", "/ready", "/checks/mail")]
    assert codes == [200, 200, 503]


def test_details_are_kept_back_unless_they_are_asked_for(stock: dict[str, Any]) -> None:
    stock.update(status="degraded", message="db-7.internal is slow", rows=7)
    bodies = {}
    for details in ("always", "names", "never"):
        with capture(options(details=details)):
            ask = wsgi(bare_wsgi)
            bodies[details] = [json.loads(ask(f"/health{path}").body) for path in ("/status", "/checks/stock")]
    whole, one = bodies["always"]
    assert (whole["serviceId"], whole["version"], whole["status"]) == ("shop", "1.2", "warn")
    (stock_told,) = whole["checks"]["stock"]
    assert (stock_told["output"], stock_told["details"]) == ("db-7.internal is slow", {"rows": 7})
    assert one["output"] == "db-7.internal is slow"
    (named,) = bodies["names"][0]["checks"]["stock"]
    assert (named["status"], named["componentType"], named["critical"], named["observedUnit"]) == (
        "warn",
        "component",
        True,
        "ms",
    )
    assert "internal" not in json.dumps(bodies["names"])
    assert "rows" not in json.dumps(bodies["names"])
    assert bodies["never"] == [{"status": "warn", "score": 50.0}, {"status": "warn"}]


def test_ready_names_the_checks_that_fail_unless_names_are_kept_back(stock: dict[str, Any]) -> None:
    stock.update(status="unhealthy")
    outputs = []
    for details in ("names", "never"):
        with capture(options(details=details)):
            ask = wsgi(bare_wsgi)
            ask("/health")
            outputs.append(json.loads(ask("/health/ready").body)["output"])
    assert outputs == ["unhealthy: stock", "unhealthy"]


def test_values_that_json_cannot_say_do_not_break_the_answer(stock: dict[str, Any]) -> None:
    stock.update(status="degraded", message="\ud800", bytes=b"\xff", huge=2**70, nan=float("nan"))
    with capture(options(details="always")):
        body = json.loads(wsgi(bare_wsgi)("/health/status").body, parse_constant=pytest.fail)
    details = body["checks"]["stock"][0]["details"]
    assert (details["huge"], details["nan"]) == (str(2**70), None)


def test_startup_and_ready_wait_for_the_first_results(stock: dict[str, Any]) -> None:
    release = asyncio.Event()
    wk.health_check("slow")(release.wait)

    async def starting() -> None:
        served = wk.instrument(bare)
        for path in ("/health/startup", "/health/ready"):
            answer = await request(served, path)
            assert (answer.status, json.loads(answer.body)["output"]) == (503, "starting")
        assert (await request(served, "/health/live")).status == 200
        waiting = asyncio.create_task(request(served, "/health"))  # waits in a thread, and blocks nobody
        await asyncio.sleep(0.02)
        assert not waiting.done()
        release.set()
        assert (await waiting).status == 200
        assert [(await request(served, f"/health{path}")).status for path in ("/startup", "/ready")] == [200, 200]

    monitor._first_pass = False  # a process has only one first pass
    with capture(options()):
        asyncio.run(starting())


def test_nobody_waits_for_a_check_whose_first_result_does_not_come() -> None:
    async def nowhere() -> None: ...

    clock = FakeClock()
    monitor._serving = False
    with capture(options(), clock=clock.clock()):
        wk.health_check("nowhere")(nowhere)  # no loop is known that it could run on
        asked, endpoint = Asked("/health", "", ""), endpoints.by_path["/health"]
        monitor._loopless = False
        assert endpoint.now(asked) is None
        clock.advance(6.1)
        answer = endpoint.now(asked)
        assert answer is not None
        assert answer.status == 200


def test_startup_waits_for_the_lifespan_and_ready_ends_with_it(stock: dict[str, Any]) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    started = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await started.wait()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def receive() -> dict[str, Any]:
        return {"type": await told.get()}

    async def send(_message: Any) -> None: ...

    async def live() -> list[list[int]]:
        served = wk.instrument(app)
        life = asyncio.create_task(served({"type": "lifespan"}, receive, send))
        codes = []

        async def look() -> None:
            await asyncio.to_thread(monitor.wait)
            codes.append([(await request(served, f"/health{path}")).status for path in ("/startup", "/ready", "/live")])

        told.put_nowait("lifespan.startup")
        await asyncio.sleep(0.01)
        await look()
        started.set()
        await asyncio.sleep(0.01)
        await look()
        told.put_nowait("lifespan.shutdown")
        await asyncio.sleep(0.01)
        await look()
        await life
        return codes

    with capture(options()):
        codes = asyncio.run(live())
    assert codes == [[503, 503, 200], [200, 200, 200], [200, 503, 200]]


def test_an_application_that_knows_no_lifespan_is_started_all_the_same(stock: dict[str, Any]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise ValueError("which protocol is this?")

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.startup"}

    with capture(options()):
        served: Any = wk.instrument(app)
        with pytest.raises(ValueError, match="which protocol"):
            asyncio.run(served({"type": "lifespan"}, receive, None))
        wk.health(fresh=True)
        assert asyncio.run(request(served, "/health/startup")).status == 200


def test_drain_ends_readiness_and_nothing_else(stock: dict[str, Any]) -> None:
    with capture(options()):
        ask = wsgi(bare_wsgi)
        ask("/health")
        wk.drain()
        answer = ask("/health/ready")
        assert (answer.status, json.loads(answer.body)["output"]) == (503, "shutting down")
        assert [ask(f"/health{path}").status for path in ("", "/live", "/startup")] == [200, 200, 200]


def test_the_path_is_an_option_and_may_be_none(stock: dict[str, Any]) -> None:
    with capture(options(path="/internal/health")):
        ask = wsgi(bare_wsgi)
        assert [ask(path).status for path in ("/internal/health/ready", "/internal/health", "/health")] == [
            200,
            200,
            404,
        ]
    before = dict(endpoints.by_path)
    with capture(options(path="")):
        assert {path for path in endpoints.by_path if "health" in path} == set()
    assert endpoints.by_path == before


def test_a_check_has_its_endpoint_as_soon_as_it_is_registered_and_no_longer() -> None:
    with capture(options()):
        ask = wsgi(bare_wsgi)
        assert ask("/health/checks/late").status == 404
        wk.health_check("late")(lambda: None)
        assert ask("/health/checks/late").status == 200
        registry.remove("late")
        assert ask("/health/checks/late").status == 404


def test_head_and_other_methods_are_as_everywhere(stock: dict[str, Any]) -> None:
    with capture(options()):
        served = wk.instrument(bare)
        head = asyncio.run(request(served, "/health", "HEAD"))
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "31")
        assert asyncio.run(request(served, "/health", "POST")).body == b"the application's own"


def test_an_answer_is_rendered_once_after_each_change(stock: dict[str, Any]) -> None:
    asked = Asked("/health/status", "", "")
    with capture(options()):
        wk.health(fresh=True)
        endpoint = endpoints.by_path["/health/status"]
        one = endpoint.now(asked)
        assert endpoint.now(asked) is one
        wk.health(fresh=True)
        assert endpoint.now(asked) is not one


def test_metrics_tell_of_each_check_and_of_the_whole(stock: dict[str, Any]) -> None:
    stock.update(status="degraded")
    wk.health_check("mail")(lambda: False)
    with capture(options()) as seen:
        wk.health(fresh=True)
        assert seen.metric("watchkeeper_health_status", check="stock", critical="true") == 0.5
        assert seen.metric("watchkeeper_health_status", check="mail", critical="false") == 0
        assert seen.metric("watchkeeper_health_score") == 37.5
        seconds = seen.metric("watchkeeper_health_check_duration_seconds", check="stock")
        assert seconds is not None
        assert 0 < seconds < 5
    assert seen.metric("watchkeeper_health_score") is None  # nothing stale after shutdown


def test_metrics_are_openmetrics_for_who_wants_them(stock: dict[str, Any]) -> None:
    with capture(options()):
        served = wk.instrument(bare_wsgi)
        answer = call(served, "/health/metrics", headers=[("Accept", "application/openmetrics-text")])
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")


# The application's own routes


def own(_request: Any = None, **_params: Any) -> PlainTextResponse:
    return PlainTextResponse("the application's own")


def fastapi_with(path: str, beside: str = "/other", **more: Any) -> FastAPI:
    app = FastAPI()
    app.add_api_route(path, lambda: "the application's own", **more)
    app.add_api_route(beside, lambda: "a fallback")
    return app


def fastapi_with_router(path: str, beside: str = "/other") -> FastAPI:
    app, router = FastAPI(), APIRouter()
    router.add_api_route(f"/health{path}", lambda: "the application's own")
    router.add_api_route(beside, lambda: "a fallback")
    app.include_router(router)
    return app


def flask_with(rule: str, beside: str = "/other", **more: Any) -> flask.Flask:
    app = flask.Flask("shop")
    app.add_url_rule(rule, "own", lambda **_params: "the application's own", **more)
    app.add_url_rule(beside, "fallback", lambda **_params: "a fallback")
    return app


CLAIMED: dict[str, tuple[Callable[[], Any], str]] = {
    "route": (lambda: fastapi_with("/health/ready"), "/health/ready"),
    "route with a parameter": (lambda: fastapi_with("/health/{what}"), "/health/live"),
    "route with a slash": (lambda: fastapi_with("/health/"), "/health"),
    "included router": (lambda: fastapi_with_router("/status"), "/health/status"),
    "mount": (lambda: Starlette(routes=[Mount("/health", app=own)]), "/health/live"),
    "mounted route": (
        lambda: Starlette(routes=[Mount("/health", routes=[Route("/live", own)])]),
        "/health/live",
    ),
    "beside a fallback": (lambda: fastapi_with("/health", beside="/{path:path}"), "/health"),
    "beside a fallback in one router": (lambda: fastapi_with_router("/ready", "/{path:path}"), "/health/ready"),
    "beside a front end": (
        lambda: Starlette(routes=[Route("/health", own), Mount("/", app=StaticFiles(directory="docs"))]),
        "/health",
    ),
    "flask, beside a fallback": (lambda: flask_with("/health", beside="/<path:path>"), "/health"),
    "below a middleware": (lambda: GZipMiddleware(Starlette(routes=[Route("/health", own)])), "/health"),
    "flask": (lambda: flask_with("/health"), "/health"),
    "flask with a slash": (lambda: flask_with("/health/"), "/health"),
    "flask with a parameter": (lambda: flask_with("/health/<what>"), "/health/ready"),
}
NOT_CLAIMED: dict[str, tuple[Callable[[], Any], str]] = {
    "another route": (lambda: fastapi_with("/orders"), "/health"),
    "another method": (lambda: fastapi_with("/health", methods=["POST"]), "/health"),
    "any path": (lambda: fastapi_with("/{path:path}"), "/health/ready"),
    "any tenant": (lambda: fastapi_with("/{tenant}/status"), "/health/status"),
    "another below the mount": (
        lambda: Starlette(routes=[Mount("/health", routes=[Route("/live", own)])]),
        "/health/ready",
    ),
    "a front end at the root": (
        lambda: Starlette(routes=[Mount("/", app=StaticFiles(directory="docs"))]),
        "/health/live",
    ),
    "flask": (lambda: flask_with("/orders"), "/health"),
    "flask, any path": (lambda: flask_with("/<path:path>"), "/health/ready"),
    "flask, another method": (lambda: flask_with("/health", methods=["POST"]), "/health"),
    "nothing known": (lambda: bare, "/health"),
}


def ask_any(app: Any, path: str) -> Any:
    return (
        call(wk.instrument(app), path)
        if isinstance(app, flask.Flask)
        else asyncio.run(request(wk.instrument(app), path))
    )


@pytest.mark.parametrize("case", CLAIMED)
def test_a_route_of_the_applications_own_wins(case: str, stock: dict[str, Any]) -> None:
    make, path = CLAIMED[case]
    with capture(options()) as seen:
        answer = ask_any(make(), path)
        assert answer.headers.get("content-type") != "application/health+json"
        assert answer.status in {200, 307, 308, 404, 500}
        assert claims(make(), path, "app")
    assert seen.spans == []  # probes are not traced, whoever answers


@pytest.mark.parametrize("case", NOT_CLAIMED)
def test_what_takes_any_path_has_no_route_there(case: str, stock: dict[str, Any]) -> None:
    make, path = NOT_CLAIMED[case]
    with capture(options()):
        wk.health(fresh=True)
        answer = ask_any(make(), path)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/health+json")


def test_routes_are_asked_once_and_not_for_each_request(stock: dict[str, Any]) -> None:
    app = fastapi_with("/health/ready")
    asked = []
    matches = type(app.routes[-1]).matches

    class Counting(list[Any]):
        def __iter__(self) -> Any:
            asked.append(1)
            return super().__iter__()

    assert matches is not None
    with capture(options()):
        served = wk.instrument(GZipMiddleware(app))
        app.router.routes = Counting(app.router.routes)
        for _ in range(3):
            asyncio.run(request(served, "/health/live"))
        first = len(asked)
        asyncio.run(request(served, "/health/live"))
    assert len(asked) == first <= 3


def test_metrics_stay_ours_though_the_application_has_a_route_there() -> None:
    with capture():
        answer = ask_any(fastapi_with("/metrics"), "/metrics")
    assert b"# HELP" in answer.body


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WATCHKEEPER_HEALTH_PATH": "health"}, "health.path is 'health': it must start with /"),
        ({"WATCHKEEPER_HEALTH_PATH": "/health/"}, "and not end with one"),
        (
            {"WATCHKEEPER_HEALTH_DETAILS": "some"},
            "WATCHKEEPER_HEALTH_DETAILS is 'some': use one of always, names, never",
        ),
        ({"WATCHKEEPER_HEALTH_CHECKS": "cpu"}, "WATCHKEEPER_HEALTH_CHECKS has 'cpu': use some of memory, disk"),
        ({"WATCHKEEPER_HEALTH_INTERVAL": "10"}, "health.interval_seconds is 0.01: it must be between 0.1"),
        ({"WATCHKEEPER_HEALTH_INTERVAL": "soon"}, "WATCHKEEPER_HEALTH_INTERVAL is 'soon': it must be a number"),
    ],
)
def test_variables_that_cannot_be_used_are_named(environment: dict[str, str], message: str) -> None:
    with pytest.raises(wk.ConfigurationError, match=message):
        Options.from_environment(environment)


def test_variables_say_what_options_do() -> None:
    environment = {
        "WATCHKEEPER_HEALTH_PATH": "off",
        "WATCHKEEPER_HEALTH_DETAILS": "Always",
        "WATCHKEEPER_HEALTH_CHECKS": "memory, disk",
        "WATCHKEEPER_HEALTH_INTERVAL": "30000",
    }
    assert Options.from_environment(environment).health == HealthOptions("", "always", ("memory", "disk"), 30.0)
    assert Options.from_environment({"WATCHKEEPER_HEALTH_CHECKS": "none"}).health.checks == ()
    assert Options.from_environment({}).health == HealthOptions()


def test_the_built_in_checks_run_by_themselves() -> None:
    with capture(Options(logs=LogOptions(stream="off"))):
        found = wk.health(fresh=True)
        assert set(found.checks) == {"memory", "disk", "event_loop", "metrics_pipeline", "log_pipeline"}
        assert found.status != "unhealthy"
        wk.check_memory(warning=1e-9, limit=1e-9)
        found = wk.health(fresh=True)
        assert found.checks["memory"].status == "unhealthy"
        assert found.status == "degraded"


class Slow(Endpoint):
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()

    def answer(self, asked: Asked) -> Answer:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        self.go.wait(10)
        with self._lock:
            self._now -= 1
        return Answer(200, "text/plain", asked.path.encode())


@pytest.fixture
def slow() -> Iterator[Slow]:
    found = Slow()
    endpoints.add("/slow", found)
    yield found
    found.go.set()
    endpoints.remove("/slow")


@pytest.mark.usefixtures("seen")
async def test_whoever_waits_for_an_endpoint_takes_no_thread_of_the_application_s(slow: Slow) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    app = wk.instrument(bare)
    asked = [asyncio.create_task(request(app, "/slow")) for _ in range(MOST_THREADS + 4)]
    await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.to_thread(lambda: None), 5)
    slow.go.set()
    assert [(await each).body for each in asked] == [b"/slow"] * len(asked)
    assert slow.most <= MOST_THREADS
    eventually(lambda: not any(each.name == "watchkeeper-endpoint" for each in threading.enumerate()))


async def test_an_endpoint_s_failure_is_raised_where_somebody_waits_and_ends_no_thread() -> None:
    class Failing(Endpoint):
        def answer(self, asked: Asked) -> Answer:
            raise SystemExit(asked.path)

    threads = Answering()
    for path in ("/a", "/b"):
        with pytest.raises(SystemExit, match=path):
            await threads.answer(Failing(), Asked(path, "", ""))


async def test_a_forked_child_answers_though_its_parent_s_threads_are_gone(slow: Slow) -> None:
    asked = [asyncio.create_task(answering.answer(slow, Asked("/slow", "", ""))) for _ in range(MOST_THREADS)]
    await asyncio.sleep(0)
    requests.after_fork()
    here = Slow()
    here.go.set()
    assert (await asyncio.wait_for(answering.answer(here, Asked("/here", "", "")), 5)).body == b"/here"
    slow.go.set()
    await asyncio.gather(*asked)
    eventually(lambda: not any(each.name == "watchkeeper-endpoint" for each in threading.enumerate()))
    answering.restart()  # this is no child: the parent's threads have ended here, too
