"""`dns_sd_configs`: targets that DNS names, by A, AAAA, SRV, MX and NS records."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from watchkeeper_server.receive.scrape.discovery.groups import Publish, Sleep, TargetGroup, host_port
from watchkeeper_server.receive.scrape.units import Milliseconds
from watchkeeper_server.telemetry import logger

_TYPES = ("A", "AAAA", "SRV", "MX", "NS")
_REFRESH = Milliseconds(30_000)


@dataclass(frozen=True)
class DnsDiscovery:
    """Names to look up again and again."""

    names: tuple[str, ...]
    type: str = "SRV"
    port: int = 0
    refresh_interval: Milliseconds = _REFRESH

    def __post_init__(self) -> None:
        object.__setattr__(self, "type", self.type.upper())
        if not self.names:
            raise ValueError("DNS-SD config must contain at least one SRV record name")
        if self.type not in _TYPES:
            raise ValueError(f"invalid DNS-SD records type {self.type}")
        if self.type != "SRV" and not self.port:
            raise ValueError("a port is required in DNS-SD configs for all record types except SRV")

    async def discover(self, publish: Publish, sleep: Sleep) -> None:
        """Publish what the names stand for; a name that cannot be asked keeps what it stood for."""
        known: dict[str, TargetGroup] = {}
        while True:
            found = dict(zip(self.names, await asyncio.gather(*map(self._look_up, self.names)), strict=True))
            known |= {name: group for name, group in found.items() if group is not None}
            publish(list(known.values()))
            await sleep(self.refresh_interval / 1000)

    async def _look_up(self, name: str) -> TargetGroup | None:
        from dns import asyncresolver, exception, resolver  # noqa: PLC0415  30 ms: only who is configured so pays

        try:
            answer: Iterable[Any] = await asyncresolver.resolve(name, self.type, search=True)
        except (resolver.NXDOMAIN, resolver.NoAnswer):
            answer = ()
        except (exception.DNSException, OSError) as error:
            logger.warning("dns_sd_configs: %s is left as it was: %s", name, error)
            return None
        return TargetGroup([{**self._target(record), "__meta_dns_name": name} for record in answer])

    def _target(self, record: Any) -> dict[str, str]:
        match self.type:
            case "SRV":
                return {
                    "__address__": host_port(_name(record.target), record.port),
                    "__meta_dns_srv_record_target": record.target.to_text(),
                    "__meta_dns_srv_record_port": str(record.port),
                }
            case "MX":
                return {
                    "__address__": host_port(_name(record.exchange), self.port),
                    "__meta_dns_mx_record_target": record.exchange.to_text(),
                }
            case "NS":
                return {
                    "__address__": host_port(_name(record.target), self.port),
                    "__meta_dns_ns_record_target": record.target.to_text(),
                }
            case _:
                return {"__address__": host_port(record.address, self.port)}


def _name(target: Any) -> str:
    """A name without the dot that ends it."""
    return str(target.to_text(omit_final_dot=True))
