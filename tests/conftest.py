"""What every part's tests share: one engine a process, since the embedded one keeps one data folder all its life."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from support.server import ServerProcess
from watchkeeper_server.query.reader import Read
from watchkeeper_server.store.embedded import EmbeddedEngine
from watchkeeper_server.store.engine import Engine
from watchkeeper_server.store.statements import migrations
from watchkeeper_server.store.store import Store

# The same examples each time, on a machine however slow; `HYPOTHESIS_PROFILE=default` draws others.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

_KEPT_TABLES = {"schema_migrations"}


def pytest_collection_finish() -> None:
    """Keep the garbage collector out of what thousands of collected tests are made of: a round took it a second.

    Some tests ask for rounds, and any other round would fall into whichever test measures time by then.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The real engine with every migration applied."""
    engine = EmbeddedEngine(tmp_path_factory.mktemp("engine"))
    Store(engine).migrate()
    assert migrations()
    yield engine
    engine.close()


@pytest.fixture
def store(engine: Engine) -> Store:
    """A store whose tables are empty; do not close it, the engine is everybody's."""
    tables = engine.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND endsWith(engine, 'MergeTree')"
    )
    for name in tables.column("name").to_pylist():
        if name not in _KEPT_TABLES:
            engine.execute(f"TRUNCATE TABLE {name}")
    return Store(engine)


@pytest.fixture
def store_reader(store: Store) -> Read:
    """Reads from that store, as the read path is handed it."""
    return store.read


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A running server, everybody's: tell your data by service name or trace id."""
    hurried = {"linger_seconds": 0.05}  # so that tests find what they sent half a second sooner
    with ServerProcess(tmp_path_factory.mktemp("server") / "data", journal=hurried) as running:
        yield running
