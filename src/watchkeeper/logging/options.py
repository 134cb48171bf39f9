"""Options of logging."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from watchkeeper.logging.levels import INFO

LogFormat = Literal["auto", "json", "logstash", "ecs", "console"]
LogStream = Literal["stdout", "stderr", "off"]
LARGEST_FILE = 1 << 40


@dataclass(frozen=True)
class RedactionOptions:
    """What is kept out of log lines, on top of what is known to be secret: passwords, tokens, keys, card numbers.

    `keys` are names of fields, `patterns` regular expressions; what they match is replaced. `enabled=False` writes
    everything as it is.

    Example:
        >>> RedactionOptions(keys=("iban", "date_of_birth"), patterns=(r"CUST-[0-9]{8}",))
    """

    enabled: bool = True
    keys: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()

    def problems(self) -> Iterator[str]:
        """What cannot work, in words."""
        for pattern in self.patterns:
            try:
                if re.compile(pattern).fullmatch(""):
                    yield f"logs.redaction.patterns: {pattern!r} matches nothing at all: it would redact everything"
            except re.error as error:
                yield f"logs.redaction.patterns: {pattern!r} is not a regular expression: {error}"


@dataclass(frozen=True)
class LogOptions:
    """What is logged and how it looks. `format="auto"` is console on a terminal and JSON elsewhere.

    Example:
        >>> LogOptions(level=10, format="json", stream="stderr")
    """

    level: int = INFO
    format: LogFormat = "auto"
    stream: LogStream = "stdout"
    flush_seconds: float = 0.2  # the longest a line below error waits in the buffer
    capture: bool = True  # also lines of the standard library's logging and of structlog
    redaction: RedactionOptions = field(default_factory=RedactionOptions)
