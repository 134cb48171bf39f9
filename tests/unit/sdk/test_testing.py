"""What applications' own tests use."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from flask import Flask

import watchkeeper as wk
from watchkeeper import testing
from watchkeeper.client import running_client
from watchkeeper.testing import Captured, FakeClock, SequentialIds

PLUGIN = 'pytest_plugins = ["watchkeeper.testing.plugin"]\n'
log = wk.get_logger("shop")


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    yield
    wk.shutdown(0.0)


def test_a_trace_is_told_as_a_tree(seen: Captured) -> None:
    with wk.span("order", order_id=7):
        with wk.span("reserve"), wk.span("look up", shelf="a"):
            pass
        with pytest.raises(LookupError), wk.span("charge"):
            raise LookupError("no card")
    with wk.span("tidy up"):
        pass
    assert seen.tree() == "order\n  reserve\n    look up\n  charge [LookupError]\ntidy up"
    assert seen.tree("order_id", "shelf").splitlines()[:3] == [
        "order order_id=7",
        "  reserve",
        "    look up shelf='a'",
    ]


def test_children_stand_in_the_order_of_their_starts_though_the_clock_stands_still() -> None:
    clock = FakeClock()
    with testing.capture(clock=clock.clock(), ids=SequentialIds()) as seen, wk.span("root"):
        with wk.span("first"):
            pass
        with wk.span("second"):
            pass
    assert seen.tree() == "root\n  first\n  second"


def test_spans_of_two_thousand_floors_are_told_too() -> None:
    with testing.capture() as seen:
        spans: list[Any] = []
        for at in range(2_000):
            span = wk.span(f"floor {at}")
            span.__enter__()
            spans.append(span)
        for span in reversed(spans):
            span.__exit__(None, None, None)
    assert len(seen.tree().splitlines()) == 2_000


def test_a_missing_span_is_told_with_those_that_there_are(seen: Captured) -> None:
    with wk.span("order"), wk.span("charge"):
        pass
    with pytest.raises(AssertionError) as failure:
        seen.span("refund")
    assert str(failure.value) == "0 spans are named 'refund'. Spans:\n  order\n    charge"


def test_a_missing_line_is_told_with_those_that_there_are(seen: Captured) -> None:
    log.info("order placed", order_id=7)
    try:
        raise LookupError("no card")
    except LookupError:
        log.exception("charge failed")
    assert seen.line("order placed", order_id=7).fields == {"order_id": 7}
    with pytest.raises(AssertionError) as failure:
        seen.line("order placed", order_id=8)
    assert str(failure.value) == (
        "0 lines say 'order placed order_id=8'. Lines:\n"
        "  info shop: order placed order_id=7\n"
        "  error shop: charge failed [LookupError: no card]"
    )


def test_nothing_is_told_as_none(seen: Captured) -> None:
    assert seen.describe() == "Spans: none\nLines: none\nErrors: none"


def test_metrics_are_counted_from_the_beginning_of_the_capture() -> None:
    orders = wk.counter("testing_orders_total", "", ["status", "shop"])
    seconds = wk.histogram("testing_seconds")
    orders.labels("paid", "a").inc(40)
    with testing.capture() as seen:
        orders.labels("paid", "a").inc()
        orders.labels("paid", "b").inc(2)
        orders.labels("refused", "a").inc(3)
        seconds.observe(0.25)
        assert seen.increase("testing_orders_total", status="paid") == 3
        assert seen.increase("testing_orders_total", status="paid", shop="a") == 1
        assert seen.increase("testing_orders_total") == 6
        assert (seen.increase("testing_seconds_count"), seen.increase("testing_seconds_sum")) == (1, 0.25)
        assert seen.increase("testing_never_total") == 0
        seen.clear()
        assert seen.increase("testing_orders_total") == 0
    assert Captured.metric("testing_orders_total", status="paid", shop="a") == 41


def test_errors_are_found_by_their_class_or_message() -> None:
    with testing.capture() as seen:
        try:
            raise LookupError("no card")
        except LookupError as error:
            wk.capture_exception(error)
        wk.capture_message("half full")
    assert seen.error("LookupError").category
    assert seen.error("half full").exceptions == ()
    with pytest.raises(AssertionError, match=r"0 errors are 'KeyError'\. Errors:\n  error .*: LookupError: no card"):
        seen.error("KeyError")


def test_an_error_is_seen_by_each_capture_of_its_own() -> None:
    for _ in range(2):
        with testing.capture() as seen:
            try:
                raise LookupError("no card")
            except LookupError as error:
                wk.capture_exception(error)
        assert len(seen.errors) == 1


def test_an_application_that_configures_itself_meanwhile_is_captured(tmp_path: Path) -> None:
    options = wk.Options(
        service=wk.ServiceOptions("shop"),
        logs=wk.LogOptions(level=10, file=wk.FileOptions(str(tmp_path / "app.log"))),
        enabled=False,
    )
    with testing.capture() as seen:
        wk.configure(options)
        running = running_client()
        wk.configure(options)
        assert running_client() is running
        with wk.span("order"):
            log.debug("placed")
    assert (seen.tree(), seen.messages()) == ("order", ["placed"])
    assert list(tmp_path.iterdir()) == []


def test_what_ran_before_runs_again_afterwards(capfd: pytest.CaptureFixture[str]) -> None:
    options = wk.Options(export={}, logs=wk.LogOptions(format="json"))
    wk.configure(options)
    with testing.capture() as seen:
        log.info("captured")
    running = running_client()
    assert running is not None
    assert running.options == options
    log.info("printed")
    wk.flush()
    assert seen.messages() == ["captured"]
    assert "printed" in capfd.readouterr().out


def test_a_capture_within_another_sees_for_itself() -> None:
    with testing.capture() as outer:
        with wk.span("before"):
            pass
        with testing.capture() as inner, wk.span("within"):
            pass
        with wk.span("after"):
            pass
    assert [span.name for span in outer.spans] == ["before", "after"]
    assert [span.name for span in inner.spans] == ["within"]
    assert running_client() is None


def test_what_is_bound_ends_with_the_capture() -> None:
    with testing.capture() as first:
        wk.bind_context(tenant_id="acme")
        log.info("first")
    with testing.capture() as second:
        log.info("second")
    assert first.line("first", tenant_id="acme")
    assert "tenant_id" not in second.line("second").fields


async def test_a_coroutine_is_captured_like_a_function() -> None:
    with testing.capture() as seen:

        @wk.traced(name="settle")
        async def settle() -> None:
            log.info("settled")

        await settle()
    assert seen.tree() == "settle"
    assert seen.line("settled").span_id == seen.span("settle").span_id


def test_threads_are_captured_too(seen: Captured) -> None:
    def work() -> None:
        with wk.span("in a thread"):
            log.info("said in a thread")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen.tree() == "in a thread"
    assert seen.messages() == ["said in a thread"]


def test_requests_of_fastapis_client_are_seen(seen: Captured) -> None:
    app = FastAPI()

    @app.post("/orders/{order_id}")
    def place(order_id: int) -> None:
        log.info("order placed", order_id=order_id)

    wk.instrument(app)
    with TestClient(app) as client:
        client.post("/orders/7")
    assert seen.tree("http.response.status_code") == "POST /orders/{order_id} http.response.status_code=200"
    assert seen.line("order placed").fields == {"order_id": 7}
    assert seen.increase("http_requests_total", route="/orders/{order_id}") == 1


def test_requests_of_flasks_client_are_seen(seen: Captured) -> None:
    app = Flask(__name__)

    @app.post("/orders/<int:order_id>")
    def place(order_id: int) -> str:
        log.info("order placed", order_id=order_id)
        return ""

    wk.instrument(app)
    app.test_client().post("/orders/7").close()
    assert seen.tree() == "POST /orders/{order_id}"
    assert seen.line("order placed").fields == {"order_id": 7}


def run_pytest(folder: Path, test: str, conftest: str = PLUGIN) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(conftest)
    (folder / "test_shop.py").write_text(textwrap.dedent(test))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def test_requests_of_an_instrumented_django_application_are_seen(tmp_path: Path) -> None:
    done = run_pytest(
        tmp_path,
        """
        import django
        from django.conf import settings

        settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x", LOGGING_CONFIG=None)
        django.setup()

        import watchkeeper as wk
        from django.core.wsgi import get_wsgi_application
        from django.http import HttpResponse
        from django.urls import path
        from werkzeug.test import Client

        def place(request, order_id):
            wk.get_logger("shop").info("order placed", order_id=order_id)
            return HttpResponse(status=201)

        urlpatterns = [path("orders/<int:order_id>", place)]
        application = wk.instrument(get_wsgi_application())

        def test_an_order(seen):
            assert Client(application).post("/orders/7").get_data() == b""
            assert seen.tree() == "POST /orders/{order_id}"
            assert seen.line("order placed").fields == {"order_id": 7}
        """,
    )
    assert done.returncode == 0, done.stdout


def test_the_guide_runs_as_it_stands(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[3] / "docs/guides/testing.md").read_text()
    conftest, *blocks = re.findall(r"^```python\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    shop = """
        import pytest
        from fastapi import FastAPI
        from fastapi.testclient import TestClient
        import watchkeeper as wk

        log = wk.get_logger("shop")

        @pytest.fixture
        def client():
            app = FastAPI()
            orders = wk.counter("orders_total", "Orders by how they ended", ["status"])

            @app.post("/orders", status_code=201)
            def place():
                orders.labels("paid").inc()
                log.info("order placed", order_id=7)

            return TestClient(wk.instrument(app))
        """
    done = run_pytest(tmp_path, textwrap.dedent(shop) + "\n".join(blocks), conftest)
    assert done.returncode == 0, done.stdout
    assert f"{guide.count('def test_')} passed" in done.stdout


def test_the_plugin_gives_pytest_its_fixtures(tmp_path: Path) -> None:
    done = run_pytest(
        tmp_path,
        """
        import pytest
        import watchkeeper as wk

        @pytest.fixture
        def watchkeeper_options():
            return wk.Options(logs=wk.LogOptions(level=30, stream="off"))

        def test_baking(seen, fake_clock, sequential_ids):
            log = wk.get_logger("shop")
            with wk.span("bake") as span:
                fake_clock.advance(90)
                log.info("in the oven")
                log.warning("burning")
            assert (span.span_id, span.end_time - span.start_time) == (1, 90_000_000_000)
            assert seen.messages() == ["burning"]

        def test_nothing_is_left_of_the_one_before(seen):
            assert seen.describe() == "Spans: none\\nLines: none\\nErrors: none"
        """,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_a_failed_test_tells_what_was_seen(tmp_path: Path) -> None:
    done = run_pytest(
        tmp_path,
        """
        import watchkeeper as wk

        def test_baking(seen):
            with wk.span("bake"):
                wk.get_logger("shop").info("in the oven", cakes=2)
            assert False
        """,
    )
    assert done.returncode == 1
    report = done.stdout.partition("Captured by Watchkeeper")[2]
    assert "Spans:\n  bake\n" in report
    assert "info shop: in the oven cakes=2" in report


def test_importing_the_plugin_loads_no_library_that_an_application_might_not_have(tmp_path: Path) -> None:
    code = "import sys, watchkeeper.testing.plugin; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"openai", "anthropic", "mcp", "fastapi", "flask", "django", "sqlalchemy", "grpc"} & set(modules)
