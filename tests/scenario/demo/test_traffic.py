"""The shop's customers: what they ask for, how often, and how they leave."""

from __future__ import annotations

import asyncio
import collections
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

import shop as shop_package
from shop.traffic import Customer, send_traffic

EXAMPLES = Path(shop_package.__file__).resolve().parents[1]
ROUTES = {
    r"/products(\?category=\w+)?": 0.05,
    r"/products/\d+": 0.2,
    r"/products/\d+/rating": 0.05,
    r"/search\?q=.*": 0.05,
    r"/customers/[\w-]+/cart": 0.1,
    r"/customers/[\w-]+/checkout": 0.04,
    r"/customers/[\w-]+/orders": 0.01,
    r"/reports/sales": 0.001,
}


def paths(seed: int, number: int, status: int | None = 201) -> list[str]:
    customer = Customer(random.Random(seed))
    asked = []
    for _ in range(number):
        asked.append(customer.next_step().path)
        customer.answered(status)
    return asked


def test_every_endpoint_gets_its_share_and_nothing_else_is_asked_for() -> None:
    asked = paths(seed=1, number=5000)
    counts = collections.Counter(next(route for route in ROUTES if re.fullmatch(route, path)) for path in asked)
    for route, least in ROUTES.items():
        assert counts[route] >= least * len(asked), route


def test_the_same_seed_makes_the_same_visits() -> None:
    assert paths(seed=3, number=200) == paths(seed=3, number=200) != paths(seed=4, number=200)


@pytest.mark.parametrize("status", [None, 402, 409, 500, 502])
def test_customers_keep_coming_whatever_they_meet(status: int | None) -> None:
    assert len(paths(seed=5, number=500, status=status)) == 500


async def send(handler: httpx.MockTransport, rate: float, seconds: float) -> object:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stop.set)
    async with httpx.AsyncClient(transport=handler, base_url="http://shop") as client:
        return await send_traffic(client, rate=rate, dice=random.Random(1), stop=stop)


async def test_requests_arrive_at_the_given_rate_without_a_trace_context() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    tally = await send(httpx.MockTransport(answer), rate=100, seconds=2.0)
    assert 140 <= len(seen) <= 260  # 200 expected, four standard deviations either way
    assert not any("traceparent" in request.headers for request in seen)
    assert vars(tally) == {"requests": len(seen), "unanswered": 0, "skipped": 0, "statuses": {"200": len(seen)}}


async def test_a_shop_that_never_answers_meets_a_bounded_crowd() -> None:
    async def hang(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError

    began = time.monotonic()
    tally = vars(await send(httpx.MockTransport(hang), rate=200, seconds=0.6))
    assert tally["requests"] == 40
    assert tally["skipped"] > 0
    assert time.monotonic() - began < 2.0


async def test_a_shop_that_is_down_is_counted_as_unanswered() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    tally = vars(await send(httpx.MockTransport(refuse), rate=100, seconds=0.3))
    assert tally["unanswered"] == tally["requests"] > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_its_tally_as_the_last_line(number: signal.Signals, tmp_path: Path) -> None:
    with (tmp_path / "errors").open("w+") as errors:
        with socket.create_server(("127.0.0.1", 0)) as shop:
            process = subprocess.Popen(
                [sys.executable, "-m", "shop.traffic", f"http://127.0.0.1:{shop.getsockname()[1]}", "--rate", "50"],
                env=os.environ | {"PYTHONPATH": str(EXAMPLES), "NO_PROXY": "*"},
                stdout=subprocess.PIPE,
                stderr=errors,
            )
            shop.settimeout(20)
            shop.accept()[0].close()  # it sends; whoever has come since, and comes from now on, is turned away
        process.send_signal(number)
        output, _ = process.communicate(timeout=5)
        errors.seek(0)
        assert (process.returncode, errors.read()) == (0, "")
    tally = json.loads(output.splitlines()[-1])
    assert tally["unanswered"] == tally["requests"] > 0
