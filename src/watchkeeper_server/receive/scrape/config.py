"""`prometheus.yml`: what of it concerns scraping, read strictly; the sections of other parts are named, not read.

https://prometheus.io/docs/prometheus/latest/configuration/configuration/
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal, cast

import yaml

from watchkeeper_server.receive.exposition.content import PROTOCOLS
from watchkeeper_server.receive.scrape.discovery.dns import DnsDiscovery
from watchkeeper_server.receive.scrape.discovery.file import FileDiscovery
from watchkeeper_server.receive.scrape.discovery.groups import Discovery
from watchkeeper_server.receive.scrape.discovery.http import HttpDiscovery
from watchkeeper_server.receive.scrape.discovery.kubernetes import KubernetesDiscovery
from watchkeeper_server.receive.scrape.discovery.static import StaticConfig
from watchkeeper_server.receive.scrape.http_config import HttpConfig
from watchkeeper_server.receive.scrape.relabel import RelabelRule
from watchkeeper_server.receive.scrape.shown import shown, without_password
from watchkeeper_server.receive.scrape.units import NO_SIZE, NO_TIME, Milliseconds, Size
from watchkeeper_server.receive.scrape.yaml_reader import (
    INLINE,
    NO_FILE,
    ConfigError,
    Document,
    FilePath,
    is_null,
    read_document,
)
from watchkeeper_server.telemetry import logger

Validation = Literal["", "legacy", "utf8"]
Stamp = tuple[int, int, int]
Escaping = Literal["", "allow-utf-8", "underscores", "dots", "values"]

_TEXT_FIRST = ("OpenMetricsText1.0.0", "OpenMetricsText0.0.1", "PrometheusText1.0.0", "PrometheusText0.0.4")
_PROTOBUF_FIRST = ("PrometheusProto", *_TEXT_FIRST)
# what other parts of Prometheus read
_OTHER_SECTIONS = ("runtime", "alerting", "storage", "tracing", "remote_write", "remote_read", "otlp")
_SECTIONS = ("global", "rule_files", "scrape_config_files", "scrape_configs", *_OTHER_SECTIONS)
_PATTERN = re.compile(r"[^*]*(\*[^/]*)?")
_VARIABLE = re.compile(r"\$(?:\{([^}]*)\}|([a-zA-Z_]\w*|[*#$@!?0-9-]))", re.ASCII)
_LEGACY_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_FOREIGN_SD = re.compile(r"field (\w+_sd_configs) not found")
_MINUTE = Milliseconds(60_000)
_TEN_SECONDS = Milliseconds(10_000)


def _check_protocols(protocols: tuple[str, ...], where: str) -> None:
    for protocol in protocols:
        if protocol not in PROTOCOLS:
            raise ValueError(
                f"scrape_protocols: unknown scrape protocol {protocol}, supported: [{' '.join(sorted(PROTOCOLS))}] "
                f"for {where}"
            )
    if len(set(protocols)) != len(protocols):
        raise ValueError(f"duplicated protocol in scrape_protocols, got [{' '.join(protocols)}] for {where}")


@dataclass(frozen=True)
class Limits:
    """What a scrape may be at most; 0 is no limit. A job without one of its own has the global one."""

    body_size_limit: Size = NO_SIZE
    sample_limit: int = 0
    target_limit: int = 0
    label_limit: int = 0
    label_name_length_limit: int = 0
    label_value_length_limit: int = 0
    keep_dropped_targets: int = 0

    def or_else(self, other: Limits) -> Limits:
        """These, and the other's where there is none."""
        return Limits(**{name: value or getattr(other, name) for name, value in vars(self).items()})


@dataclass(frozen=True)
class Reading:
    """How expositions are read; None takes the global setting."""

    scrape_native_histograms: bool | None = None
    convert_classic_histograms_to_nhcb: bool | None = None
    always_scrape_classic_histograms: bool | None = None
    extra_scrape_metrics: bool | None = None

    def or_else(self, other: Reading) -> Reading:
        """These, and the other's where there is none."""
        return Reading(**{name: getattr(other, name) if value is None else value for name, value in vars(self).items()})


@dataclass(frozen=True)
class GlobalConfig:
    """`global`: defaults of every job."""

    scrape_interval: Milliseconds = _MINUTE
    scrape_timeout: Milliseconds = NO_TIME
    scrape_protocols: tuple[str, ...] = ()
    evaluation_interval: Milliseconds = _MINUTE
    rule_query_offset: Milliseconds = NO_TIME
    query_log_file: FilePath = NO_FILE
    scrape_failure_log_file: FilePath = NO_FILE
    external_labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    metric_name_validation_scheme: Validation = "utf8"
    metric_name_escaping_scheme: Escaping = ""
    limits: Limits = field(default=Limits(), metadata=INLINE)
    reading: Reading = field(default=Reading(), metadata=INLINE)

    def __post_init__(self) -> None:
        for name in ("scrape_interval", "evaluation_interval"):
            object.__setattr__(self, name, getattr(self, name) or _MINUTE)
        if self.scrape_timeout > self.scrape_interval:
            raise ValueError("global scrape timeout greater than scrape interval")
        timeout = self.scrape_timeout or min(_TEN_SECONDS, self.scrape_interval)
        object.__setattr__(self, "scrape_timeout", timeout)
        object.__setattr__(self, "metric_name_validation_scheme", self.metric_name_validation_scheme or "utf8")
        _check_protocols(self.scrape_protocols, "global config")
        for name in self.external_labels:
            if not name or (self.metric_name_validation_scheme == "legacy" and not _LEGACY_NAME.fullmatch(name)):
                raise ValueError(f'"{name}" is not a valid label name')


@dataclass(frozen=True)
class ScrapeConfig:
    """A job: what is scraped and how."""

    job_name: str = ""
    scrape_interval: Milliseconds = NO_TIME
    scrape_timeout: Milliseconds = NO_TIME
    scrape_protocols: tuple[str, ...] = ()
    fallback_scrape_protocol: str = ""
    scrape_failure_log_file: FilePath = NO_FILE
    metrics_path: str = "/metrics"
    scheme: str = "http"
    params: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    honor_labels: bool = False
    honor_timestamps: bool = True
    track_timestamps_staleness: bool = False
    enable_compression: bool = True
    native_histogram_bucket_limit: int = 0
    native_histogram_min_bucket_factor: float = 0.0
    metric_name_validation_scheme: Validation = ""
    metric_name_escaping_scheme: Escaping = ""
    static_configs: tuple[StaticConfig, ...] = ()
    file_sd_configs: tuple[FileDiscovery, ...] = ()
    http_sd_configs: tuple[HttpDiscovery, ...] = ()
    dns_sd_configs: tuple[DnsDiscovery, ...] = ()
    kubernetes_sd_configs: tuple[KubernetesDiscovery, ...] = ()
    relabel_configs: tuple[RelabelRule, ...] = ()
    metric_relabel_configs: tuple[RelabelRule, ...] = ()
    limits: Limits = field(default=Limits(), metadata=INLINE)
    reading: Reading = field(default=Reading(), metadata=INLINE)
    http: HttpConfig = field(default=HttpConfig(), metadata=INLINE)

    def __post_init__(self) -> None:
        if not self.job_name:
            raise ValueError("job_name is empty")
        if not self.relabel_configs:
            for target in (target for group in self.static_configs for target in group.targets):
                if "/" in target:
                    raise ValueError(f'"{without_password(target)}" is not a valid hostname')

    @property
    def utf8(self) -> bool:
        """Whether names may be any UTF-8."""
        return self.metric_name_validation_scheme != "legacy"

    @property
    def discoveries(self) -> tuple[Discovery, ...]:
        """Every way in which targets are found."""
        static: tuple[Discovery, ...] = self.static_configs
        return (
            *static, *self.file_sd_configs, *self.http_sd_configs, *self.dns_sd_configs, *self.kubernetes_sd_configs
        )  # fmt: skip

    def completed(self, defaults: GlobalConfig) -> ScrapeConfig:
        """The job with the global settings where it has none of its own.

        Raises:
            ValueError: the settings do not go together.
        """
        interval = self.scrape_interval or defaults.scrape_interval
        if self.scrape_timeout > interval:
            raise ValueError(
                f'scrape timeout greater than scrape interval for scrape config with job name "{self.job_name}"'
            )
        reading = self.reading.or_else(defaults.reading)
        protocols = self.scrape_protocols or defaults.scrape_protocols
        where = f'scrape config with job name "{self.job_name}"'
        _check_protocols(protocols, where)
        if self.fallback_scrape_protocol and self.fallback_scrape_protocol not in PROTOCOLS:
            raise ValueError(
                f"invalid fallback_scrape_protocol for {where}: unknown scrape protocol "
                f"{self.fallback_scrape_protocol}, supported: [{' '.join(sorted(PROTOCOLS))}]"
            )
        validation = self.metric_name_validation_scheme or defaults.metric_name_validation_scheme
        escaping = self._escaping(defaults, validation)
        completed = replace(
            self,
            scrape_interval=interval,
            scrape_timeout=self.scrape_timeout or min(defaults.scrape_timeout, interval),
            scrape_protocols=protocols or (_PROTOBUF_FIRST if reading.scrape_native_histograms else _TEXT_FIRST),
            scrape_failure_log_file=self.scrape_failure_log_file or defaults.scrape_failure_log_file,
            metric_name_validation_scheme=validation,
            metric_name_escaping_scheme=escaping,
            limits=self.limits.or_else(defaults.limits),
            reading=reading,
        )
        for rule in (*self.relabel_configs, *self.metric_relabel_configs):
            rule.check_names(utf8=completed.utf8)
        return completed

    def _escaping(self, defaults: GlobalConfig, validation: Validation) -> Escaping:
        natural: Escaping = "underscores" if validation == "legacy" else "allow-utf-8"
        inherited = defaults.metric_name_escaping_scheme if not self.metric_name_validation_scheme else ""
        escaping = self.metric_name_escaping_scheme or inherited or natural
        if escaping == "allow-utf-8" and validation == "legacy":
            raise ValueError("utf8 metric names requested but validation scheme is not set to UTF8")
        return escaping


@dataclass(frozen=True)
class Config:
    """A whole configuration.

    Attributes:
        scrape_configs: the jobs, complete; also those of `scrape_config_files`.
        rule_files: the patterns, absolute if the file's own path was.
        other_sections: the sections that are for other parts of Prometheus and were not read.
        files: every file that was read, to be watched for changes, with what it was like just before.
        shown: the file as it may be shown, without secrets.
    """

    global_config: GlobalConfig = GlobalConfig()
    scrape_configs: tuple[ScrapeConfig, ...] = ()
    rule_files: tuple[str, ...] = ()
    scrape_config_files: tuple[str, ...] = ()
    other_sections: tuple[str, ...] = ()
    files: Mapping[str, Stamp] = field(default_factory=lambda: MappingProxyType({}), compare=False)
    shown: str = ""


def load_config(file: Path) -> Config:
    """Read a configuration file and those that it names.

    Raises:
        ConfigError: one of them cannot be used; the message says which, where and why.
    """
    files = {str(file): stamp(file)}
    document, text = _read(file)
    sections = document.sections()
    for name, (key, _) in sections.items():
        if name not in _SECTIONS:
            raise document.error(key, f"field {name} not found; the sections are {', '.join(_SECTIONS)}")
    nodes = {name: value for name, (_, value) in sections.items() if not is_null(value)}
    defaults = document.decode(nodes["global"], GlobalConfig) if "global" in nodes else GlobalConfig()
    defaults = replace(defaults, external_labels=_expanded(defaults.external_labels))
    jobs = _Jobs(defaults)
    if "scrape_configs" in nodes:
        jobs.add(document, nodes["scrape_configs"])
    patterns = _patterns(document, nodes.get("scrape_config_files"), "scrape config")
    for pattern in patterns:
        for path in sorted(map(Path, glob.glob(pattern))):  # noqa: PTH207  the pattern may be absolute
            files[str(path)] = stamp(path)
            more, _ = _read(path)
            for key, value in more.sections().values():
                if key.value != "scrape_configs":
                    raise more.error(key, f"field {key.value} not found; such files hold scrape_configs only")
                if not is_null(value):
                    jobs.add(more, value)
    return Config(
        global_config=defaults,
        scrape_configs=tuple(jobs.found),
        rule_files=_patterns(document, nodes.get("rule_files"), "rule"),
        scrape_config_files=patterns,
        other_sections=tuple(name for name in nodes if name in _OTHER_SECTIONS),
        files=files,
        shown=shown(text),
    )


def stamp(file: str | Path) -> Stamp:
    """Differs once a file has been changed or replaced; of one that is not there, zeros."""
    try:
        status = Path(file).stat()
    except OSError:
        return 0, 0, 0
    return status.st_mtime_ns, status.st_ino, status.st_size


class _Jobs:
    """Jobs as they are read, each of another name."""

    def __init__(self, defaults: GlobalConfig) -> None:
        self._defaults = defaults
        self.found: list[ScrapeConfig] = []
        self._files: dict[str, Path] = {}

    def add(self, document: Document, node: yaml.Node) -> None:
        """Read a list of jobs."""
        if not isinstance(node, yaml.SequenceNode):
            raise document.error(node, "cannot unmarshal scrape_configs: expected a list")
        for entry in node.value:
            if is_null(entry):
                raise document.error(entry, "empty or null scrape config section")
            try:
                config = document.decode(entry, ScrapeConfig).completed(self._defaults)
            except ValueError as error:
                raise document.error(entry, str(error)) from error
            except ConfigError as error:
                foreign = _FOREIGN_SD.search(str(error))
                if foreign is None:
                    raise
                message = str(error).partition(" not found")[0]
                raise ConfigError(
                    f"{message} is not supported: let something that knows these targets write them to a file or serve "
                    "them as JSON, and use file_sd_configs or http_sd_configs"
                ) from error
            first = self._files.setdefault(config.job_name, document.file)
            if config.job_name in (known.job_name for known in self.found):
                where = "" if first == document.file else f", first found in {first}"
                raise document.error(entry, f'found multiple scrape configs with job name "{config.job_name}"{where}')
            self.found.append(config)


def _read(file: Path) -> tuple[Document, str]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return read_document(file, text), text


def _patterns(document: Document, node: yaml.Node | None, what: str) -> tuple[str, ...]:
    if node is None:
        return ()
    patterns = cast("tuple[str, ...]", document.decode(node, tuple[FilePath, ...]))
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise document.error(node, f'invalid {what} file path "{pattern}"')
    return patterns


def _expanded(
    labels: Mapping[str, str], environment: Callable[[str], str | None] = os.environ.get
) -> Mapping[str, str]:
    """External labels with `$VARIABLE` and `${VARIABLE}` replaced, as nothing else in the file."""

    def value(match: re.Match[str]) -> str:
        name = match[1] if match[1] is not None else match[2]
        if name == "$":
            return "$"
        text = environment(name) or ""
        if not text:
            logger.warning("external_labels: the environment variable %s is empty", name)
        return text

    return MappingProxyType({name: _VARIABLE.sub(value, text) for name, text in labels.items()})
