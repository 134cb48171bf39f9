"""Every variable that is read, with values that nobody meant: it is taken, or named with what would be right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from watchkeeper import ConfigurationError, Options

ODD = (
    *("nonsense words", "nan", "inf", "-1", "-0.5", "0", "1e99", "9" * 5_000, "1_0", "٣", "=", "a=b=c", ",,,", "("),
    *(
        "[",
        "*",
        "http://",
        "http://[",
        "http://h:99999",
        "ftp://h",
        "http://u:secret@h",
        "Bearer hush",
        "localhost:1",
        "/",
        "a/",
    ),
    *("\ud800", "\u2028", "x" * 10_000, " ", "true false", "yes", "None", "level=x", "__a=1", "9a=1", "é"),
)
# Some are read only where others ask for it.
SETTINGS: tuple[dict[str, str], ...] = (
    {},
    {"OTEL_TRACES_EXPORTER": "zipkin", "OTEL_TRACES_SAMPLER": "traceidratio"},
    {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "h:1", "OTEL_TRACES_SAMPLER": "ratelimited"},
    {
        "OTEL_TRACES_SAMPLER": "adaptive",
        "WATCHKEEPER_LOG_LOKI": "http://l",
        "WATCHKEEPER_LOG_ELASTICSEARCH": "http://e",
    },
)


class Watched(Mapping[str, str]):
    """An environment that remembers what was asked of it."""

    def __init__(self, values: dict[str, str]) -> None:
        self.values_by_name = values
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self.values_by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_name)

    def __len__(self) -> int:
        return len(self.values_by_name)


def variables() -> list[tuple[str, int]]:
    """Each variable, with the settings in which it is read."""
    found: dict[str, int] = {}
    for at, settings in enumerate(SETTINGS):
        environ = Watched(settings)
        Options.from_environment(environ)
        for name in environ.asked:
            found.setdefault(name, at)
    return sorted(found.items())


VARIABLES = variables()


def test_the_variables_are_found() -> None:
    names = {name for name, _ in VARIABLES}
    assert {
        "OTEL_SERVICE_NAME",
        "WATCHKEEPER_LOG_LEVEL",
        "OTEL_EXPORTER_OTLP_INSECURE",
        "OTEL_TRACES_SAMPLER_ARG",
    } <= names
    assert len(names) > 60


@pytest.mark.parametrize(("name", "at"), VARIABLES, ids=[name for name, _ in VARIABLES])
def test_a_variable_is_taken_or_named_with_what_would_be_right(name: str, at: int) -> None:
    for value in ODD:
        try:
            Options.from_environment({**SETTINGS[at], name: value})
        except ConfigurationError as error:  # anything else is a bug
            told = str(error)
            assert name in told, f"{value[:40]!r}: {told[:300]}"
            assert len(told) < 600, told[:600]
            assert "\n" not in told
            if name.endswith(("_ENDPOINT", "_LOKI", "_ELASTICSEARCH")):
                assert "secret" not in told
            if name.endswith("_HEADERS"):
                assert "hush" not in told
