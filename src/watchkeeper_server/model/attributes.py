"""Attribute values on their way from the store to JSON.

The store keeps a value as text and, unless it is a string, its type beside it. In JSON a value keeps its type:

| OTLP | JSON |
|---|---|
| string, bool, int | string, boolean, number (exact to 64 bits) |
| double | number; `{"$double": "NaN"}`, `"Infinity"` or `"-Infinity"` where JSON has no number |
| array, key-value list | array, object |
| bytes | `{"$bytes": "<base64>"}` |
| no value | null |

An attribute's array or key-value list is kept as OTLP's own protobuf in base64, and is expanded here. That of a log
record's body is JSON, so that its words can be found; what lies deeper in it is protobuf again, under `$array` or
`$map`.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from typing import Any

import orjson
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValueList

# The store's enumeration of types, by number; `store/statements.py` declares it.
TYPES = ("absent", "string", "bool", "int", "double", "array", "map", "bytes")


def decode_attributes(texts: str, types: str) -> dict[str, Any]:
    """Attributes from two JSON objects: every attribute's text, and the type of those that are not strings."""
    return typed(orjson.loads(texts), orjson.loads(types)) if texts != "{}" else {}


def typed(attributes: dict[str, Any], types: Mapping[str, str]) -> dict[str, Any]:
    """Give the attributes their types, in place."""
    for name, type_ in types.items():
        attributes[name] = decode_value(attributes[name], type_)
    return attributes


def decode_value(text: str, type_: str) -> Any:  # noqa: PLR0911  one for each type
    """One value from its text and its type's name."""
    match type_:
        case "string":
            return text
        case "int":
            return int(text)
        case "bool":
            return text == "true"
        case "double":
            return _double(float(text))
        case "bytes":
            return {"$bytes": text}
        case "array" | "map" if text.startswith(("[", "{")):
            value = orjson.loads(text)
            return _expand(value) if '"$' in text else value
        case "array":
            return _parsed(ArrayValue(), text, text)
        case "map":
            return _parsed(KeyValueList(), text, text)
        case _:
            return None


def _double(value: float) -> Any:
    if math.isfinite(value):
        return value
    return {"$double": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}


def _expand(value: Any) -> Any:
    """Replace the store's marks within an array or object by what they stand for."""
    match value:
        case list():
            return [_expand(item) for item in value]
        case {"$double": str(text)} if len(value) == 1:
            return _double(float(text)) if text in ("nan", "inf", "-inf") else value
        case {"$array": str(text)} if len(value) == 1:
            return _parsed(ArrayValue(), text, value)
        case {"$map": str(text)} if len(value) == 1:
            return _parsed(KeyValueList(), text, value)
        case dict():
            return {key: _expand(item) for key, item in value.items()}
        case _:
            return value


def _parsed(message: ArrayValue | KeyValueList, text: str, original: Any) -> Any:
    """The protobuf in base64 as a value; what turns out to be a user's own map is left as it is."""
    try:
        message.ParseFromString(base64.b64decode(text, validate=True))
    except (binascii.Error, DecodeError):
        return original
    return _from_message(message)


def _from_message(message: ArrayValue | KeyValueList) -> Any:
    if isinstance(message, ArrayValue):
        return [_from_any(value) for value in message.values]
    return {pair.key: _from_any(pair.value) for pair in message.values}


def _from_any(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case "double_value":
            return _double(value.double_value)
        case "bytes_value":
            return {"$bytes": base64.b64encode(value.bytes_value).decode()}
        case "array_value":
            return _from_message(value.array_value)
        case "kvlist_value":
            return _from_message(value.kvlist_value)
        case None:
            return None
        case field:
            return getattr(value, field)
