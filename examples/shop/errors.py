"""What a customer can be told when a request fails: one class a reason, each with its HTTP status."""


class ShopError(Exception):
    """The root of them all; the message is shown to the customer."""

    status = 500


class NoSuchProductError(ShopError):
    """There is no product of that number."""

    status = 404


class EmptyCartError(ShopError):
    """There is nothing to check out."""

    status = 409


class CardDeclinedError(ShopError):
    """The customer's bank said no; another card may help."""

    status = 402


class PaymentsUnavailableError(ShopError):
    """The payments service failed or cannot be reached; nothing was charged as far as we know."""

    status = 502
