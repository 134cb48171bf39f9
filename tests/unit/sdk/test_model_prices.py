from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import watchkeeper as wk
from watchkeeper.language_models.answer import Usage
from watchkeeper.language_models.options import check_prices
from watchkeeper.language_models.prices import Prices, built_in, family_of

ONE = Usage(input=1_000_000, output=1_000_000)


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("gpt-4o-mini", "gpt-4o-mini"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("openai/gpt-5", "gpt-5"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("claude-opus-4-1@20250805", "claude-opus-4-1"),
        ("gpt-5-codex", "gpt-5-codex"),
        ("ft:gpt-4o-mini-2024-07-18:shop::abc", "ft:gpt-4o-mini-2024-07-18:shop::abc"),
    ],
)
def test_dates_and_ways_are_no_part_of_a_family(model: str, family: str) -> None:
    assert family_of(model) == family


def test_a_price_is_that_of_the_answering_model_or_else_of_the_asked_one() -> None:
    prices = Prices({})
    assert prices.dollars(("gpt-4o-2024-08-06", "gpt-4o-mini"), ONE) == pytest.approx(12.5)
    assert prices.dollars(("our-deployment", "gpt-4o-mini"), ONE) == pytest.approx(0.75)
    assert prices.dollars(("gpt-5-codex", "gpt-5-codex"), ONE) is None


def test_own_prices_come_first_and_lack_what_they_do_not_name() -> None:
    prices = Prices({"gpt-4o": {"input": 1}, "our-own-7b": {"output": 4}})
    usage = Usage(input=1_000_000, output=1_000_000, cached=500_000)
    assert prices.dollars(("gpt-4o",), usage) == pytest.approx(1)
    assert prices.dollars(("our-own-7b",), usage) == pytest.approx(4)


def test_prices_come_from_a_file_of_the_environment(tmp_path: Path) -> None:
    table = tmp_path / "prices.json"
    table.write_text(json.dumps({"models": {"our-own-7b": {"input": 0.1, "output": 0.4}}}))
    options = wk.Options.from_environment({"WATCHKEEPER_MODEL_PRICES": str(table), "WATCHKEEPER_MODEL_CONTENT": "true"})
    assert options.models == wk.ModelOptions({"our-own-7b": {"input": 0.1, "output": 0.4}}, capture_content=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read as JSON: .*No such file"),
        ("{", "cannot be read as JSON"),
        ('{"gpt-4o": {"input": 1}}', 'has no prices: write {"models"'),
        ('{"models": {"gpt-4o": {"input": "1"}}}', "the price of 'gpt-4o' is .* give dollars per million tokens"),
        ('{"models": {"gpt-4o": {"read": 1}}}', "some of input, output, cached, cache_write"),
        ('{"models": {"gpt-4o": {"input": -1}}}', "from 0 upwards"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_name(tmp_path: Path, content: str | None, message: str) -> None:
    table = tmp_path / "prices.json"
    if content is not None:
        table.write_text(content)
    with pytest.raises(wk.ConfigurationError, match=message) as refused:
        wk.Options.from_environment({"WATCHKEEPER_MODEL_PRICES": str(table)})
    assert str(refused.value).startswith(f"WATCHKEEPER_MODEL_PRICES ({table})")


def test_prices_in_code_are_judged_too() -> None:
    bad: Any = {"gpt-4o": 2.5}
    with pytest.raises(wk.ConfigurationError, match=r"models\.prices: the price of 'gpt-4o' is 2\.5"):
        wk.Options(models=wk.ModelOptions(prices=bad)).validate()


def test_the_built_in_table_says_when_it_was_noted_and_is_usable() -> None:
    table = built_in()
    assert re.fullmatch(r"20\d\d-\d\d", table["noted"])
    assert "Prices change" in " ".join(table["about"])
    check_prices("prices.json", table["models"])
    assert [model for model in table["models"] if family_of(model) != model] == []
