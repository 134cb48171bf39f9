"""The shop's tables, and a catalogue to fill them with. Amounts are whole cents."""

import itertools
import random
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Engine, ForeignKey, event, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

_MATERIALS = ("Oak", "Linen", "Copper", "Glass", "Wool", "Slate")
_THINGS = {
    "lighting": ("Lamp", "Lantern", "Candle"),
    "kitchen": ("Kettle", "Bowl", "Teapot"),
    "living": ("Cushion", "Blanket"),
    "desk": ("Clock", "Tray"),
}
_OPINIONS = ("Just right.", "Smaller than I thought.", "A gift, and well received.", "Arrived late, but lovely.")


class Base(DeclarativeBase):
    """Common to all tables."""


class Product(Base):
    """Something for sale."""

    __tablename__ = "products"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    category: Mapped[str] = mapped_column(index=True)
    price_cents: Mapped[int]
    reviews: Mapped[list["Review"]] = relationship()


class Review(Base):
    """What a customer thinks of a product."""

    __tablename__ = "reviews"

    id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"), index=True)
    stars: Mapped[int]
    text: Mapped[str]


class CartLine(Base):
    """A product that a customer intends to buy."""

    __tablename__ = "cart_lines"

    customer: Mapped[str] = mapped_column(primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"), primary_key=True)
    quantity: Mapped[int]
    product: Mapped[Product] = relationship()


class Order(Base):
    """A paid order."""

    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str] = mapped_column(index=True)
    total_cents: Mapped[int]
    payment_id: Mapped[str]
    lines: Mapped[list["OrderLine"]] = relationship()


class OrderLine(Base):
    """A product of an order, at the price it was sold for."""

    __tablename__ = "order_lines"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), index=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"))
    quantity: Mapped[int]
    price_cents: Mapped[int]
    product: Mapped[Product] = relationship()


def open_database(path: Path, seed: int) -> Engine:
    """The database at `path`, made and filled with the catalogue of `seed` where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", _prepare_connection)
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        if not session.scalar(select(func.count()).select_from(Product)):
            session.add_all(_catalogue(random.Random(seed)))
    return engine


def _prepare_connection(connection: Any, _record: Any) -> None:
    """Readers and the one writer must not wait for each other; the demo's orders may be lost with the power."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _catalogue(dice: random.Random) -> list[Product]:
    """Sixty products; every twelfth is so new that nobody has reviewed it yet."""
    kinds = [(category, thing) for category, things in _THINGS.items() for thing in things]
    names = [(category, f"{material} {thing}") for material in _MATERIALS for category, thing in kinds]
    review_ids = itertools.count(1)  # given, so that one statement can insert them all
    return [
        Product(
            id=number,
            name=name,
            category=category,
            price_cents=dice.randrange(900, 12_000, 50),
            reviews=[
                Review(id=next(review_ids), stars=dice.choice((3, 4, 4, 5, 5)), text=dice.choice(_OPINIONS))
                for _ in range(0 if number % 12 == 0 else dice.randint(1, 6))
            ],
        )
        for number, (category, name) in enumerate(names, start=1)
    ]
