"""OpenTelemetry's names as Prometheus has them: https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/.

Units are UCUM's, whose abbreviations become words at the end of a metric's name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from watchkeeper.metrics.declare import label_value

_UNITS = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "TiBy": "tibibytes",
    "KBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "%": "percent",
}
_PER = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}
_ANNOTATION = re.compile(r"\{[^}]*\}")
_NO_NAME = re.compile(r"[^a-zA-Z0-9_:]|_{2,}")
_NO_LABEL = re.compile(r"[^a-zA-Z0-9_]")
_OWN_LABELS = frozenset({"le", "quantile"})  # which types of metrics add


def family_name(name: str, unit: str, kind: str) -> str:
    """The family an instrument becomes: `http.request.size` in `By` is `http_request_size_bytes`.

    `kind` is counter, gauge or histogram. A counter's samples end in `_total` besides.
    """
    found = _clean(name)
    if kind == "counter":
        found = found.removesuffix("_total")
    words = unit_words(unit)
    if unit == "1" and kind == "gauge":
        words = "ratio"
    return found if not words or found == words or found.endswith(f"_{words}") else f"{found}_{words}"


def unit_words(unit: str) -> str:
    """A unit as the end of a name: `seconds`, `meters_per_second`; empty for what is counted (`1`, `{request}`)."""
    what, _, per = _ANNOTATION.sub("", unit).strip().partition("/")
    words = "" if what == "1" else _UNITS.get(what, what)
    if per:
        words = f"{words}_per_{_PER.get(per, per)}"
    return _clean(words).strip("_") if words else ""


def labels_of(attributes: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Labels in the order of the attributes' names. Values of names that become one are joined by `;`."""
    found: dict[str, str] = {}
    for key in sorted(attributes):
        name = _NO_LABEL.sub("_", key)
        if name in _OWN_LABELS or not name or name[0].isdigit():
            name = f"_{name}"
        value = _text(attributes[key])
        found[name] = f"{found[name]};{value}" if name in found else value
    return tuple([(name, label_value(value)) for name, value in found.items()])


def _clean(name: str) -> str:
    found = _NO_NAME.sub("_", _NO_NAME.sub("_", name))
    return f"_{found}" if found[:1].isdigit() else found


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(list(value), default=str) if isinstance(value, list | tuple) else str(value)
