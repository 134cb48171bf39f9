"""What happens after an order is paid, in the background. The post and the warehouse are played by short sleeps."""

import random
import time

import watchkeeper as wk
from shop.faults import Faults
from shop.schemas import OrderOut

log = wk.get_logger(__name__)
receipts = wk.counter("shop_receipts_total", "Receipts sent")


def send_receipt(order: OrderOut, dice: random.Random, faults: Faults) -> None:
    """Mail the receipt.

    Raises:
        ConnectionError: the mail server hung up; trying again may help.
    """
    time.sleep(dice.uniform(0.01, 0.05))
    if dice.random() < faults.receipt_failed:
        raise ConnectionError("mail server hung up")
    receipts.inc()
    log.info("receipt sent", order_id=order.id, customer=order.customer)


def pack_parcel(order: OrderOut, dice: random.Random) -> None:
    """Have the warehouse pack every line of an order."""
    for line in order.lines:
        with wk.span("pack", product_id=line.product.id, quantity=line.quantity):
            time.sleep(dice.uniform(0.01, 0.08))
    log.info("parcel packed", order_id=order.id, lines=len(order.lines))
