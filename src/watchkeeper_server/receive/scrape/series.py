"""From labels as a target exposes them to the series that is stored: target labels, relabelling, limits."""

from __future__ import annotations

import re
from collections.abc import Mapping

from watchkeeper_server.receive.exposition.exposed import DROPPED, ExpositionError, Labels, SeriesCache
from watchkeeper_server.receive.exposition.push import stored_labels, unique_labels
from watchkeeper_server.receive.exposition.write_request import series_head
from watchkeeper_server.receive.scrape.config import Limits, ScrapeConfig
from watchkeeper_server.receive.scrape.relabel import relabel

_EXPORTED = "exported_"
_LEGACY_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LEGACY_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def series_cache(config: ScrapeConfig, target_labels: Mapping[str, str]) -> SeriesCache:
    """What a target's expositions will teach, by the rules of its job."""
    rules, limits, utf8 = config.metric_relabel_configs, config.limits, config.utf8
    merge = _honoring if config.honor_labels else _renaming

    def prepare(exposed: Labels) -> bytes:
        labels = merge(unique_labels(exposed), target_labels)
        if rules and not relabel(labels, rules, utf8=utf8):
            return DROPPED
        if not any(labels.values()):
            return DROPPED
        stored = stored_labels(labels)
        if not utf8:
            _check_legacy(stored)
        _check_limits(stored, limits)
        return series_head(stored.items())

    reading = config.reading
    return SeriesCache(
        prepare,
        convert_classic=bool(reading.convert_classic_histograms_to_nhcb),
        keep_classic=bool(reading.always_scrape_classic_histograms),
        native=bool(reading.scrape_native_histograms),
    )


def report_head(name: str, target_labels: Mapping[str, str]) -> bytes:
    """A series about the scrape itself."""
    return series_head(stored_labels({**target_labels, "__name__": name}).items())


def _honoring(exposed: dict[str, str], target: Mapping[str, str]) -> dict[str, str]:
    """What is exposed counts; an empty label is exposed too, and means that the target's is not wanted."""
    return {**target, **exposed}


def _renaming(exposed: dict[str, str], target: Mapping[str, str]) -> dict[str, str]:
    """The target's labels count; exposed ones of the same name are kept as `exported_…`."""
    labels = {**exposed, **target}
    clashing = sorted((name for name in target if exposed.get(name)), key=len)
    for name in clashing:
        renamed = _EXPORTED + name
        while labels.get(renamed):
            renamed = _EXPORTED + renamed
        labels[renamed] = exposed[name]
    return labels


def _check_legacy(labels: Mapping[str, str]) -> None:
    if not _LEGACY_METRIC.fullmatch(labels["__name__"]) or not all(map(_LEGACY_LABEL.fullmatch, labels)):
        raise ExpositionError(f"invalid metric name or label names: {_shown(labels)}")


def _check_limits(labels: Mapping[str, str], limits: Limits) -> None:
    metric = labels["__name__"][:50]
    if limits.label_limit and len(labels) > limits.label_limit:
        raise ExpositionError(
            f"label_limit exceeded (metric: {metric}, number of labels: {len(labels)}, limit: {limits.label_limit})"
        )
    if not limits.label_name_length_limit and not limits.label_value_length_limit:
        return
    for name, value in labels.items():
        name_bytes, value_bytes = len(name.encode()), len(value.encode())
        if 0 < limits.label_name_length_limit < name_bytes:
            raise ExpositionError(
                f"label_name_length_limit exceeded (metric: {metric}, label name: {name[:50]}, "
                f"length: {name_bytes}, limit: {limits.label_name_length_limit})"
            )
        if 0 < limits.label_value_length_limit < value_bytes:
            raise ExpositionError(
                f"label_value_length_limit exceeded (metric: {metric}, label name: {name[:50]}, "
                f'value: "{value[:50]}", length: {value_bytes}, limit: {limits.label_value_length_limit})'
            )


def _shown(labels: Mapping[str, str]) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items())) + "}"
