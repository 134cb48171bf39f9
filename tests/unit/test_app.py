"""Whatever goes wrong when a server starts or stops, nothing of it is left at work."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable
from pathlib import Path
from unittest.mock import Mock

import pytest

from support.ports import unused_port
from watchkeeper_server import app as app_module
from watchkeeper_server.app import App
from watchkeeper_server.journal.journal import Journal
from watchkeeper_server.listeners import Listener
from watchkeeper_server.model.errors import WatchkeeperError
from watchkeeper_server.options import Address, Options
from watchkeeper_server.receive.scrape.manager import ScrapeManager


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Stands for what is stored."""
    storage = Mock()
    monkeypatch.setattr(app_module, "Storage", Mock(return_value=storage))
    return storage


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """Of a server on free ports."""
    return Options(tmp_path, *(Address("127.0.0.1", unused_port()) for _ in range(3)))


def left(options: Options) -> list[str]:
    """What is still at work: threads, and addresses that are taken."""
    threads = [thread.name for thread in threading.enumerate() if thread.name.startswith(("drain", "journal"))]
    for address in (options.listen, options.otlp_http, options.otlp_grpc):
        assert address is not None
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if not probe.connect_ex((address.host, address.port)):
                threads.append(str(address))
    return threads


async def test_a_server_stops_every_part_once(storage: Mock, options: Options) -> None:
    app = App(options)
    await app.start()
    assert len(left(options)) > 3
    await app.stop()
    await app.stop()
    assert left(options) == []
    storage.close.assert_called_once_with()


async def test_a_server_knows_which_ports_it_was_given_for_port_0(storage: Mock, tmp_path: Path) -> None:
    app = App(Options(tmp_path, *[Address("127.0.0.1", 0)] * 3))
    await app.start()
    try:
        assert list(app.addresses) == ["--listen", "--otlp-http", "--otlp-grpc"]
        for address in app.addresses.values():
            socket.create_connection((address.host, address.port), timeout=5).close()
    finally:
        await app.stop()


@pytest.mark.parametrize(("part", "name"), [(ScrapeManager, "stop"), (Listener, "stop"), (Journal, "close")])
async def test_a_part_that_fails_to_stop_does_not_keep_the_others_from_it(
    storage: Mock,
    options: Options,
    part: type,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stop = getattr(part, name)

    async def failing_later(stopped: Awaitable[None]) -> None:
        await stopped
        raise RuntimeError(part.__name__)

    def failing(this: object) -> Awaitable[None]:
        if stopped := stop(this):
            return failing_later(stopped)
        raise RuntimeError(part.__name__)

    monkeypatch.setattr(part, name, failing)
    storage.close.side_effect = OSError("the last")
    app = App(options)
    await app.start()
    with pytest.raises(RuntimeError, match=part.__name__):
        await app.stop()
    assert left(options) == []
    storage.close.assert_called_once_with()
    assert [record.getMessage() for record in caplog.records] == ["a part of the server did not stop as it should"] * 2


async def test_a_server_that_cannot_start_says_why_and_leaves_nothing(
    storage: Mock, options: Options, caplog: pytest.LogCaptureFixture
) -> None:
    storage.start.side_effect = WatchkeeperError("the disk is full")
    storage.close.side_effect = OSError("the disk is away")
    with pytest.raises(WatchkeeperError, match="the disk is full"):
        await App(options).start()
    assert left(options) == []
    assert "the disk is away" in caplog.text


async def test_a_server_whose_serving_has_failed_stops_all_the_same(storage: Mock, options: Options) -> None:
    app = App(options)
    await app.start()
    [serving, *_] = [task for task in asyncio.all_tasks() if "serve" in repr(task.get_coro())]
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await app.stop()
    assert left(options) == []
    storage.close.assert_called_once_with()
