"""Attribute values of every type OTLP has, with what the JSON API shows for them."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

# name → (value as `support.otlp` takes it, value in the API's JSON)
VALUES: dict[str, tuple[Any, Any]] = {
    "string": ('text with "quotes", a \\, a\ttab, a\nline, a \0 and ünïcödé 🛰', ...),
    "string.empty": ("", ...),
    "string.like_number": ("007", ...),
    "string.like_json": ('{"$bytes":"AA=="}', ...),
    "bool.true": (True, ...),
    "bool.false": (False, ...),
    "int.zero": (0, ...),
    "int.least": (-(2**63), ...),
    "int.greatest": (2**63 - 1, ...),
    "double": (0.1, ...),
    "double.whole": (1.0, ...),
    "double.zero": (0.0, ...),
    "double.negative_zero": (-0.0, ...),
    "double.least": (5e-324, ...),
    "double.greatest": (1.7976931348623157e308, ...),
    "double.nan": (math.nan, {"$double": "NaN"}),
    "double.infinite": (math.inf, {"$double": "Infinity"}),
    "double.negative_infinite": (-math.inf, {"$double": "-Infinity"}),
    "bytes": (b"\x00\xff\x80watch", {"$bytes": base64.b64encode(b"\x00\xff\x80watch").decode()}),
    "bytes.empty": (b"", {"$bytes": ""}),
    "absent": (None, ...),
    "array.empty": ([], ...),
    "array.strings": (["a", "", 'q"uote', "\\"], ...),
    "array.mixed": ([0, False, "", 1.5, 2.0, None], ...),
    "array.special": ([math.nan, b"\x01"], [{"$double": "NaN"}, {"$bytes": "AQ=="}]),
    "array.arrays": ([[1, [2, [3, [4.0]]]], []], ...),
    "map.empty": ({}, ...),
    "map": ({"a": 1, "b": True, "": "empty key", 'k"ey': [1]}, ...),
    "map.deep": (
        {"a": {"b": {"c": {"d": {"e": [{"f": b"\x02", "g": -(2**63), "h": math.inf}]}}}}},
        {"a": {"b": {"c": {"d": {"e": [{"f": {"$bytes": "Ag=="}, "g": -(2**63), "h": {"$double": "Infinity"}}]}}}}},
    ),
    "": ("the empty key", ...),
    "key with spaces, ünïcödé and 'quotes'": ("x", ...),
}  # fmt: skip

SENT: dict[str, Any] = {name: value for name, (value, _) in VALUES.items()}
SHOWN: dict[str, Any] = {name: value if shown is ... else shown for name, (value, shown) in VALUES.items()}


def assert_same(found: Any, expected: Any) -> None:
    """Equal, and of the same types: to Python 1, 1.0 and True are equal, and so are 0.0 and -0.0."""
    assert found == expected
    assert json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)
