"""OTLP's JSON as protobuf, so that one path stores both.

The mapping is protobuf's own, done by protobuf's library, but for one thing: ids are hex, not base64. It costs some ten
times what protobuf does, which is right for browsers and curl; a busy sender should use protobuf.

Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

import base64
from typing import Any

import orjson
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

from watchkeeper_server.receive.refusal import Reason, RefusedError

_ID_FIELDS = {"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"}


def protobuf_from_json(body: bytes, message: type[Message]) -> bytes:
    """The same request in protobuf.

    Raises:
        RefusedError: the body is not JSON, or not this message.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RefusedError(Reason.MALFORMED, f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise RefusedError(Reason.MALFORMED, f"the body is a JSON {type(document).__name__} instead of an object")
    try:
        _recode_ids(document)
        encoded: bytes = ParseDict(document, message(), ignore_unknown_fields=True).SerializeToString()
    except (ParseError, ValueError, TypeError, RecursionError) as error:
        raise RefusedError(Reason.MALFORMED, f"the body is not a {message.DESCRIPTOR.name} in JSON: {error}") from error
    return encoded


def _recode_ids(node: Any) -> None:
    """Turn hex ids into the base64 that protobuf's JSON wants, in place."""
    if isinstance(node, list):
        for item in node:
            _recode_ids(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in _ID_FIELDS and isinstance(value, str):
                try:
                    node[key] = base64.b64encode(bytes.fromhex(value)).decode()
                except ValueError as error:
                    raise ValueError(f"{key} {value!r} is not hexadecimal") from error
            elif isinstance(value, (dict, list)):
                _recode_ids(value)
