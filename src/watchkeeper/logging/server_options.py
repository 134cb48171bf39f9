"""Options of the log servers that lines can be sent to besides OTLP: Loki, Elasticsearch and OpenSearch."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from watchkeeper.environment import (
    ConfigurationError,
    check_choice,
    check_file,
    check_url,
    check_within,
    flag_in,
    number_in,
    pairs_in,
)

LokiFormat = Literal["json", "logstash", "ecs"]
DocumentFormat = Literal["ecs", "logstash"]
IndexInterval = Literal["daily", "weekly", "monthly", "none"]
MOST_LABELS = 15  # of a stream, Loki's default limit; three are ours
LONGEST_KEPT_DAYS = 36_500
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
# https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-indices-create, with room for a date
_INDEX = re.compile(r"[^\\/*?\"<>| ,#:A-Z+_-][^\\/*?\"<>| ,#:A-Z]{0,199}")


@dataclass(frozen=True)
class LokiOptions:
    """A Loki that lines are pushed to, if `url` names one: `http://loki:3100`, or with the path of its push API.

    A stream's labels are `service`, `environment`, `level` and `labels`: keep their values few. A line is the JSON that
    the stream gets; the ids of its trace and request are structured metadata, unless `metadata` is False, which a Loki
    before 3.0 may need.

    Example:
        >>> LokiOptions("http://loki:3100", tenant="shop", labels={"region": "eu"})
    """

    url: str = ""
    tenant: str = ""  # sent as X-Scope-OrgID
    username: str = ""
    password: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)
    metadata: bool = True
    format: LokiFormat = "json"
    timeout_seconds: float = 10.0
    certificate: str = ""  # a file of authorities to trust instead of the system's

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> LokiOptions:
        """What a deployment asks for."""
        prefix = "WATCHKEEPER_LOG_LOKI"
        url = environ.get(prefix, "").strip()
        if url:
            check_url(prefix, url)
        chosen = environ.get(f"{prefix}_FORMAT", "").strip().lower() or cls.format
        check_choice(f"{prefix}_FORMAT", chosen, LokiFormat)
        labels = pairs_in(environ, f"{prefix}_LABELS")
        _check_labels(f"{prefix}_LABELS", labels)
        certificate = environ.get(f"{prefix}_CERTIFICATE", "")
        check_file(f"{prefix}_CERTIFICATE", certificate)
        return cls(
            url=url,
            tenant=environ.get(f"{prefix}_TENANT", ""),
            username=environ.get(f"{prefix}_USERNAME", ""),
            password=environ.get(f"{prefix}_PASSWORD", ""),
            headers=pairs_in(environ, f"{prefix}_HEADERS"),
            labels=labels,
            metadata=flag_in(environ, f"{prefix}_METADATA", default=cls.metadata),
            format=chosen,  # type: ignore[arg-type]  # checked above
            timeout_seconds=number_in(environ, f"{prefix}_TIMEOUT", cls.timeout_seconds * 1e3, float, 1, 3_600_000)
            / 1e3,
            certificate=certificate,
        )

    def validate(self) -> None:
        """Raises ConfigurationError for the first option that cannot work."""
        if self.url:
            check_url("logs.loki.url", self.url)
        check_choice("logs.loki.format", self.format, LokiFormat)
        check_within("logs.loki.timeout_seconds", self.timeout_seconds, 0.001, 3_600)
        _check_labels("logs.loki.labels", self.labels)
        check_file("logs.loki.certificate", self.certificate)
        _check_headers("logs.loki", {"tenant": self.tenant, "username": self.username, **self.headers})


@dataclass(frozen=True)
class ElasticsearchOptions:
    """An Elasticsearch or OpenSearch that lines are sent to in bulk, if `url` names one.

    They go to `<index>-2026.11.21` by their own time in UTC (`-2026.w47` weekly, `-2026.11` monthly), or to `index`
    itself where `interval` is `none`: a data stream or an alias. Without `index` that is `logs-<service>`. With
    `keep_days` an index template and a lifecycle policy of the index' name are made, unless there are some already,
    which delete the indices after so many days.

    Example:
        >>> ElasticsearchOptions("https://search:9200", api_key="VnVhQ2ZHY0JDZGJrU...", keep_days=30)
    """

    url: str = ""
    index: str = ""
    interval: IndexInterval = "daily"
    format: DocumentFormat = "ecs"
    username: str = ""
    password: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)  # as Elasticsearch's API gives it out encoded
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    keep_days: float = 0.0  # 0: neither template nor policy is made
    timeout_seconds: float = 10.0
    certificate: str = ""  # a file of authorities to trust instead of the system's

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> ElasticsearchOptions:
        """What a deployment asks for."""
        prefix = "WATCHKEEPER_LOG_ELASTICSEARCH"
        url = environ.get(prefix, "").strip()
        if url:
            check_url(prefix, url)
        index = environ.get(f"{prefix}_INDEX", "").strip()
        _check_index(f"{prefix}_INDEX", index)
        interval = environ.get(f"{prefix}_INTERVAL", "").strip().lower() or cls.interval
        check_choice(f"{prefix}_INTERVAL", interval, IndexInterval)
        chosen = environ.get(f"{prefix}_FORMAT", "").strip().lower() or cls.format
        check_choice(f"{prefix}_FORMAT", chosen, DocumentFormat)
        certificate = environ.get(f"{prefix}_CERTIFICATE", "")
        check_file(f"{prefix}_CERTIFICATE", certificate)
        return cls(
            url=url,
            index=index,
            interval=interval,  # type: ignore[arg-type]  # checked above
            format=chosen,  # type: ignore[arg-type]  # likewise
            username=environ.get(f"{prefix}_USERNAME", ""),
            password=environ.get(f"{prefix}_PASSWORD", ""),
            api_key=environ.get(f"{prefix}_API_KEY", "").strip(),
            headers=pairs_in(environ, f"{prefix}_HEADERS"),
            keep_days=number_in(environ, f"{prefix}_KEEP_DAYS", cls.keep_days, float, 0, LONGEST_KEPT_DAYS),
            timeout_seconds=number_in(environ, f"{prefix}_TIMEOUT", cls.timeout_seconds * 1e3, float, 1, 3_600_000)
            / 1e3,
            certificate=certificate,
        )

    def validate(self) -> None:
        """Raises ConfigurationError for the first option that cannot work."""
        if self.url:
            check_url("logs.elasticsearch.url", self.url)
        _check_index("logs.elasticsearch.index", self.index)
        check_choice("logs.elasticsearch.interval", self.interval, IndexInterval)
        check_choice("logs.elasticsearch.format", self.format, DocumentFormat)
        check_within("logs.elasticsearch.keep_days", self.keep_days, 0, LONGEST_KEPT_DAYS)
        check_within("logs.elasticsearch.timeout_seconds", self.timeout_seconds, 0.001, 3_600)
        check_file("logs.elasticsearch.certificate", self.certificate)
        _check_headers("logs.elasticsearch", {"username": self.username, "api_key": self.api_key, **self.headers})
        if self.api_key and self.username:
            raise ConfigurationError("logs.elasticsearch has an api_key and a username: give one of them")
        if self.keep_days and self.interval == "none":
            raise ConfigurationError(
                "logs.elasticsearch.keep_days is for dated indices: what is written to with interval='none' has a"
                " lifecycle of its own"
            )


def basic_authorization(username: str, password: str) -> str:
    """The value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def _check_labels(name: str, labels: Mapping[str, str]) -> None:
    for label in labels:
        if not _LABEL.fullmatch(label) or label.startswith("__"):
            raise ConfigurationError(
                f"{name} has a label {label!r}: use letters, digits and underscores, neither a digit nor two"
                " underscores first"
            )
        if label in {"service", "environment", "level"}:
            raise ConfigurationError(f"{name} has a label {label!r}, which each stream has already")
    if len(labels) > MOST_LABELS - 3:
        raise ConfigurationError(
            f"{name} are {len(labels)} labels: Loki takes {MOST_LABELS}, and three are there already"
        )


def _check_index(name: str, index: str) -> None:
    if index and (not _INDEX.fullmatch(index) or index.startswith(".")):
        raise ConfigurationError(
            f'{name} is {index!r}: use lower case, none of \\ / * ? " < > | , # : or a space, and none of . - _ + first'
        )


def _check_headers(name: str, values: Mapping[str, str]) -> None:
    for key, value in values.items():
        if any(character in f"{key}{value}" for character in "\r\n\0"):
            raise ConfigurationError(f"{name}: the value of {key!r} holds a line break, which no header can")
        if key != "username" and f"{key}{value}".encode("latin-1", "replace").decode("latin-1") != f"{key}{value}":
            raise ConfigurationError(f"{name}: the value of {key!r} holds a character that no header can")
