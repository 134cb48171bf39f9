"""From what was discovered to what is scraped: a target's labels, URL and place in the interval."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote, urlencode

from watchkeeper_server.receive.scrape.config import ScrapeConfig
from watchkeeper_server.receive.scrape.relabel import relabel
from watchkeeper_server.receive.scrape.shown import without_password
from watchkeeper_server.receive.scrape.units import Milliseconds, format_duration, parse_duration

_PARAM = "__param_"
_ADDRESS = re.compile(r"[^/\s]+")
_SCHEMES = ("http", "https")


@dataclass(frozen=True)
class Target:
    """An endpoint to scrape.

    Attributes:
        discovered_labels: before relabelling.
        labels: what every series of it gets.
        url: what is fetched.
        identity: equal for targets that are the same one.
    """

    discovered_labels: Mapping[str, str] = field(compare=False)
    labels: Mapping[str, str]
    url: str
    interval: Milliseconds
    timeout: Milliseconds
    identity: tuple[object, ...] = field(compare=False)

    @cached_property
    def shown_url(self) -> str:
        """The URL without a password."""
        return without_password(self.url)

    @cached_property
    def shown_labels(self) -> Mapping[str, str]:
        """What was discovered, without passwords."""
        return {name: without_password(value) for name, value in self.discovered_labels.items()}

    def offset_ms(self, jitter: int) -> int:
        """When in each interval it is scraped: spread evenly over targets, the same after a restart."""
        digest = hashlib.blake2b(repr(self.identity).encode(), digest_size=8).digest()
        return (int.from_bytes(digest) ^ jitter) % self.interval


@dataclass(frozen=True)
class Discovered:
    """What became of a job's target groups.

    Attributes:
        targets: each once, though it may have been discovered several times.
        dropped: the discovered labels of those that relabelling dropped.
        failures: why something discovered cannot be a target.
    """

    targets: Sequence[Target]
    dropped: Sequence[Mapping[str, str]]
    failures: Sequence[str]


def resolve(config: ScrapeConfig, found: Sequence[Mapping[str, str]]) -> Discovered:
    """Make targets of label sets."""
    targets: dict[tuple[object, ...], Target] = {}
    dropped: list[Mapping[str, str]] = []
    failures: list[str] = []
    for labels in found:
        discovered = _with_defaults(config, labels)
        try:
            target = _target(config, discovered)
        except ValueError as error:
            failures.append(without_password(f"{labels.get('__address__', '')}: {error}"))
            continue
        if target is None:
            dropped.append({name: without_password(value) for name, value in discovered.items()})
        else:
            targets.setdefault(target.identity, target)
    return Discovered(list(targets.values()), dropped, failures)


def _with_defaults(config: ScrapeConfig, labels: Mapping[str, str]) -> dict[str, str]:
    """The discovered labels and those by which relabelling may change how a target is scraped."""
    defaults = {
        "job": config.job_name,
        "__scrape_interval__": format_duration(config.scrape_interval),
        "__scrape_timeout__": format_duration(config.scrape_timeout),
        "__metrics_path__": config.metrics_path,
        "__scheme__": config.scheme,
    }
    params = {f"{_PARAM}{name}": values[0] for name, values in config.params.items() if values}
    return {**defaults, **{name: value for name, value in labels.items() if value}, **params}


def _target(config: ScrapeConfig, discovered: Mapping[str, str]) -> Target | None:
    """The target; None if relabelling drops it.

    Raises:
        ValueError: the labels that are left cannot be scraped.
    """
    labels = dict(discovered)
    if not relabel(labels, config.relabel_configs, utf8=config.utf8):
        return None
    labels = {name: value for name, value in labels.items() if value}
    if not any(not name.startswith("__") for name in labels):
        return None
    try:
        "".join((*labels, *labels.values())).encode()
    except UnicodeEncodeError as error:  # half of a surrogate pair, which JSON can write
        raise ValueError("a label is not valid UTF-8") from error
    address = labels.get("__address__", "")
    if not address:
        raise ValueError("no address")
    if not _ADDRESS.fullmatch(address):
        raise ValueError(f'"{address}" is not a valid hostname')
    scheme = labels.get("__scheme__", "")
    if scheme not in _SCHEMES:
        raise ValueError(f'invalid scheme: "{scheme}"')
    interval = _duration("interval", labels.get("__scrape_interval__", ""))
    timeout = _duration("timeout", labels.get("__scrape_timeout__", ""))
    if timeout > interval:
        raise ValueError(
            f'scrape timeout cannot be greater than scrape interval ("{format_duration(timeout)}" > '
            f'"{format_duration(interval)}")'
        )
    labels.setdefault("instance", address.rpartition("@")[2])  # who is asked, not with which password
    internal = {name: value for name, value in labels.items() if not name.startswith("__meta_")}
    url = _url(config, scheme, address, internal)
    return Target(
        discovered_labels=discovered,
        labels={name: value for name, value in internal.items() if not name.startswith("__")},
        url=url,
        interval=interval,
        timeout=timeout,
        identity=(url, *sorted(internal.items())),
    )


def _duration(what: str, text: str) -> Milliseconds:
    try:
        duration = parse_duration(text)
    except ValueError as error:
        raise ValueError(f"error parsing scrape {what}: {error}") from error
    if not duration:
        raise ValueError(f"scrape {what} cannot be 0")
    return duration


def _url(config: ScrapeConfig, scheme: str, address: str, labels: Mapping[str, str]) -> str:
    params = {name: list(values) for name, values in config.params.items()}
    for name, value in labels.items():
        if name.startswith(_PARAM):
            params[name.removeprefix(_PARAM)] = [value, *params.get(name.removeprefix(_PARAM), [])[1:]]
    query = urlencode(sorted(params.items()), doseq=True)
    path = quote(labels.get("__metrics_path__", ""), safe="/%:@!$&'()*+,;=~-._")
    if path and not path.startswith("/"):
        path = f"/{path}"
    return f"{scheme}://{address}{path}" + (f"?{query}" if query else "")
