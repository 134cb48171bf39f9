"""Several addresses of one name, some of which swallow what is sent to them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator

import pytest
import uvloop

from support.scraping import until
from watchkeeper_server.receive.scrape import happy_eyeballs
from watchkeeper_server.receive.scrape.happy_eyeballs import AddressInfo, connected_socket
from watchkeeper_server.receive.scrape.http_connection import Server, connect


def at(listener: socket.socket) -> AddressInfo:
    return socket.AF_INET, socket.SOCK_STREAM, 0, "", listener.getsockname()


@pytest.fixture
def answering() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def swallowing(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Its queue is full, so that the system drops whoever else asks."""
    monkeypatch.setattr(happy_eyeballs, "_STAGGER_SECONDS", 0.01)
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener


@pytest.fixture
def refusing() -> Iterator[socket.socket]:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        yield nobody


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[..., object]]:
    loop = request.param()
    yield loop.run_until_complete
    loop.close()


async def connected_port(*addresses: AddressInfo) -> int:
    """The port of the one that the connection is to, when nothing else is being tried any more."""
    async with asyncio.timeout(5):
        with await connected_socket(addresses) as connected:
            port: int = connected.getpeername()[1]
        await until(lambda: len(asyncio.all_tasks()) == 1)
    return port


def test_an_address_that_swallows_everything_does_not_keep_from_the_next(
    run: Callable[..., object], swallowing: socket.socket, answering: socket.socket
) -> None:
    assert run(connected_port(at(swallowing), at(swallowing), at(answering))) == answering.getsockname()[1]


async def test_a_target_is_reached_by_the_address_that_answers(
    swallowing: socket.socket, answering: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def addresses(*_: object, **__: object) -> list[AddressInfo]:
        return [at(swallowing), at(answering)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", addresses)
    async with asyncio.timeout(5):
        connection = await connect(Server("http", "both.example", 80), None)
    connection.close()


def test_an_address_that_refuses_is_followed_by_the_next_at_once(
    run: Callable[..., object], refusing: socket.socket, answering: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(happy_eyeballs, "_STAGGER_SECONDS", 60.0)
    assert run(connected_port(at(refusing), at(answering))) == answering.getsockname()[1]


def test_the_first_that_answers_is_taken_and_no_other_is_asked(
    run: Callable[..., object], answering: socket.socket
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.setblocking(False)
        assert run(connected_port(at(answering), at(other))) == answering.getsockname()[1]
        with pytest.raises(BlockingIOError):
            other.accept()


def test_where_none_answers_the_first_ones_error_is_told(run: Callable[..., object], refusing: socket.socket) -> None:
    impossible = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0))
    with pytest.raises(ConnectionRefusedError):
        run(connected_port(at(refusing), impossible))


def test_whoever_gives_up_leaves_nothing_open(run: Callable[..., object], swallowing: socket.socket) -> None:
    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await connected_socket([at(swallowing)])
        await until(lambda: len(asyncio.all_tasks()) == 1)

    run(give_up())


def test_the_families_take_turns(
    run: Callable[..., object], answering: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    async def connect(address: AddressInfo) -> socket.socket:
        tried.append(address[3])
        raise OSError(address[3])

    monkeypatch.setattr(happy_eyeballs, "_connected", connect)
    families = {"6a": socket.AF_INET6, "6b": socket.AF_INET6, "6c": socket.AF_INET6, "4a": socket.AF_INET}
    with pytest.raises(OSError, match="6a"):
        run(connected_socket([(family, 0, 0, name, ()) for name, family in families.items()]))
    assert tried == ["6a", "4a", "6b", "6c"]
