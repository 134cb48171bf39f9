"""Options of calls of language models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from watchkeeper.environment import ConfigurationError, flag_in
from watchkeeper.option_types import JUDGED_BY_ITS_CLASS

PRICED = ("input", "output", "cached", "cache_write")


@dataclass(frozen=True)
class ModelOptions:
    """What is told of calls of language models.

    `prices` are in US dollars per million tokens, by model family (`gpt-4o-mini` is also `gpt-4o-mini-2024-07-18`).
    They come before the built-in ones. Each names some of `input`, `output`, `cached` (input read from the provider's
    cache) and `cache_write`; what is not named costs as much as `input`, and output nothing.

    Example:
        >>> import watchkeeper as wk
        >>> wk.ModelOptions(prices={"our-own-7b": {"input": 0.1, "output": 0.4}}, capture_content=True).capture_content
        True
    """

    prices: Mapping[str, Mapping[str, float]] = field(default_factory=dict, metadata=JUDGED_BY_ITS_CLASS)
    capture_content: bool = False  # prompts and answers on spans, redacted like log lines, up to 12,000 characters each

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> ModelOptions:
        """WATCHKEEPER_MODEL_PRICES, the path of a JSON file, and WATCHKEEPER_MODEL_CONTENT, a flag."""
        path = environ.get("WATCHKEEPER_MODEL_PRICES", "").strip()
        return cls(
            prices=_prices_in(path) if path else {},
            capture_content=flag_in(environ, "WATCHKEEPER_MODEL_CONTENT", default=False),
        )

    def validate(self) -> None:
        """Raises ConfigurationError for a price that cannot be one."""
        check_prices("models.prices", self.prices)


def check_prices(name: str, prices: Any) -> None:
    """Raises ConfigurationError, naming the model, unless these are prices by model."""
    if not isinstance(prices, Mapping):
        raise ConfigurationError(f'{name} must be prices by model, such as {{"our-own-7b": {{"input": 0.1}}}}')
    for model, price in prices.items():
        if not isinstance(model, str):
            raise ConfigurationError(f"{name} has the model {model!r}: it must be text")
        if not isinstance(price, Mapping) or not all(_is_price(kind, dollars) for kind, dollars in price.items()):
            raise ConfigurationError(
                f"{name}: the price of {model!r} is {price!r}: give dollars per million tokens, from 0 upwards, for"
                f" some of {', '.join(PRICED)}"
            )


def _is_price(kind: Any, dollars: Any) -> bool:
    return kind in PRICED and isinstance(dollars, int | float) and not isinstance(dollars, bool) and dollars >= 0


def _prices_in(path: str) -> Mapping[str, Mapping[str, float]]:
    name = f"WATCHKEEPER_MODEL_PRICES ({path})"
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{name} cannot be read as JSON: {error}") from error
    prices = content.get("models") if isinstance(content, dict) else None
    if prices is None:
        raise ConfigurationError(f'{name} has no prices: write {{"models": {{"our-own-7b": {{"input": 0.1}}}}}}')
    check_prices(name, prices)
    return prices  # type: ignore[no-any-return]  # checked above
