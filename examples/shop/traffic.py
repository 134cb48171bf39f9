"""Customers for the shop: an endless stream of them, or for a time.

    python -m shop.traffic http://127.0.0.1:8000 --rate 15 --for 30

Requests arrive as a Poisson process of the given rate, each the next step of some customer's visit. The stream is
open: a slow shop does not slow it down, until every customer is waiting; what then cannot be sent is counted as
`skipped`. Ends on SIGTERM and SIGINT too, and writes one line of JSON about what it did: `Tally`. Until it has written
that it is sending, a signal ends it without.
"""

import argparse
import asyncio
import collections
import dataclasses
import json
import random
import signal
from collections.abc import Generator
from typing import NamedTuple

import httpx

CUSTOMERS = 40  # in the shop at the same time, at most
PRODUCTS = 60
TIMEOUT_SECONDS = 10.0
FAREWELL_SECONDS = 0.5  # for requests under way when the end comes
CATEGORIES = ("lighting", "kitchen", "living", "desk")
SEARCHES = ("lamp", "oak", "wool blanket", "glass", "copper kettle", "slate tray", "candle", "bicycle")
RETRIED = (httpx.codes.PAYMENT_REQUIRED, httpx.codes.BAD_GATEWAY)
NAMES = ("ada", "ben", "cleo", "dan", "eva", "finn", "gina", "hugo", "ines", "jan", "kira", "leo", "mia", "nils")


class Step(NamedTuple):
    """One request of a visit."""

    method: str
    path: str
    body: dict[str, int] | None = None


Visit = Generator[Step, int | None, None]  # yields requests; is sent each one's status, None where there was no answer


@dataclasses.dataclass
class Tally:
    """What was done: `statuses` counts answers by status, `unanswered` requests that got none."""

    requests: int = 0
    unanswered: int = 0
    skipped: int = 0
    statuses: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)


def visit(dice: random.Random) -> Visit:
    """A customer's way through the shop, some of them to the till."""
    customer = f"{dice.choice(NAMES)}-{dice.randint(1, 40)}"
    [kind] = dice.choices(("owner", "follower of an old link", "regular", "passer-by"), weights=(2, 3, 10, 85))
    if kind == "owner":
        yield Step("GET", "/reports/sales")
        return
    if kind == "follower of an old link":
        yield Step("GET", f"/products/{PRODUCTS + dice.randint(1, 40)}")
        return
    if kind == "regular":
        yield Step("GET", f"/customers/{customer}/orders")
    yield from _browse(dice)
    if _chance(dice, 0.6):
        yield from _buy(dice, customer)


def _browse(dice: random.Random) -> Visit:
    yield Step("GET", dice.choice(("/products", *(f"/products?category={category}" for category in CATEGORIES))))
    if _chance(dice, 0.6):
        yield Step("GET", f"/search?q={dice.choice(SEARCHES)}")
    for _ in range(dice.randint(1, 4)):
        product_id = _popular(dice)
        yield Step("GET", f"/products/{product_id}")
        if _chance(dice, 0.3):
            yield Step("GET", f"/products/{product_id}/rating")


def _buy(dice: random.Random, customer: str) -> Visit:
    for _ in range(dice.randint(1, 3)):
        quantity = 0 if _chance(dice, 0.02) else dice.randint(1, 3)  # none of something: refused
        yield Step("POST", f"/customers/{customer}/cart", {"product_id": _popular(dice), "quantity": quantity})
    yield Step("GET", f"/customers/{customer}/cart")
    status = yield Step("POST", f"/customers/{customer}/checkout")
    if status in RETRIED and _chance(dice, 0.5):  # another card, or another try
        status = yield Step("POST", f"/customers/{customer}/checkout")
    if status == httpx.codes.CREATED and _chance(dice, 0.3):
        yield Step("GET", f"/customers/{customer}/orders")


def _chance(dice: random.Random, probability: float) -> bool:
    return dice.random() < probability


def _popular(dice: random.Random) -> int:
    """A product's number; low ones far more often, as in any shop."""
    return 1 + int(PRODUCTS * dice.random() ** 2)


class Customer:
    """Takes one step at a time, and begins a new visit where one ends."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._visit = visit(dice)
        self._status: int | None = None

    def next_step(self) -> Step:
        """The request to make now."""
        try:
            return self._visit.send(self._status)
        except StopIteration:
            self._visit = visit(self._dice)
            return next(self._visit)

    def answered(self, status: int | None) -> None:
        """Hear how the request went."""
        self._status = status


async def send_traffic(client: httpx.AsyncClient, *, rate: float, dice: random.Random, stop: asyncio.Event) -> Tally:
    """Send `rate` requests a second until `stop` is set, then give those under way a moment to end."""
    tally = Tally()
    idle = [Customer(dice) for _ in range(CUSTOMERS)]
    under_way: set[asyncio.Task[None]] = set()

    async def send(customer: Customer) -> None:
        step = customer.next_step()
        tally.requests += 1
        try:
            answer = await client.request(step.method, step.path, json=step.body)
        except httpx.HTTPError:
            tally.unanswered += 1
            customer.answered(None)
        else:
            tally.statuses[str(answer.status_code)] += 1
            customer.answered(answer.status_code)
        idle.append(customer)

    clock = asyncio.get_running_loop().time
    due = clock()
    while True:
        due = max(due, clock() - 1.0) + dice.expovariate(rate)  # after a pause, catch up on one second at most
        try:
            await asyncio.wait_for(stop.wait(), due - clock())
            break
        except TimeoutError:
            pass
        if not idle:
            tally.skipped += 1
            continue
        task = asyncio.create_task(send(idle.pop(dice.randrange(len(idle)))))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    if under_way:
        _, late = await asyncio.wait(under_way, timeout=FAREWELL_SECONDS)
        for task in late:
            task.cancel()
    return tally


async def main(shop: str, rate: float, seed: int, duration_seconds: float | None) -> Tally:
    """Send traffic to the shop at that address until the time is up or a signal says so."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if duration_seconds is not None:
        loop.call_later(duration_seconds, stop.set)
    print(f"sending {rate:g} requests a second to {shop}", flush=True)  # noqa: T201  it is a program
    async with httpx.AsyncClient(base_url=shop, timeout=TIMEOUT_SECONDS) as client:
        return await send_traffic(client, rate=rate, dice=random.Random(seed), stop=stop)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="shop.traffic", description="Customers for the shop.")
    parser.add_argument("shop", help="the shop's address, such as http://127.0.0.1:8000")
    parser.add_argument("--rate", type=float, default=15.0, help="requests a second (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=7, help="the same seed sends the same visits (default: %(default)s)"
    )
    parser.add_argument("--for", type=float, dest="seconds", help="end after so many seconds (default: never)")
    arguments = parser.parse_args()
    if arguments.rate <= 0:
        parser.error("--rate must be more than 0")
    return arguments


if __name__ == "__main__":
    given = _arguments()
    done = asyncio.run(main(given.shop, given.rate, given.seed, given.seconds))
    print(json.dumps(vars(done)), flush=True)  # noqa: T201  likewise
