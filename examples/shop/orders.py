"""Carts, checkout, orders and the sales report."""

import time

import httpx
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session, joinedload

import watchkeeper as wk
from shop.database import CartLine, Order, OrderLine, Product
from shop.errors import CardDeclinedError, EmptyCartError, NoSuchProductError, PaymentsUnavailableError
from shop.schemas import LineIn, LineOut, OrderOut, Sales

LATEST = 20

log = wk.get_logger(__name__)
orders = wk.counter("orders_total", "Orders by how checkout ended", ["status"])
revenue = wk.counter("revenue_cents_total", "Money taken, in cents")
basket = wk.histogram("order_value_euros", "Value of paid orders", buckets=(10, 25, 50, 100, 250, 500, 1000))


def cart(session: Session, customer: str) -> list[LineOut]:
    """What a customer intends to buy."""
    return [LineOut.model_validate(line) for line in _cart_lines(session, customer)]


def add_to_cart(session: Session, customer: str, line: LineIn) -> list[LineOut]:
    """Put a product into the cart, or change its quantity there.

    Raises:
        NoSuchProductError: there is no such product.
    """
    if session.get(Product, line.product_id) is None:
        raise NoSuchProductError(f"There is no product {line.product_id}.")
    session.merge(CartLine(customer=customer, product_id=line.product_id, quantity=line.quantity))
    session.commit()
    log.info("added to cart", customer=customer, product_id=line.product_id, quantity=line.quantity)
    return cart(session, customer)


@wk.traced
def place_order(session: Session, payments: httpx.Client, customer: str) -> OrderOut:
    """Charge the customer for the cart and turn it into an order.

    Raises:
        EmptyCartError: the cart holds nothing.
        CardDeclinedError: the customer's bank said no; the cart stays as it is.
        PaymentsUnavailableError: payments failed; the cart stays as it is.
    """
    lines = _cart_lines(session, customer)
    if not lines:
        raise EmptyCartError("The cart is empty.")
    total_cents = sum(line.product.price_cents * line.quantity for line in lines)
    session.commit()  # no transaction stays open while another service takes its time

    with wk.span("charge card", customer=customer, amount_cents=total_cents):
        try:
            payment_id = _charge(payments, customer, total_cents)
        except CardDeclinedError as error:
            log.warning("card declined", customer=customer, amount_cents=total_cents, reason=str(error))
            orders.labels(status="declined").inc()
            raise
        except PaymentsUnavailableError:
            log.exception("payment failed", customer=customer, amount_cents=total_cents)
            orders.labels(status="failed").inc()
            raise

    order = Order(
        customer=customer,
        total_cents=total_cents,
        payment_id=payment_id,
        lines=[
            OrderLine(product=line.product, quantity=line.quantity, price_cents=line.product.price_cents)
            for line in lines
        ],
    )
    session.add(order)
    session.execute(delete(CartLine).where(CartLine.customer == customer))
    session.commit()
    orders.labels(status="paid").inc()
    revenue.inc(total_cents)
    basket.observe(total_cents / 100)
    log.info("order placed", order_id=order.id, customer=customer, amount_cents=total_cents, lines=len(lines))
    return OrderOut.model_validate(order)


def latest_orders(session: Session, customer: str) -> list[OrderOut]:
    """A customer's latest orders.

    Slow on purpose: each order's lines, and each line's product, are asked for one by one (the N+1 query problem).
    Its traces show it at a glance; `selectinload` would make three queries of it.
    """
    query = select(Order).where(Order.customer == customer).order_by(Order.id.desc()).limit(LATEST)
    return [OrderOut.model_validate(order) for order in session.scalars(query)]


def sales_report(session: Session, render_seconds: float) -> list[Sales]:
    """Orders and revenue by category. `render_seconds` is how long the report's printer, which we lack, would take."""
    with wk.span("sum up sales"):
        query = (
            select(
                Product.category,
                func.count(OrderLine.order_id.distinct()).label("orders"),
                func.sum(OrderLine.quantity * OrderLine.price_cents).label("revenue_cents"),
            )
            .join(OrderLine.product)
            .group_by(Product.category)
            .order_by(Product.category)
        )
        sales = [Sales.model_validate(row) for row in session.execute(query)]
    with wk.span("render report", categories=len(sales)):
        time.sleep(render_seconds)
    return sales


def _cart_lines(session: Session, customer: str) -> list[CartLine]:
    query = select(CartLine).where(CartLine.customer == customer).options(joinedload(CartLine.product))
    return list(session.scalars(query))


def _charge(payments: httpx.Client, customer: str, amount_cents: int) -> str:
    """Charge a customer's card; the payment's id."""
    try:
        answer = payments.post("/charges", json={"customer": customer, "amount_cents": amount_cents})
        if answer.status_code == httpx.codes.PAYMENT_REQUIRED:
            raise CardDeclinedError(f"The card was declined: {answer.json()['detail']}.")
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise PaymentsUnavailableError("Payments are not available right now; try again in a minute.") from error
    return str(answer.json()["payment_id"])
