"""Every example runs: those of docstrings (`Example:`), and the Python of the guides about the SDK and of the README.

Docstrings are run as doctest would, but that an expression without an expected value may have any, and that `…` stands
for the rest. They find the package as `wk`, its public names, and what an application would have: `app`, `client`,
`log`. A guide's blocks are run one after the other, as one program; functions named `test_…` are called, with fixtures.
"""

from __future__ import annotations

import ast
import dataclasses
import doctest
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

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
from watchkeeper.health.registry import registry
from watchkeeper.metrics.declare import declarations
from watchkeeper.tracing.api import provider as tracer_provider

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


@pytest.fixture
def namespace(
    seen: testing.Captured,  # nothing that an example does leaves the process
    providers: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[dict[str, Any]]:
    """What examples find: the package, an application with a client, a logger."""
    monkeypatch.chdir(tmp_path)
    declaration = {"name": "orders_total", "type": "counter", "doc": ORDERS, "labels": ["status"]}
    (tmp_path / "metrics.yaml").write_text(json.dumps([declaration]))  # which YAML is, too
    declared, checked = dict(declarations._metrics), set(registry.checks())
    app = a_shop()
    wk.instrument(app)
    for name, value in providers.items():
        monkeypatch.setenv(name, value)
    seen.clear()
    yield {
        **{name: getattr(wk, name) for name in wk.__all__},
        **{name: getattr(testing, name) for name in testing.__all__},
        "BatchSpanProcessor": BatchSpanProcessor,
        "Declined": Declined,
        "FastAPI": FastAPI,
        "OTLPSpanExporter": InMemorySpanExporter,  # none is sent anywhere
        "__name__": "example",
        "app": app,
        "charge": charge,
        "client": TestClient(app),
        "dataclasses": dataclasses,
        "engine": sqlalchemy.create_engine("sqlite://"),
        "order": Order(),
        "log": wk.get_logger("shop"),
        "redis": redis,
        "testing": testing,
        "watchkeeper": watchkeeper,
        "wk": wk,
    }
    wk.shutdown(0.0)
    # What an example declares, registers or adds is no other test's.
    tracer_provider.shutdown()
    tracer_provider.processors = None
    tracer_provider._connect()
    for name in registry.checks().keys() - checked:
        registry.remove(name)
    for key, (_, metric) in list(declarations._metrics.items()):
        if key not in declared and key[0] is declarations.registry:
            del declarations._metrics[key]
            key[0].unregister(metric.inner)


@pytest.mark.parametrize("docstring", [pytest.param(each, id=each.name) for each in docstrings()])
def test_the_example_of_a_docstring_runs(docstring: Docstring, namespace: dict[str, Any]) -> None:
    test = doctest.DocTestParser().get_doctest(docstring.example, namespace, docstring.name, None, 0)
    assert test.examples
    said: list[str] = []
    runner = doctest.DocTestRunner(checker=Lenient(), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=said.append, clear_globs=False)
    assert not runner.failures, "".join(said)


def blocks(guide: Path) -> list[str]:
    return BLOCK.findall(guide.read_text())


@pytest.mark.parametrize("guide", [pytest.param(guide, id=guide.name) for guide in GUIDES if blocks(guide)])
def test_the_python_of_a_guide_runs(
    guide: Path, namespace: dict[str, Any], seen: testing.Captured, request: pytest.FixtureRequest
) -> None:
    text = guide.read_text()
    for block in BLOCK.finditer(text):
        line = text[: block.start()].count("\n") + 1
        code = compile("\n" * line + block[1], str(guide), "exec")
        tests = re.findall(r"^def (test_\w+)", block[1], re.MULTILINE)
        exec(code, namespace)  # noqa: S102  # our own text
        for name in tests:
            seen.clear()
            asked = inspect.signature(namespace[name]).parameters
            namespace[name](**{each: _fixture(each, namespace, request) for each in asked})


def _fixture(name: str, namespace: dict[str, Any], request: pytest.FixtureRequest) -> Any:
    return namespace[name] if name in namespace else request.getfixturevalue(name)


@pytest.mark.parametrize("name", wk.__all__)
def test_every_public_name_shows_an_example(name: str) -> None:
    assert "Example:" in (getattr(wk, name).__doc__ or "")


@pytest.mark.parametrize("name", testing.__all__)
def test_every_name_of_testing_shows_an_example(name: str) -> None:
    assert "Example:" in (getattr(testing, name).__doc__ or "")
