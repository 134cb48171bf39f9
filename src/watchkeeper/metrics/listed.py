"""Metrics declared by a file: a list in YAML (where PyYAML is installed) or JSON."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from watchkeeper.environment import ConfigurationError
from watchkeeper.metrics.declare import Counter, Gauge, Histogram, Summary, counter, gauge, histogram, summary

AnyMetric = Counter | Gauge | Histogram | Summary
_KINDS: Mapping[str, tuple[Callable[..., AnyMetric], frozenset[str]]] = {
    "counter": (counter, frozenset()),
    "gauge": (gauge, frozenset()),
    "histogram": (histogram, frozenset({"buckets"})),
    "summary": (summary, frozenset({"quantiles"})),
}
_FIELDS = frozenset({"name", "type", "doc", "labels"})


def load_metrics(path: str | Path) -> dict[str, Any]:
    """Declares the metrics that a file lists; each by its name.

    An item has a `name` and a `type` (counter, gauge, histogram, summary), and may have `doc`, `labels`, `buckets` (of
    a histogram) and `quantiles` (of a summary). Raises ConfigurationError, naming the file and the item, for what
    cannot be read; nothing is declared then.

    Example:
        >>> import watchkeeper as wk
        >>> metrics = wk.load_metrics("metrics.yaml")  # - {name: orders_total, type: counter, labels: [status]}
        >>> metrics["orders_total"].labels("paid").inc()
    """
    items = _read(Path(path))
    if not isinstance(items, list):
        raise ConfigurationError(f"{path} must be a list of metrics, each with a name and a type")
    return dict([_declared(item) for item in [_checked(path, at, item) for at, item in enumerate(items, 1)]])


def _read(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            return json.loads(text)
        return importlib.import_module("yaml").safe_load(text)
    except ImportError as error:
        raise ConfigurationError(f"{path} is YAML: install pyyaml, or write the list as {path.stem}.json") from error
    except Exception as error:  # of the file system, or of whichever parser
        raise ConfigurationError(f"{path} cannot be read: {error}") from error


def _checked(path: str | Path, at: int, item: Any) -> Mapping[str, Any]:
    where = f"{path}, metric {at}"
    if not isinstance(item, Mapping) or not isinstance(item.get("name"), str) or not item["name"]:
        raise ConfigurationError(f"{where} needs a name")
    where = f"{where} ({item['name']})"
    if item.get("type") not in _KINDS:
        raise ConfigurationError(f"{where} has the type {item.get('type')!r}: use one of {', '.join(_KINDS)}")
    unknown = set(item) - _FIELDS - _KINDS[item["type"]][1]
    if unknown:
        raise ConfigurationError(f"{where} has {', '.join(sorted(map(str, unknown)))}, which a {item['type']} has not")
    for field, kind in (("labels", str), ("buckets", int | float), ("quantiles", int | float)):
        value = item.get(field, [])
        if not isinstance(value, list) or not all(isinstance(one, kind) for one in value):
            raise ConfigurationError(f"{where}: {field} must be a list of {'texts' if kind is str else 'numbers'}")
    return item


def _declared(item: Mapping[str, Any]) -> tuple[str, AnyMetric]:
    declare, extra = _KINDS[item["type"]]
    details = {field: item[field] for field in extra if field in item}
    return item["name"], declare(item["name"], str(item.get("doc") or ""), item.get("labels", []), **details)
