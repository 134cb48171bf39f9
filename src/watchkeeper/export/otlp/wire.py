"""Protobuf's wire format, and OTLP's AnyValue and KeyValue in it.

Field numbers are those of opentelemetry-proto 1.x `common.proto`. A tag byte is `number << 3 | type`, with type 0
varint, 1 fixed 64 bits, 2 length-delimited, 5 fixed 32 bits.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from watchkeeper.values import INT64_MAX, INT64_MIN, snapshot, text_of

fixed64 = struct.Struct("<Q").pack
fixed32 = struct.Struct("<I").pack
double = struct.Struct("<d").pack

_MAX_CACHED_KEYS = 4_096
_LONGEST_CACHED_KEY = 256


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:  # noqa: PLR2004  # seven bits a byte
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_MOST_SMALL = 4_096
_SMALL = tuple(_varint(number) for number in range(_MOST_SMALL))  # nearly every length there is


def varint(number: int) -> bytes:
    """A non-negative integer below 2**64."""
    return _SMALL[number] if number < _MOST_SMALL else _varint(number)


def signed_varint(number: int) -> bytes:
    """An int64: negative ones take ten bytes, as two's complement."""
    return varint(number & 0xFFFF_FFFF_FFFF_FFFF)


def delimited(tag: int, payload: bytes) -> bytes:
    """A length-delimited field; `tag` is the tag byte."""
    return b"%c%b%b" % (tag, varint(len(payload)), payload)


def text(tag: int, value: str) -> bytes:
    """A string field, left out when empty as proto3 does."""
    return delimited(tag, utf8(value)) if value else b""


def utf8(value: str) -> bytes:
    """Valid UTF-8 always: a lone surrogate becomes `?`, because protobuf refuses the whole message otherwise."""
    try:
        return value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "replace")


# AnyValue


def _any_str(value: str) -> bytes:
    payload = utf8(value)
    return b"\x0a%b%b" % (varint(len(payload)), payload)


def _any_bool(value: bool) -> bytes:
    return b"\x10\x01" if value else b"\x10\x00"


def _any_int(value: int) -> bytes:
    return b"\x18" + signed_varint(value) if INT64_MIN <= value <= INT64_MAX else _any_str(text_of(value))


def _any_float(value: float) -> bytes:
    return b"\x21" + double(value)


def _any_sequence(value: Iterable[Any]) -> bytes:
    return delimited(0x2A, b"".join([delimited(0x0A, any_value(item)) for item in value]))


def _any_mapping(value: Mapping[str, Any]) -> bytes:
    return delimited(0x32, b"".join([key_value(0x0A, key, item) for key, item in value.items()]))


def _any_bytes(value: bytes) -> bytes:
    return delimited(0x3A, value)


_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    str: _any_str,
    bool: _any_bool,
    int: _any_int,
    float: _any_float,
    bytes: _any_bytes,
    tuple: _any_sequence,
    dict: _any_mapping,
    type(None): lambda _value: b"",  # an AnyValue with nothing set is OTLP's null
}


def any_value(value: Any) -> bytes:
    """The inside of an AnyValue. `value` is a scalar or a snapshot; anything else is encoded as its snapshot."""
    encode = _ENCODERS.get(type(value))
    return any_value(snapshot(value)) if encode is None else encode(value)


# KeyValue

_keys: dict[str, bytes] = {}
_heads: dict[tuple[int, str, int], bytes] = {}


def _key(key: str) -> bytes:
    """A KeyValue up to its value's length: the key's field and the value's tag."""
    prefix = text(0x0A, key) + b"\x12"
    if (
        len(_keys) < _MAX_CACHED_KEYS and len(key) <= _LONGEST_CACHED_KEY
    ):  # attribute keys are few; an application that invents them must not fill memory
        _keys[key] = prefix
    return prefix


def _head(tag: int, key: str, size: int) -> bytes:
    """A KeyValue field whose value is a string of `size` bytes, up to that string."""
    prefix, length = _keys.get(key) or _key(key), varint(size)
    inner = varint(1 + len(length) + size)
    head = b"%c%b%b%b\x0a%b" % (
        tag,
        varint(len(prefix) + len(inner) + 1 + len(length) + size),
        prefix,
        inner,
        length,
    )
    if len(_heads) < _MAX_CACHED_KEYS and len(key) <= _LONGEST_CACHED_KEY:
        _heads[tag, key, size] = head
    return head


def key_value(tag: int, key: str, value: Any) -> bytes:
    """A KeyValue field of a message, under the message's own `tag`."""
    if type(value) is str:  # most attributes
        content = utf8(value)
        size = len(content)
        return (_heads.get((tag, key, size)) or _head(tag, key, size)) + content
    prefix = _keys.get(key) or _key(key)
    payload = any_value(value)
    size_field = varint(len(payload))
    return b"%c%b%b%b%b" % (tag, varint(len(prefix) + len(size_field) + len(payload)), prefix, size_field, payload)


def key_values(tag: int, attributes: Mapping[str, Any]) -> bytes:
    """A repeated KeyValue field."""
    return b"".join([key_value(tag, key, value) for key, value in attributes.items()])
