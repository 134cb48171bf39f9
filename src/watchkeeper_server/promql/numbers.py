"""Numbers as Prometheus writes them, which is as Go does: the fewest digits that read back as the same number."""

from __future__ import annotations

import math
from decimal import Decimal


def plain(value: float) -> str:
    """Without an exponent: `1`, `0.5`, `100000000000000000000000`, `+Inf`, `-Inf`, `NaN`; as in labels and answers."""
    if not math.isfinite(value):
        return _not_finite(value)
    text = repr(value)
    if "e" in text:
        text = format(Decimal(text), "f")
    return text.removesuffix(".0")


def general(value: float) -> str:
    """With an exponent where one is due: `1.5`, `1e+06`, `1e-05`, `+Inf`; as in messages."""
    if not math.isfinite(value):
        return _not_finite(value)
    digits = Decimal(repr(value)).normalize()
    exponent = digits.adjusted()
    if digits and not -4 <= exponent < 6:  # noqa: PLR2004  Go's own bounds
        mantissa = digits.scaleb(-exponent).normalize()
        return f"{mantissa:f}e{exponent:+03d}"
    return plain(value)


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"
