"""Every example runs: those of docstrings (`Example:`), and the Python of the guides about the SDK and of the README.

Docstrings are run as doctest would, but that an expression without an expected value may have any, and that `…` stands
for the rest. They find the package as `wk`, its public names, and what an application would have: `app`, `client`,
`log`. A guide's blocks are run one after the other, as one program, and their functions named `test_…` are called. Each
runs in a process of its own.
"""

from __future__ import annotations

import ast
import dataclasses
import doctest
import inspect
import json
import os
import re
import signal
import textwrap
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import celery
import confluent_kafka
import pika
import pytest
import redis
import sqlalchemy
from fastapi import FastAPI, Response
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import watchkeeper
import watchkeeper as wk
from support.language_models import CHAT, MESSAGE, as_json, providing
from watchkeeper import testing

ROOT = Path(__file__).parents[3]
SOURCES = ROOT / "src/watchkeeper"
# That on testing is run by pytest itself, in test_testing.
GUIDES = [*sorted(set((ROOT / "docs/guides").glob("*.md")) - {ROOT / "docs/guides/testing.md"}), ROOT / "README.md"]
EXAMPLE = re.compile(r"^Example:\n((?:[ ]{4}.*\n|\s*\n)+)", re.MULTILINE)
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


ORDERS = "Orders by how they ended"


class Docstring(NamedTuple):
    """One with an example."""

    name: str
    example: str


def docstrings() -> Iterator[Docstring]:
    for path in sorted(SOURCES.rglob("*.py")):
        module = ".".join(path.relative_to(SOURCES).with_suffix("").parts)
        for name, node in _documented(ast.parse(path.read_text()), module):
            for found in EXAMPLE.finditer(inspect.cleandoc(ast.get_docstring(node) or "") + "\n"):
                yield Docstring(name, textwrap.dedent(found[1]))


def _documented(node: Any, name: str) -> Iterator[tuple[str, Any]]:
    yield name, node
    for child in node.body:
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _documented(child, f"{name}.{child.name}")


class Lenient(doctest.OutputChecker):
    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return not want or super().check_output(want.replace("…", "..."), got, optionflags)


class Declined(Exception):  # noqa: N818  # as the guides have it
    """A card is not good."""


class Order(NamedTuple):
    id: int = 7


def charge(order: Order) -> None:
    raise Declined(f"order {order.id}")


class NoMoreMessages(Exception):  # noqa: N818  # it ends a loop
    """The consumer of the guide on queues has nothing more."""


class Consumer:
    """Of one message, and then none."""

    def __init__(self) -> None:
        self._messages: list[Any] = [None, confluent_kafka.Message(topic="orders", value=b"order 7")]

    def poll(self, _seconds: float) -> Any:
        if not self._messages:
            raise NoMoreMessages
        return self._messages.pop()


def a_shop() -> FastAPI:
    """An application as the examples mean it."""
    app = FastAPI()
    log = wk.get_logger("shop")
    orders = wk.counter("orders_total", ORDERS, ["status"])

    @app.post("/orders", status_code=201)
    def place(response: Response) -> None:
        with wk.span("charge card"):
            orders.labels("paid").inc()
        log.info("order placed", order_id=7)
        response.headers["location"] = "/orders/7"

    return app


@pytest.fixture(scope="module")
def providers() -> Iterator[dict[str, str]]:
    """Variables by which clients of language models find somebody who answers."""
    with providing() as openai, providing() as anthropic:
        openai.answers, anthropic.answers = [as_json(CHAT)], [as_json(MESSAGE)]
        yield {
            "OPENAI_API_KEY": "example",
            "OPENAI_BASE_URL": f"{openai.url}/v1",
            "ANTHROPIC_API_KEY": "example",
            "ANTHROPIC_BASE_URL": anthropic.url,
        }


def namespace(folder: Path, variables: dict[str, str], seen: testing.Captured) -> dict[str, Any]:
    """What examples find: the package, an application with a client, a logger, and clients of what the shop uses."""
    os.chdir(folder)
    os.environ.update(variables)
    declaration = {"name": "orders_total", "type": "counter", "doc": ORDERS, "labels": ["status"]}
    (folder / "metrics.yaml").write_text(json.dumps([declaration]))  # which YAML is, too
    app = a_shop()
    wk.instrument(app)
    return {
        **{name: getattr(wk, name) for name in wk.__all__},
        **{name: getattr(testing, name) for name in testing.__all__},
        "BatchSpanProcessor": BatchSpanProcessor,
        "Celery": celery.Celery,
        "Declined": Declined,
        "FastAPI": FastAPI,
        "OTLPSpanExporter": InMemorySpanExporter,  # none is sent anywhere
        "PARAMETERS": pika.ConnectionParameters("127.0.0.1"),
        "__name__": "example",
        "app": app,
        "charge": charge,
        "client": TestClient(app),
        "consumer": Consumer(),
        "dataclasses": dataclasses,
        "engine": sqlalchemy.create_engine("sqlite://"),
        "handle": len,
        "log": wk.get_logger("shop"),
        "order": Order(),
        "pika": pika,
        "redis": redis,
        "redis_client": redis.Redis(),
        "seen": seen,
        "testing": testing,
        "watchkeeper": watchkeeper,
        "wk": wk,
    }


def isolated(run: Callable[[], None]) -> None:
    """Runs it in a forked child, so that what an example declares, registers or starts is no other's."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, which the SDK is made for
        child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(60)
            run()
            status = 0
        except BaseException:  # noqa: BLE001  # told by the parent
            os.write(writing, traceback.format_exc()[-60_000:].encode())
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    assert status == 0, said or f"the child ended with status {status}"


@pytest.mark.parametrize("docstring", [pytest.param(each, id=each.name) for each in docstrings()])
def test_the_example_of_a_docstring_runs(docstring: Docstring, tmp_path: Path, providers: dict[str, str]) -> None:
    def run() -> None:
        said: list[str] = []
        runner = doctest.DocTestRunner(checker=Lenient(), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        with testing.capture() as seen:  # nothing that an example does leaves the process
            names = namespace(tmp_path, providers, seen)
            test = doctest.DocTestParser().get_doctest(docstring.example, names, docstring.name, None, 0)
            assert test.examples
            runner.run(test, out=said.append, clear_globs=False)
        assert not runner.failures, "".join(said)

    isolated(run)


def blocks(guide: Path) -> list[str]:
    return BLOCK.findall(guide.read_text())


@pytest.mark.parametrize("guide", [pytest.param(guide, id=guide.name) for guide in GUIDES if blocks(guide)])
def test_the_python_of_a_guide_runs(guide: Path, tmp_path: Path, providers: dict[str, str]) -> None:
    text = guide.read_text()

    def run() -> None:
        with testing.capture() as seen:
            names = namespace(tmp_path, providers, seen)
            for block in BLOCK.finditer(text):
                line = text[: block.start()].count("\n") + 1
                with suppress(NoMoreMessages):
                    exec(compile("\n" * line + block[1], str(guide), "exec"), names)  # noqa: S102  # our own text
                for name in re.findall(r"^def (test_\w+)", block[1], re.MULTILINE):
                    seen.clear()
                    test = names[name]
                    test(**{each: names[each] for each in inspect.signature(test).parameters})

    isolated(run)


@pytest.mark.parametrize("name", testing.__all__)
def test_every_name_of_testing_shows_an_example(name: str) -> None:
    assert "Example:" in (getattr(testing, name).__doc__ or "")
