"""OTLP's numbers for a span's kind and status as the words the API uses; a number is its place in the tuple."""

from __future__ import annotations

KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
STATUSES = ("unset", "ok", "error")


def kind_of(number: int) -> str:
    """A kind's name; numbers that OTLP has not assigned count as unspecified."""
    return KINDS[number] if 0 <= number < len(KINDS) else KINDS[0]


def status_of(number: int) -> str:
    """A status code's name; numbers that OTLP has not assigned count as unset."""
    return STATUSES[number] if 0 <= number < len(STATUSES) else STATUSES[0]
