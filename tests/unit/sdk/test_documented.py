"""Every option, variable and metric of the SDK is in a guide."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import watchkeeper as wk
from watchkeeper.export.options import SIGNALS, SignalOptions

ROOT = Path(__file__).parents[3]
GUIDES = "\n".join(path.read_text() for path in sorted((ROOT / "docs/guides").glob("*.md")))
SOURCES = "\n".join(path.read_text() for path in sorted((ROOT / "src/watchkeeper").rglob("*.py")))
VARIABLE = re.compile(r"\b(?:OTEL|SENTRY|WATCHKEEPER)_[A-Z][A-Z_]*[A-Z]\b")
# Environments in which others are read than by default.
ENVIRONMENTS = [
    {},
    {"OTEL_TRACES_EXPORTER": "zipkin"},
    {"OTEL_TRACES_SAMPLER": "traceidratio"},
    {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"},
    {"WATCHKEEPER_LOG_LOKI": "http://loki:3100", "WATCHKEEPER_LOG_ELASTICSEARCH": "http://search:9200"},
]


class Asked(dict[str, str]):
    """An environment that notes what it is asked for."""

    def __init__(self, environment: dict[str, str]) -> None:
        super().__init__(environment)
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self.names.add(str(name))
        return super().__contains__(name)


def variables() -> set[str]:
    names = set(VARIABLE.findall("\n".join(re.findall(r'"([A-Z][A-Z_]+)"', SOURCES))))
    for environment in ENVIRONMENTS:
        asked = Asked(environment)
        wk.Options.from_environment(asked)
        names |= asked.names
    return names - {""}


def documented() -> set[str]:
    """The variables that guides name, also short (`…_TRACES_ENDPOINT` beside one in full) and `also per signal`."""
    found: set[str] = set()
    for line in GUIDES.splitlines():
        full = set(VARIABLE.findall(line))
        for short in re.findall(r"…(_[A-Z_]+)", line):
            found |= {name[: at.start()] + short for name in full for at in re.finditer("_|$", name)}
        if "per signal" in line:
            full |= {
                name.replace("OTEL_EXPORTER_OTLP_", f"OTEL_EXPORTER_OTLP_{signal.upper()}_")
                for name in full | {name for name in found if name.startswith("OTEL_EXPORTER_OTLP_")}
                for signal in SIGNALS
            }
        if "OTEL_PYTHON_<NAME>_…" in line:
            full |= {f"OTEL_PYTHON_{name}_EXCLUDED_URLS" for name in re.findall(r"`([A-Z]+)`", line)}
        found |= full
    return found


def options(kind: type[Any], path: str = "") -> Iterator[str]:
    for field in dataclasses.fields(kind):
        nested = field.default_factory if dataclasses.is_dataclass(field.default_factory) else None
        if nested is not None:
            yield from options(nested, f"{path}{field.name}.")  # type: ignore[arg-type]  # a class, as every factory here
        else:
            yield f"{path}{field.name}"


OPTIONS = [*options(wk.Options), *options(SignalOptions, "export[signal].")]


def test_every_variable_that_is_read_is_in_a_guide() -> None:
    read = variables()
    assert len(read) > 60
    assert sorted(read - documented()) == []


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_in_a_guide(option: str) -> None:
    name = option.rpartition(".")[2]
    found = re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`|^[^`|]*\b{name}=", GUIDES, re.MULTILINE) is not None
    assert found, f"{option} is in no guide: name it in docs/guides, as `{option}`"


def test_no_variable_in_a_guide_is_made_up() -> None:
    known = variables()
    assert sorted(name for name in set(VARIABLE.findall(GUIDES)) - known if name not in SOURCES) == []
