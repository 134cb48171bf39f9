"""What the server knows of itself, for the API's status routes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """The server at one moment; times are Unix nanoseconds.

    Attributes:
        version: Watchkeeper's own.
        started_ns: when the process began.
        external_url: where it is reached from outside, such as `http://watchkeeper.example:7070`.
        config_yaml: the scrape configuration in force.
        config_loaded_ns: when that was read.
        config_current: whether the last attempt to read it succeeded.
        flags: options by name, without dashes, as text.
        retention: how long metrics are kept, such as `30d`.
        corruptions: how many payloads had to be set aside.
    """

    version: str
    started_ns: int
    external_url: str
    config_yaml: str = ""
    config_loaded_ns: int = 0
    config_current: bool = True
    flags: Mapping[str, str] = field(default_factory=dict)
    retention: str = ""
    corruptions: int = 0
