"""What every way of discovery finds: groups of targets that share labels.

A way of discovery is a frozen dataclass read from the configuration with one method, `discover`, which runs until it
is cancelled and publishes everything it knows each time that changes. What cannot be asked right now keeps what it
answered last; a warning says so.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

Publish = Callable[[Sequence["TargetGroup"]], None]
Sleep = Callable[[float], Awaitable[None]]
_NO_LABELS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class TargetGroup:
    """Targets by their labels, `__address__` among them, and labels that all of them get unless they have their own."""

    targets: Sequence[Mapping[str, str]] = ()
    labels: Mapping[str, str] = field(default_factory=lambda: _NO_LABELS)

    def merged(self) -> list[dict[str, str]]:
        """Each target with all of its labels."""
        return [{**self.labels, **target} for target in self.targets]


class Discovery(Protocol):
    """One entry of a `*_sd_configs`."""

    async def discover(self, publish: Publish, sleep: Sleep) -> None:
        """Publish what there is, again each time that it changes, until cancelled."""


def host_port(host: str, port: int | str) -> str:
    """An address with a port; an IPv6 address gets its brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def groups_from_json(text: str | bytes, labels: Mapping[str, str]) -> list[TargetGroup]:
    """Target groups as JSON, each with some more labels.

    Raises:
        ValueError: it is not a list of objects with `targets` and perhaps `labels`.
    """
    try:
        entries = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(entries, list):
        raise ValueError("expected a list of target groups")  # noqa: TRY004  whoever calls knows of no types
    return [_group(entry, labels) for entry in entries]


def _group(entry: Any, labels: Mapping[str, str]) -> TargetGroup:
    if not isinstance(entry, dict) or not entry.keys() <= {"targets", "labels"}:
        raise ValueError(f"expected a target group with targets and labels, got {str(entry)[:80]}")
    targets, own = entry.get("targets") or [], entry.get("labels") or {}
    if not isinstance(targets, list) or not all(isinstance(target, str) for target in targets):
        raise ValueError("the targets of a group must be a list of strings")
    if not isinstance(own, dict) or not all(isinstance(value, str) for value in own.values()):
        raise ValueError("the labels of a group must be strings")
    return TargetGroup(tuple({"__address__": target} for target in targets), {**own, **labels})
