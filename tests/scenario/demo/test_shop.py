"""The demo shop: what it sells, and every way in which it fails on purpose.

Both services run in processes of their own and are spoken to over HTTP, as their users do.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

import shop as shop_package
from support.ports import unused_port

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(shop_package.__file__).resolve().parents[1]


@dataclass
class Shop:
    """A running shop; `payments` can be ended to see what happens then."""

    data: Path
    client: httpx.Client
    payments: subprocess.Popen[bytes]
    log: Path

    def faults(self, **faults: float) -> None:
        """Change what goes wrong, from the next request on; what is not named does not go wrong."""
        none = {
            "card_declined": 0,
            "payment_slow": 0,
            "payment_broken": 0,
            "receipt_failed": 0,
            "report_seconds": 0,
        }
        (self.data / "faults.json").write_text(json.dumps(none | faults))

    def wait_for_log(self, words: str) -> None:
        """Until the shop has logged those words; its lines are buffered for a moment."""
        deadline = time.monotonic() + 5
        while words not in self.log.read_text():
            assert time.monotonic() < deadline, f"no {words!r} in:\n{self.log.read_text()}"
            time.sleep(0.05)

    def fill_cart(self, customer: str, *product_ids: int) -> None:
        for product_id in product_ids:
            added = self.client.post(f"/customers/{customer}/cart", json={"product_id": product_id})
            assert added.status_code == 201, added.text


def _start(module: str, port: int, log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        command = [sys.executable, "-P", "-m", "uvicorn", f"shop.{module}:app", "--port", str(port)]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return process
    process.kill()
    process.wait()
    raise AssertionError(f"shop.{module} did not start:\n{log.read_text()}")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    payments_port, shop_port = unused_port(), unused_port()
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(EXAMPLES), os.environ.get("PYTHONPATH")))),
        "OTEL_SDK_DISABLED": "true",  # nobody receives here
        "SHOP_DATA": str(folder / "data"),
        "SHOP_PAYMENTS_URL": f"http://127.0.0.1:{payments_port}",
    }
    payments = _start("payments", payments_port, folder / "payments.log", environment)
    app = _start("app", shop_port, folder / "shop.log", environment)
    # uvicorn closes a connection after an unhandled error, a moment after its answer: use none twice.
    limits = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(base_url=f"http://127.0.0.1:{shop_port}", trust_env=False, limits=limits) as client:
        yield Shop(data=folder / "data", client=client, payments=payments, log=folder / "shop.log")
    for process in (app, payments):
        process.terminate()
    for process in (app, payments):
        process.wait(10)


def test_lists_products_by_name_a_page_at_a_time(shop: Shop) -> None:
    pages = [shop.client.get("/products", params={"page": page}).json() for page in (1, 2, 3, 4)]
    names = [product["name"] for page in pages for product in page]
    assert [len(page) for page in pages] == [20, 20, 20, 0]
    assert names == sorted(names)


def test_lists_one_category(shop: Shop) -> None:
    products = shop.client.get("/products", params={"category": "desk"}).json()
    assert {product["category"] for product in products} == {"desk"}


def test_searches_for_all_words_in_any_order_and_case(shop: Shop) -> None:
    found = shop.client.get("/search", params={"q": "LAMP oak"}).json()
    assert [product["name"] for product in found] == ["Oak Lamp"]
    assert shop.client.get("/search", params={"q": "100%"}).json() == []


def test_an_unknown_product_is_404(shop: Shop) -> None:
    answer = shop.client.get("/products/999")
    assert (answer.status_code, answer.json()) == (404, {"error": "There is no product 999."})
    assert shop.client.post("/customers/x/cart", json={"product_id": 999}).status_code == 404


def test_a_quantity_of_none_is_422(shop: Shop) -> None:
    assert shop.client.post("/customers/x/cart", json={"product_id": 1, "quantity": 0}).status_code == 422


def test_the_rating_of_a_product_without_reviews_is_an_unhandled_500(shop: Shop) -> None:
    assert shop.client.get("/products/11/rating").json()["average_stars"] > 0
    assert shop.client.get("/products/12").json()["number_of_reviews"] == 0
    assert shop.client.get("/products/12/rating").status_code == 500
    shop.wait_for_log("ZeroDivisionError")


def test_checkout_turns_the_cart_into_a_paid_order(shop: Shop) -> None:
    shop.faults()
    shop.fill_cart("ada", 1, 2)
    cart = shop.client.get("/customers/ada/cart").json()
    answer = shop.client.post("/customers/ada/checkout")
    assert answer.status_code == 201, answer.text
    order = answer.json()
    assert order["total_cents"] == sum(line["product"]["price_cents"] for line in cart)
    assert [line["product"]["id"] for line in order["lines"]] == [1, 2]
    assert order["payment_id"].startswith("pay_")
    assert shop.client.get("/customers/ada/cart").json() == []
    assert shop.client.get("/customers/ada/orders").json() == [order]


def test_an_empty_cart_cannot_be_checked_out(shop: Shop) -> None:
    assert shop.client.post("/customers/nobody/checkout").status_code == 409


def test_a_declined_card_is_402_and_keeps_the_cart(shop: Shop) -> None:
    shop.faults(card_declined=1)
    shop.fill_cart("ben", 3)
    answer = shop.client.post("/customers/ben/checkout")
    assert answer.status_code == 402
    assert "The card was declined" in answer.json()["error"]
    assert len(shop.client.get("/customers/ben/cart").json()) == 1


def test_failing_payments_are_502_with_a_logged_exception(shop: Shop) -> None:
    shop.faults(payment_broken=1)
    shop.fill_cart("cleo", 4)
    assert shop.client.post("/customers/cleo/checkout").status_code == 502
    shop.wait_for_log("payment failed")
    shop.wait_for_log("HTTPStatusError")


def test_slow_payments_slow_checkout_down(shop: Shop) -> None:
    shop.faults(payment_slow=1, payment_slow_seconds=0.4)
    shop.fill_cart("dan", 5)
    began = time.monotonic()
    assert shop.client.post("/customers/dan/checkout").status_code == 201
    assert time.monotonic() - began >= 0.4


def test_the_report_takes_its_time_and_adds_up(shop: Shop) -> None:
    shop.faults()
    shop.fill_cart("eva", 1, 8)
    order = shop.client.post("/customers/eva/checkout").json()
    before = shop.client.get("/reports/sales").json()
    shop.faults(report_seconds=0.4)
    shop.fill_cart("eva", 1, 8)
    shop.client.post("/customers/eva/checkout")
    began = time.monotonic()
    after = shop.client.get("/reports/sales").json()
    assert time.monotonic() - began >= 0.4
    revenue = [sum(category["revenue_cents"] for category in report) for report in (before, after)]
    assert revenue[1] - revenue[0] == order["total_cents"]


def test_unknown_faults_change_nothing_and_are_logged(shop: Shop) -> None:
    shop.faults(card_declined=1)
    shop.fill_cart("finn", 6)
    assert shop.client.post("/customers/finn/checkout").status_code == 402
    (shop.data / "faults.json").write_text('{"card_declind": 0}')
    assert shop.client.post("/customers/finn/checkout").status_code == 402


def test_payments_that_cannot_be_reached_are_502(shop: Shop) -> None:
    shop.faults()
    shop.fill_cart("gina", 7)
    shop.payments.terminate()
    shop.payments.wait(10)
    assert shop.client.post("/customers/gina/checkout").status_code == 502
