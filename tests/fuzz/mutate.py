"""Makes bad requests out of good ones, by a seed: of bytes, of fields, of JSON."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

Chance = random.Random

_INTEGERS = (
    0,
    1,
    -1,
    2,
    7,
    127,
    128,
    255,
    256,
    2**31 - 1,
    2**31,
    -(2**31),
    2**32 - 1,
    2**53,
    2**63 - 1,
    -(2**63),
    2**64 - 1,
)
_DOUBLES = (0.0, -0.0, 1.0, -1.5, 1e-320, 1e308, float("inf"), float("-inf"), float("nan"))
_TEXTS = (
    "",
    "a",
    "\0",
    "\n\t\"'\\",
    "ünïcödé 🛰",
    "$source",
    "{x:String}",
    "');--",
    "x" * 5000,
    '{"$bytes":"A"}',
    "__name__",
    "1",
)
_BYTES = (b"", b"\0", b"x" * 7, b"x" * 8, b"x" * 9, b"x" * 16, bytes(16), b"\xff" * 16, b"\xff" * 300)
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-(2**31), 2**31 - 1),
}


def mutate_bytes(body: bytes, chance: Chance) -> bytes:
    """Some bytes changed, flipped, cut out, put in or repeated."""
    out = bytearray(body)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(len(out) + 1)
        match chance.randrange(6):
            case 0:
                out[at : at + 1] = chance.randbytes(1)
            case 1 if at < len(out):
                out[at] ^= 1 << chance.randrange(8)
            case 2:
                del out[at : at + chance.choice((1, 1, 2, 8, 30))]
            case 3:
                out[at:at] = chance.randbytes(chance.choice((1, 2, 8)))
            case 4:
                start = chance.randrange(len(out) + 1)
                out[at:at] = out[start : start + chance.choice((1, 4, 16, 60))]
            case _:
                del out[at:]
    return bytes(out)


def mutate_fields(message: Message, chance: Chance) -> None:
    """Some fields, anywhere in the message, set to odd values: it stays what a library would write."""
    for _ in range(chance.choice((1, 1, 2, 3))):
        _mutate_one(message, chance)


def _mutate_one(message: Message, chance: Chance) -> None:
    present = [(field, value) for field, value in message.ListFields() if field.message_type]
    if present and chance.random() < 0.85:  # go down, most of the time
        field, value = chance.choice(present)
        inner = chance.choice(list(value)) if field.is_repeated else value
        _mutate_one(inner, chance)
        return
    field = chance.choice(message.DESCRIPTOR.fields)
    if chance.random() < 0.15:
        message.ClearField(field.name)
    elif field.message_type:
        made = getattr(message, field.name)
        if field.is_repeated:
            made.extend([made.add() if not made else made[0]] * chance.choice((1, 2, 20)))
        else:
            made.SetInParent()
    elif field.is_repeated:
        getattr(message, field.name).extend(_value(field, chance) for _ in range(chance.choice((1, 3, 200))))
    else:
        setattr(message, field.name, _value(field, chance))


def _value(field: FieldDescriptor, chance: Chance) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return chance.choice(_BYTES if field.type == FieldDescriptor.TYPE_BYTES else _TEXTS)
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return chance.choice(_DOUBLES)
        case FieldDescriptor.CPPTYPE_BOOL:
            return chance.choice((True, False))
        case kind:
            low, high = _RANGES[kind]
            return chance.choice([number for number in _INTEGERS if low <= number <= high])


_SCALARS: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1e300,
    2**64,
    "",
    "zz",
    "NaN",
    "ab" * 16,
    [],
    {},
    [None],
    [[]],
    {"a": {}},
)


def mutate_json(document: Any, chance: Chance) -> Any:
    """A document with some node replaced, removed, doubled or renamed."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        document = _mutate_node(document, chance)
    return document


def _mutate_node(node: Any, chance: Chance) -> Any:
    if isinstance(node, (dict, list)) and node and chance.random() < 0.9:
        key = chance.choice(list(node) if isinstance(node, dict) else range(len(node)))
        twin = copy.deepcopy(node[key])
        changes: tuple[Callable[[], Any], ...] = (
            lambda: node.pop(key),
            lambda: node.append(twin) if isinstance(node, list) else node.setdefault(f"{key}x", twin),
            lambda: node.__setitem__(key, copy.deepcopy(chance.choice(_SCALARS))),
        )
        if chance.random() < 0.8:
            node[key] = _mutate_node(node[key], chance)
        else:
            chance.choice(changes)()
        return node
    return copy.deepcopy(chance.choice(_SCALARS))
