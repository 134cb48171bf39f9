"""What tokens cost: a table by model family, the one beside this module and the application's own before it.

A family is a model's name without what only dates it (`-2024-07-18`, `-20250929`, `-latest`, `-v1:0`, `@20250929`) and
without the way it is reached by (`us.anthropic.` of Bedrock, `openai/` of a router). Nothing else is guessed: the price
of `gpt-5` is not that of `gpt-5-codex`, and a fine-tuned model has none here.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from watchkeeper.export.boundary import boundary
from watchkeeper.language_models.answer import Usage

TOKENS_OF_A_PRICE = 1e6
_MOST_MISSED = 100  # models that are said to have no price; the rest is not said
_DATED = re.compile(r"(?:-\d{4}-\d\d-\d\d|[-@]\d{8}|-latest)?(?:-v\d+(?::\d+)?)?$")
_REACHED_BY = re.compile(r"^(?:[\w.-]+/)*(?:(?:[a-z]+\.)?anthropic\.|(?:[a-z]+\.)?openai\.)?")


@functools.cache
def built_in() -> Mapping[str, Any]:
    """The file beside this module: `noted` (the month) and `models`."""
    table: Mapping[str, Any] = json.loads(files("watchkeeper.language_models").joinpath("prices.json").read_bytes())
    return table


def family_of(model: str) -> str:
    """A model's name without dates and ways."""
    return _DATED.sub("", _REACHED_BY.sub("", model))


class Prices:
    """Tells the price of a call. The built-in table is read when it is first needed."""

    def __init__(self, own: Mapping[str, Mapping[str, float]]) -> None:
        self._own = own
        self._missed: set[str] = set()

    def dollars(self, models: tuple[str, ...], usage: Usage) -> float | None:
        """What these tokens cost under the first of these names that has a price; None, said once, if none has."""
        for model in models:
            price = self._price(model)
            if price is not None:
                return _dollars(price, usage)
        self._miss(models[0])
        return None

    def _price(self, model: str) -> Mapping[str, float] | None:
        for table in (self._own, built_in()["models"]):
            found = table.get(model) or table.get(family_of(model))
            if found is not None:
                return found
        return None

    def _miss(self, model: str) -> None:
        if model not in self._missed and len(self._missed) < _MOST_MISSED:
            self._missed.add(model)
            boundary.say_once(
                f"price of {model}",
                f"watchkeeper knows no price of the model {model!r}, so llm_cost_usd_total leaves it out: name one in"
                " wk.ModelOptions(prices=...) or the file of WATCHKEEPER_MODEL_PRICES",
            )


def _dollars(price: Mapping[str, float], usage: Usage) -> float:
    full = price.get("input", 0.0)
    ordinary = max(0, usage.input - usage.cached - usage.cache_written)
    millionths = (
        ordinary * full
        + usage.cached * price.get("cached", full)
        + usage.cache_written * price.get("cache_write", full)
        + usage.output * price.get("output", 0.0)
    )
    return millionths / TOKENS_OF_A_PRICE
