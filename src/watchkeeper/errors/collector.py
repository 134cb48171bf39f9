"""Where every caught error ends, whoever caught it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from watchkeeper.errors.event import Mechanism, Severity


@dataclass(slots=True)
class Source:
    """Who caught an error, and what they know of it beside the exception."""

    mechanism: Mechanism
    handled: bool = True
    message: str = ""
    severity: Severity = "error"
    fingerprint: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    logger: str = ""


class Collector:
    """Does nothing until a client wires it."""

    def take(self, error: BaseException | None, source: Source) -> str:  # noqa: ARG002
        """The id of the event that tells of this error, empty if there is none."""
        return ""


collector = Collector()
