"""Options of logging."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from watchkeeper.environment import (
    ConfigurationError,
    check_choice,
    check_pattern,
    check_within,
    flag_in,
    list_in,
    number_in,
    short,
)
from watchkeeper.logging.levels import INFO, LEVELS
from watchkeeper.logging.server_options import ElasticsearchOptions, LokiOptions

LogFormat = Literal["auto", "json", "logstash", "ecs", "console"]
LogStream = Literal["stdout", "stderr", "off"]
SMALLEST_FILE, LARGEST_FILE = 1_024, 1 << 40  # bytes


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

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> RedactionOptions:
        """What a deployment asks for."""
        pattern = environ.get("WATCHKEEPER_LOG_REDACT_PATTERN", "")
        return cls(
            enabled=flag_in(environ, "WATCHKEEPER_LOG_REDACT", default=True),
            keys=list_in(environ, "WATCHKEEPER_LOG_REDACT_KEYS"),
            patterns=(pattern,) if pattern else (),
        )

    def validate(self) -> None:
        """Raises ConfigurationError for the first pattern that cannot be used."""
        for pattern in self.patterns:
            if check_pattern("logs.redaction.patterns", pattern).fullmatch("") is not None:
                raise ConfigurationError(
                    f"logs.redaction.patterns: {pattern!r} matches the empty text: it would redact everything"
                )


@dataclass(frozen=True)
class FileOptions:
    """A file that lines are written to as well, if `path` names one, and how long it grows and is kept.

    It is rotated before it exceeds `max_bytes`, unless by a single line, and at midnight UTC if `daily`.

    Example:
        >>> FileOptions("/var/log/shop/app.log", max_bytes=50_000_000, keep_days=7)
    """

    path: str = ""
    format: LogFormat = "auto"  # auto: that of the stream where it is for machines, else json
    max_bytes: int = 100_000_000
    daily: bool = True
    compress: bool = True  # rotated files, with gzip
    keep_files: int = 100  # rotated ones
    keep_days: float = 30.0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> FileOptions:
        """What a deployment asks for."""
        prefix = "WATCHKEEPER_LOG_FILE"
        return cls(
            path=environ.get(prefix, ""),
            format=environ.get(f"{prefix}_FORMAT", cls.format).strip().lower(),  # type: ignore[arg-type]  # see validate
            max_bytes=number_in(environ, f"{prefix}_MAX_BYTES", cls.max_bytes, int),
            daily=flag_in(environ, f"{prefix}_DAILY", default=cls.daily),
            compress=flag_in(environ, f"{prefix}_COMPRESS", default=cls.compress),
            keep_files=number_in(environ, f"{prefix}_KEEP_FILES", cls.keep_files, int),
            keep_days=number_in(environ, f"{prefix}_KEEP_DAYS", cls.keep_days, float),
        )

    def validate(self) -> None:
        """Raises ConfigurationError for the first option that cannot work."""
        check_choice("logs.file.format", self.format, LogFormat)
        check_within("logs.file.max_bytes", self.max_bytes, SMALLEST_FILE, LARGEST_FILE)
        check_within("logs.file.keep_files", self.keep_files, 0, 1_000_000)
        check_within("logs.file.keep_days", self.keep_days, 0, 36_500)
        if self.path and (self.path.endswith("/") or os.path.isdir(self.path)):  # noqa: PTH112  # see check_file
            raise ConfigurationError(f"logs.file.path is {self.path!r}: it must name a file, not a directory")


@dataclass(frozen=True)
class LogOptions:
    """What is logged and how it looks. `format="auto"` is console on a terminal and JSON elsewhere.

    Example:
        >>> LogOptions(level="debug", format="json", stream="stderr")
    """

    level: int | str = INFO  # or a name, as WATCHKEEPER_LOG_LEVEL has it
    format: LogFormat = "auto"
    stream: LogStream = "stdout"
    flush_seconds: float = 0.2  # the longest a line below error waits in the buffer
    capture: bool = True  # also lines of the standard library's logging and of structlog
    slow_seconds: float = 1.0  # `timed` and `measure` warn of what takes longer
    redaction: RedactionOptions = field(default_factory=RedactionOptions)
    file: FileOptions = field(default_factory=FileOptions)
    loki: LokiOptions = field(default_factory=LokiOptions)
    elasticsearch: ElasticsearchOptions = field(default_factory=ElasticsearchOptions)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> LogOptions:
        """What a deployment asks for. Raises ConfigurationError that names the variable it cannot read."""
        level = environ.get("WATCHKEEPER_LOG_LEVEL", "info").strip().lower()
        _check_level("WATCHKEEPER_LOG_LEVEL", level)
        chosen_format = environ.get("WATCHKEEPER_LOG_FORMAT", "auto").strip().lower()
        stream = environ.get("WATCHKEEPER_LOG_STREAM", "stdout").strip().lower()
        check_choice("WATCHKEEPER_LOG_FORMAT", chosen_format, LogFormat)
        check_choice("WATCHKEEPER_LOG_STREAM", stream, LogStream)
        return cls(
            level=LEVELS[level],
            format=chosen_format,  # type: ignore[arg-type]  # checked above
            stream=stream,  # type: ignore[arg-type]  # checked above
            capture=flag_in(environ, "WATCHKEEPER_LOG_CAPTURE", default=True),
            slow_seconds=number_in(environ, "WATCHKEEPER_LOG_SLOW", cls.slow_seconds * 1e3, float) / 1e3,
            redaction=RedactionOptions.from_environment(environ),
            file=FileOptions.from_environment(environ),
            loki=LokiOptions.from_environment(environ),
            elasticsearch=ElasticsearchOptions.from_environment(environ),
        )

    def validate(self) -> None:
        """Raises ConfigurationError for the first option that cannot work."""
        _check_level("logs.level", self.level)
        check_choice("logs.format", self.format, LogFormat)
        check_choice("logs.stream", self.stream, LogStream)
        check_within("logs.flush_seconds", self.flush_seconds, 0.0, 60)
        check_within("logs.slow_seconds", self.slow_seconds, 0.0, 86_400)
        self.redaction.validate()
        self.file.validate()
        self.loki.validate()
        self.elasticsearch.validate()


def _check_level(name: str, level: int | str) -> None:
    if isinstance(level, str) and level.strip().lower() not in LEVELS:
        raise ConfigurationError(f"{name} is {short(level)}: use one of {', '.join(LEVELS)}")
