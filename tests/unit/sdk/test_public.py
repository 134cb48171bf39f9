"""The names that applications import."""

from __future__ import annotations

import pytest

import watchkeeper as wk


@pytest.mark.parametrize("name", wk.__all__)
def test_every_public_name_shows_an_example(name: str) -> None:
    assert "Example:" in (getattr(wk, name).__doc__ or "")
