from __future__ import annotations

import pytest

from watchkeeper_server.options import Address, OptionError, parse_address, parse_disk_limit, parse_retention
from watchkeeper_server.store.options import DiskLimit


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
        ("rollups-1h=off,7d", {"traces": 7, "logs": 7, "metrics": 7, "rollups-1h": None}),
    ],
)
def test_retention_is_for_all_signals_or_by_signal(text: str, days: dict[str, int | None]) -> None:
    assert parse_retention(text) == {"rollups-5m": 180, "rollups-1h": 730} | days


@pytest.mark.parametrize("text", ["", "0d", "-1d", "week", "spans=7d", "traces=", "7d,"])
def test_wrong_retention_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(OptionError, match="--retention"):
        parse_retention(text)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("off", DiskLimit()),
        ("80%", DiskLimit(share=0.8, text="80%")),
        ("99.5%", DiskLimit(share=0.995, text="99.5%")),
        ("50GB", DiskLimit(size_bytes=50 << 30, text="50GB")),
        ("80%, 512MB", DiskLimit(0.8, 512 << 20, "80%, 512MB")),
    ],
)
def test_a_disk_limit_is_a_share_or_a_size_or_both_or_off(text: str, limit: DiskLimit) -> None:
    assert parse_disk_limit(text) == limit
    assert bool(limit) == (text != "off")
    assert str(limit) == text


@pytest.mark.parametrize("text", ["", "0%", "101%", "80", "-1GB", "0", "50 gigabytes", "80%,", "80%,90%", "off,80%"])
def test_a_wrong_disk_limit_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(OptionError, match=r"--retention-disk has .*; write a share such as 80%"):
        parse_disk_limit(text)
