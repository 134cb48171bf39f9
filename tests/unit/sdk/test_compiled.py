"""What is compiled in a released wheel, and only there."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]


def compiled() -> tuple[str, ...]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = project["tool"]["hatch"]["build"]["hooks"]["custom"]["compiled"]
    return tuple(f"watchkeeper.{name.replace('/', '.')}" for name in names)


def test_every_module_to_be_compiled_is_compiled_or_none_is() -> None:
    suffixes = {Path(str(importlib.import_module(name).__file__)).suffix for name in compiled()}
    assert suffixes in ({".py"}, {".so"})


def test_no_public_name_is_compiled_away_from_its_documentation() -> None:
    import watchkeeper as wk  # noqa: PLC0415

    public = {getattr(getattr(wk, name), "__module__", "") for name in wk.__all__}
    assert public.isdisjoint(compiled())
