"""`static_configs`: targets written in the configuration itself, or in a file of the same form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from watchkeeper_server.receive.scrape.discovery.groups import Publish, Sleep, TargetGroup


@dataclass(frozen=True)
class StaticConfig:
    """One group of targets."""

    targets: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def group(self, **more: str) -> TargetGroup:
        """The group, with some more labels."""
        return TargetGroup(tuple({"__address__": target} for target in self.targets), {**self.labels, **more})

    async def discover(self, publish: Publish, sleep: Sleep) -> None:
        """Publish the group, once."""
        del sleep
        publish([self.group()])
