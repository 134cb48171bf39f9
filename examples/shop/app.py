"""The shop's HTTP interface, and all it takes to watch it: `configure`, `instrument`, `get_logger`.

uvicorn shop.app:app --port 8000
"""

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session, sessionmaker

import watchkeeper as wk
from shop import catalogue, fulfilment, orders
from shop.cache import Cache
from shop.database import open_database
from shop.errors import ShopError
from shop.faults import FaultFile
from shop.jobs import JobQueue
from shop.schemas import LineIn, LineOut, OrderOut, ProductDetail, ProductOut, Rating, Sales
from shop.settings import Settings

CACHE_SECONDS = 5.0
PAYMENTS_TIMEOUT_SECONDS = 5.0

wk.configure()
log = wk.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the endpoints work with, made at start and put away at stop."""

    sessions: sessionmaker[Session]
    lists: Cache[list[ProductOut]]
    details: Cache[ProductDetail]
    jobs: JobQueue
    payments: httpx.Client
    faults: FaultFile
    dice: random.Random


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the database, the queue and the way to payments; close them in turn."""
    settings = Settings.from_environment()
    with wk.span("open database"):
        engine = open_database(settings.data / "shop.sqlite", settings.seed)
    app.state.parts = parts = Parts(
        sessions=sessionmaker(engine, expire_on_commit=False),
        lists=Cache(ttl_seconds=CACHE_SECONDS),
        details=Cache(ttl_seconds=CACHE_SECONDS),
        jobs=JobQueue(),
        payments=httpx.Client(base_url=settings.payments_url, timeout=PAYMENTS_TIMEOUT_SECONDS),
        faults=FaultFile(settings.data / "faults.json"),
        dice=random.Random(settings.seed),
    )
    log.info("shop open", data=str(settings.data), payments_url=settings.payments_url)
    yield
    parts.jobs.stop()
    parts.payments.close()
    engine.dispose()
    log.info("shop closed")
    wk.shutdown()  # deliver what waits: uvicorn passes on the signal that ended it, and that skips what runs at exit


app = FastAPI(title="Shop", lifespan=lifespan)
wk.instrument(app)


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


def _session(parts: Annotated[Parts, Depends(_parts)]) -> Iterator[Session]:
    with parts.sessions() as session:
        yield session


PartsHere = Annotated[Parts, Depends(_parts)]
Database = Annotated[Session, Depends(_session)]


@app.exception_handler(ShopError)
def refuse(_request: Request, error: ShopError) -> JSONResponse:
    """Errors that a customer can understand; any other exception is a bug and answers 500."""
    return JSONResponse({"error": str(error)}, status_code=error.status)


@app.get("/products")
def list_products(
    parts: PartsHere, session: Database, category: str | None = None, page: Annotated[int, Query(ge=1)] = 1
) -> list[ProductOut]:
    """A page of the catalogue."""
    return parts.lists.get((category, page), lambda: catalogue.list_products(session, category, page))


@app.get("/search")
def search(session: Database, q: Annotated[str, Query(min_length=1, max_length=100)]) -> list[ProductOut]:
    """Products whose name holds all words of `q`."""
    return catalogue.search(session, q)


@app.get("/products/{product_id}")
def product_detail(parts: PartsHere, session: Database, product_id: int) -> ProductDetail:
    """One product."""
    return parts.details.get(product_id, lambda: catalogue.product_detail(session, product_id))


@app.get("/products/{product_id}/rating")
def rating(session: Database, product_id: int) -> Rating:
    """What customers think of a product. Fails for a product that has no reviews: see `catalogue.rating`."""
    return catalogue.rating(session, product_id)


@app.get("/customers/{customer}/cart")
def cart(session: Database, customer: str) -> list[LineOut]:
    """What a customer intends to buy."""
    return orders.cart(session, customer)


@app.post("/customers/{customer}/cart", status_code=201)
def add_to_cart(session: Database, customer: str, line: LineIn) -> list[LineOut]:
    """Put a product into the cart."""
    return orders.add_to_cart(session, customer, line)


@app.post("/customers/{customer}/checkout", status_code=201)
def checkout(parts: PartsHere, session: Database, customer: str) -> OrderOut:
    """Pay for the cart: 402 if the card is declined, 409 if the cart is empty, 502 if payments fail."""
    order = orders.place_order(session, parts.payments, customer)
    parts.jobs.put("send receipt", lambda: fulfilment.send_receipt(order, parts.dice, parts.faults.current()))
    parts.jobs.put("pack parcel", lambda: fulfilment.pack_parcel(order, parts.dice))
    return order


@app.get("/customers/{customer}/orders")
def latest_orders(session: Database, customer: str) -> list[OrderOut]:
    """A customer's latest orders; with one query too many for each of them."""
    return orders.latest_orders(session, customer)


@app.get("/reports/sales")
def sales_report(parts: PartsHere, session: Database) -> list[Sales]:
    """Sales by category; takes its time."""
    return orders.sales_report(session, parts.faults.current().report_seconds)
