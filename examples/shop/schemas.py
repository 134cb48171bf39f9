"""What the shop's endpoints take and give, as JSON."""

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """Built from a table's row as well as from JSON."""

    model_config = ConfigDict(from_attributes=True)


class ProductOut(Answer):
    """A product in a list."""

    id: int
    name: str
    category: str
    price_cents: int


class ProductDetail(ProductOut):
    """A product on its own page."""

    number_of_reviews: int


class Rating(Answer):
    """A product's reviews, summed up."""

    product_id: int
    average_stars: float
    texts: list[str]


class LineIn(BaseModel):
    """A product to put into the cart."""

    product_id: int
    quantity: int = Field(default=1, ge=1, le=20)


class LineOut(Answer):
    """A line of a cart or of an order."""

    product: ProductOut
    quantity: int


class OrderOut(Answer):
    """A paid order."""

    id: int
    customer: str
    total_cents: int
    payment_id: str
    lines: list[LineOut]


class Sales(Answer):
    """A category's part of the sales report."""

    category: str
    orders: int
    revenue_cents: int
