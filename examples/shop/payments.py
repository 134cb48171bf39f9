"""The second service: charges cards, or declines to. It keeps nothing, and it has its own bad days (see `faults`).

uvicorn shop.payments:app --port 8001
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, Field

import watchkeeper as wk
from shop.faults import FaultFile
from shop.settings import Settings

REASONS = ("insufficient funds", "card expired", "limit reached")

wk.configure()
log = wk.get_logger(__name__)
charges = wk.counter("payments_charges_total", "Charges by outcome", ["outcome"])


class AcquirerError(Exception):
    """The bank behind this service did not do its part."""


@dataclass(frozen=True, slots=True)
class Luck:
    """What decides how a charge goes."""

    faults: FaultFile
    dice: random.Random


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Read the configuration; at the end, deliver the telemetry that waits."""
    settings = Settings.from_environment()
    app.state.luck = Luck(faults=FaultFile(settings.data / "faults.json"), dice=random.Random(settings.seed))
    yield
    wk.shutdown()


app = FastAPI(title="Payments", lifespan=lifespan)
wk.instrument(app)


class Charge(BaseModel):
    """Money to take from a customer."""

    customer: str
    amount_cents: int = Field(gt=0)


class Payment(BaseModel):
    """Money taken."""

    payment_id: str


@app.post("/charges", status_code=201, responses={402: {"description": "The bank declined."}})
async def charge(request: Request, charge: Charge) -> Payment:
    """Take the money. Slow at times, declined at times, and now and then it fails as a whole (500)."""
    luck: Luck = request.app.state.luck
    faults = luck.faults.current()
    with wk.span("ask bank", amount_cents=charge.amount_cents) as span:
        slow = luck.dice.random() < faults.payment_slow
        span.set_attribute("bank.slow", slow)
        await asyncio.sleep(luck.dice.uniform(0.02, 0.06) + (faults.payment_slow_seconds if slow else 0.0))
        if luck.dice.random() < faults.payment_broken:
            charges.labels(outcome="failed").inc()
            raise AcquirerError("the bank closed the connection in the middle of a charge")
    if luck.dice.random() < faults.card_declined:
        reason = luck.dice.choice(REASONS)
        charges.labels(outcome="declined").inc()
        log.warning("charge declined", customer=charge.customer, amount_cents=charge.amount_cents, reason=reason)
        raise HTTPException(402, detail=reason)
    payment_id = f"pay_{luck.dice.getrandbits(48):012x}"
    charges.labels(outcome="taken").inc()
    log.info("charged", customer=charge.customer, amount_cents=charge.amount_cents, payment_id=payment_id)
    return Payment(payment_id=payment_id)
