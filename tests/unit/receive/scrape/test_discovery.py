from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from dns import asyncresolver
from hypothesis import given
from hypothesis import strategies as st

from support.scraping import Clock, Reply, serving, until
from watchkeeper_server.receive.scrape.discovery.dns import DnsDiscovery
from watchkeeper_server.receive.scrape.discovery.file import FileDiscovery
from watchkeeper_server.receive.scrape.discovery.groups import Discovery, TargetGroup, groups_from_json
from watchkeeper_server.receive.scrape.discovery.http import HttpDiscovery
from watchkeeper_server.receive.scrape.discovery.static import StaticConfig
from watchkeeper_server.receive.scrape.yaml_reader import FilePath

JSON = {"Content-Type": "application/json; charset=utf-8"}
Found = list[dict[str, str]]


class Discovered:
    """What a discovery has published so far, each time as one list of targets."""

    def __init__(self) -> None:
        self.published: list[Found] = []

    def __call__(self, groups: Sequence[TargetGroup]) -> None:
        self.published.append([target for group in groups for target in group.merged()])


@asynccontextmanager
async def discovering(discovery: Discovery, clock: Clock) -> AsyncIterator[Discovered]:
    found = Discovered()
    task = asyncio.create_task(discovery.discover(found, clock.sleep))
    try:
        await until(lambda: found.published or task.done())
        yield found
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


def addresses(found: Found) -> list[str]:
    return sorted(target["__address__"] for target in found)


async def turn(clock: Clock, found: Discovered, seconds: float) -> Found:
    """What is published next."""
    before = len(found.published)
    await asyncio.sleep(0.01)
    await clock.advance(seconds)
    await until(lambda: len(found.published) > before)
    return found.published[-1]


async def test_static_targets_are_there_at_once() -> None:
    found = Discovered()
    await StaticConfig(("a:1", "b:2"), {"env": "x"}).discover(found, Clock().sleep)
    assert found.published == [[{"__address__": "a:1", "env": "x"}, {"__address__": "b:2", "env": "x"}]]


async def test_files_are_read_again_when_they_change(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.yml"
    first.write_text('[{"targets": ["a:1"], "labels": {"env": "x"}}]')
    clock = Clock()
    discovery = FileDiscovery((FilePath(str(tmp_path / "*.json")), FilePath(str(second))))
    async with discovering(discovery, clock) as found:
        assert found.published == [[{"__address__": "a:1", "env": "x", "__meta_filepath": str(first)}]]
        second.write_text("- targets: [b:1, 'c:2']\n  labels: {n: 1}\n")
        assert addresses(await turn(clock, found, 5)) == ["a:1", "b:1", "c:2"]
        assert found.published[-1][1]["n"] == "1"
        second.write_text("- tragets: [d:1]\n")  # is left as it was
        os.utime(second, ns=(1, 1))
        first.write_text('[{"targets": ["e:1"]}]')
        os.utime(first, ns=(2, 2))
        assert addresses(await turn(clock, found, 5)) == ["b:1", "c:2", "e:1"]
        assert "field tragets not found; did you mean targets?" in caplog.text
        second.unlink()
        assert addresses(await turn(clock, found, 5)) == ["e:1"]
        await clock.advance(50)
        assert len(found.published) == 4


async def test_a_server_is_asked_again_and_again(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    async with serving(Reply(b'[{"targets": ["a:1"], "labels": {"x": "y"}}]', headers=JSON)) as server:
        url = f"http://{server.address}/targets"
        async with discovering(HttpDiscovery(url), clock) as found:
            assert found.published == [[{"__address__": "a:1", "x": "y", "__meta_url": url}]]
            assert server.requests[0].headers["x-prometheus-refresh-interval-seconds"] == "60"
            for reply, warning in (
                (Reply(b"[]"), "unsupported content type"),
                (Reply(b"{}", headers=JSON), "expected a list of target groups"),
                (Reply(status="503 Busy"), "503 Busy"),
            ):
                server.answer = reply
                await clock.advance(60)
                await until(lambda warning=warning: warning in caplog.text)  # type: ignore[misc]
                await asyncio.sleep(0.01)
            assert len(found.published) == 1
            server.answer = Reply(b"[]", headers=JSON)
            assert await turn(clock, found, 60) == []


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["targets", "labels", "x"]), inner, max_size=3)
        ),
    )
)
def test_any_json_is_target_groups_or_refused(value: Any) -> None:
    try:
        groups = groups_from_json(json.dumps(value), {"more": "1"})
    except ValueError:
        return
    assert all(isinstance(text, str) for group in groups for target in group.merged() for text in target.values())


class NameServer(asyncio.DatagramProtocol):
    """Answers from a table; names that are not in it do not exist, and None refuses."""

    def __init__(self, records: dict[tuple[str, str], list[str] | None]) -> None:
        self.records = records
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        response = dns.message.make_response(query)
        kind = dns.rdatatype.to_text(question.rdtype)
        records = self.records.get((question.name.to_text(), kind), [])
        if records:
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *records))
        elif records is None:
            response.set_rcode(dns.rcode.REFUSED)
        elif question.name.to_text() not in {name for name, _ in self.records}:
            response.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(response.to_wire(), address)


@pytest.fixture
async def name_server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NameServer]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(lambda: NameServer({}), local_addr=("127.0.0.1", 0))
    resolver = asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], transport.get_extra_info("sockname")[1]
    resolver.lifetime = 2.0
    monkeypatch.setattr(asyncresolver, "default_resolver", resolver)
    yield server
    transport.close()


@pytest.mark.parametrize(
    ("kind", "records", "expected"),
    [
        ("A", ["10.0.0.1", "10.0.0.2"], {"10.0.0.1:80": {}, "10.0.0.2:80": {}}),
        ("AAAA", ["::1"], {"[::1]:80": {}}),
        ("SRV", ["0 0 9100 host.example."],
         {"host.example:9100": {"srv_record_target": "host.example.", "srv_record_port": "9100"}}),
        ("MX", ["10 mail.example."], {"mail.example:80": {"mx_record_target": "mail.example."}}),
        ("NS", ["ns.example."], {"ns.example:80": {"ns_record_target": "ns.example."}}),
    ],
)  # fmt: skip
async def test_records_become_targets(
    name_server: NameServer, kind: str, records: list[str], expected: dict[str, dict[str, str]]
) -> None:
    name_server.records["x.example.", kind] = records
    async with discovering(DnsDiscovery(("x.example.",), kind, 80), Clock()) as found:
        assert sorted(found.published[0], key=str) == sorted(
            (
                {"__address__": address, "__meta_dns_name": "x.example."}
                | {f"__meta_dns_{name}": value for name, value in more.items()}
                for address, more in expected.items()
            ),
            key=str,
        )


async def test_a_name_that_is_gone_has_no_targets_and_one_that_cannot_be_asked_keeps_them(
    name_server: NameServer, caplog: pytest.LogCaptureFixture
) -> None:
    name_server.records = {("a.example.", "A"): ["10.0.0.1"], ("b.example.", "A"): ["10.0.0.2"]}
    clock = Clock()
    async with discovering(DnsDiscovery(("a.example.", "b.example."), "A", 1), clock) as found:
        assert addresses(found.published[0]) == ["10.0.0.1:1", "10.0.0.2:1"]
        name_server.records = {("b.example.", "A"): None}
        assert addresses(await turn(clock, found, 30)) == ["10.0.0.2:1"]
        assert "dns_sd_configs: b.example. is left as it was" in caplog.text
