from __future__ import annotations

import pytest

from watchkeeper_server.options import Address, OptionError, parse_address, parse_retention


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:7070", Address("127.0.0.1", 7070)),
        (":7070", Address("127.0.0.1", 7070)),
        ("[::1]:4317", Address("::1", 4317)),
        ("localhost:0", Address("localhost", 0)),
        ("off", None),
    ],
)
def test_an_address_is_host_and_port_or_off(text: str, address: Address | None) -> None:
    assert parse_address("--listen", text) == address


@pytest.mark.parametrize("text", ["127.0.0.1:7070", "[::1]:4317"])
def test_an_address_is_shown_as_it_is_written(text: str) -> None:
    assert str(parse_address("--listen", text)) == text


@pytest.mark.parametrize("text", ["", "7070", "localhost", "localhost:http", "127.0.0.1:65536", "127.0.0.1:-1"])
def test_a_wrong_address_is_refused_by_the_options_name(text: str) -> None:
    with pytest.raises(OptionError, match="--otlp-http"):
        parse_address("--otlp-http", text)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("30d", {"traces": 30, "logs": 30, "metrics": 30}),
        ("7", {"traces": 7, "logs": 7, "metrics": 7}),
        ("off", {"traces": None, "logs": None, "metrics": None}),
        ("traces=7d,logs=off", {"traces": 7, "logs": None, "metrics": 30}),
    ],
)
def test_retention_is_for_all_signals_or_by_signal(text: str, days: dict[str, int | None]) -> None:
    assert parse_retention(text) == days


@pytest.mark.parametrize("text", ["", "0d", "-1d", "week", "spans=7d", "traces=", "7d,"])
def test_wrong_retention_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(OptionError, match="--retention"):
        parse_retention(text)
