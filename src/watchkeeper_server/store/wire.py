"""The shape of OTLP's messages, described once and rendered twice: as a protobuf schema and as ClickHouse columns.

ClickHouse has no recursive types, so what is nested too deep is declared `bytes`: on the wire a message and bytes are
the same, so nothing is lost, and the reader expands it (`model.attributes`). An attribute's array or map is such bytes
at once; a log record's body, which is searched, and the resource that metrics are labelled by are unrolled one level
further. A level that is declared costs each load, however small, some ten milliseconds of query analysis.
A message's oneof becomes an enum column named `kind`, which tells 0, false and "" from absent.

Source: https://github.com/open-telemetry/opentelemetry-proto (1.x; field numbers never change).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

SCALARS = {
    "string": "String",
    "bytes": "String",
    "bool": "UInt8",
    "int32": "Int32",
    "sint32": "Int32",
    "uint32": "UInt32",
    "fixed32": "UInt32",
    "int64": "Int64",
    "sfixed64": "Int64",
    "uint64": "UInt64",
    "fixed64": "UInt64",
    "double": "Float64",
    # absent is not zero
    "optional double": "Nullable(Float64)",
    # strings of which there are few different ones
    "few strings": "LowCardinality(String)",
}
_PROTO_TYPES = {"few strings": "string"}


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its number, its type (a scalar's name or a message) and whether it repeats."""

    number: int
    type: str | Message
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """A message and its fields by name; `one_of` says that at most one field is present."""

    name: str
    fields: dict[str, Field]
    one_of: bool = False

    def proto(self) -> str:
        """A proto3 file that declares this message and all it contains."""
        seen: dict[str, str] = {}
        for message in _contained(self):
            body = " ".join(
                f"{'repeated ' if field.repeated else ''}{_type_name(field)} {name} = {field.number};"
                for name, field in message.fields.items()
            )
            seen[message.name] = f"oneof kind {{ {body} }}" if message.one_of else body
        declarations = "\n".join(f"message {name} {{ {body} }}" for name, body in seen.items())
        return f'syntax = "proto3";\n{declarations}'

    def columns(self) -> str:
        """The same as ClickHouse columns: `name Type, …`."""
        columns = [f"{name} {_column_type(field)}" for name, field in self.fields.items()]
        if self.one_of:
            names = ", ".join(f"'{name}' = {i}" for i, name in enumerate(("absent", *self.fields)))
            columns.insert(0, f"kind Enum8({names})")
        return ", ".join(columns)


def _contained(message: Message) -> Iterator[Message]:
    for field in message.fields.values():
        if isinstance(field.type, Message):
            yield from _contained(field.type)
    yield message


def _type_name(field: Field) -> str:
    return field.type.name if isinstance(field.type, Message) else _PROTO_TYPES.get(field.type, field.type)


def _column_type(field: Field) -> str:
    inner = f"Tuple({field.type.columns()})" if isinstance(field.type, Message) else SCALARS[field.type]
    return f"Array({inner})" if field.repeated else inner


def message(title: str, /, **fields: tuple[int, str | Message] | tuple[int, str | Message, str]) -> Message:
    """A message whose fields are `name=(number, type)`, or `(number, type, MANY)` where they repeat."""
    return Message(title, {key: Field(value[0], value[1], len(value) == 3) for key, value in fields.items()})  # noqa: PLR2004  number, type, "many"


def _value(name: str, array: str | Message, kvlist: str | Message) -> Message:
    types: dict[str, str | Message] = {
        "string": "string", "bool": "bool", "int": "int64", "double": "double",
        "array": array, "map": kvlist, "bytes": "bytes",
    }  # fmt: skip
    return Message(name, {kind: Field(i, type_) for i, (kind, type_) in enumerate(types.items(), 1)}, one_of=True)


MANY = "many"

LEAF = _value("Leaf", "bytes", "bytes")
LEAVES = message("Leaves", values=(1, LEAF, MANY))
LEAF_PAIRS = message("LeafPairs", values=(1, message("LeafPair", key=(1, "string"), value=(2, LEAF)), MANY))
ANY_VALUE = _value("AnyValue", LEAVES, LEAF_PAIRS)
KEY_VALUE = message("KeyValue", key=(1, "string"), value=(2, LEAF))
UNROLLED_KEY_VALUE = message("KeyValue", key=(1, "string"), value=(2, ANY_VALUE))
DROPPED = "uint32"

RESOURCE = message("Resource", attributes=(1, KEY_VALUE, MANY), dropped_attributes_count=(2, DROPPED))
UNROLLED_RESOURCE = message("Resource", attributes=(1, UNROLLED_KEY_VALUE, MANY))
SCOPE = message(
    "Scope",
    name=(1, "string"),
    version=(2, "string"),
    attributes=(3, KEY_VALUE, MANY),
    dropped_attributes_count=(4, DROPPED),
)


def request(items_name: str, item: Message) -> Message:
    """`Export…ServiceRequest`, alike for all signals: resources hold scopes hold items."""
    scoped = message("Scoped", scope=(1, SCOPE), items=(2, item, MANY), schema_url=(3, "string"))
    resource = message("PerResource", resource=(1, RESOURCE), scopes=(2, scoped, MANY), schema_url=(3, "string"))
    return message(items_name, resources=(1, resource, MANY))


SPAN = message(
    "Span",
    trace_id=(1, "bytes"),
    span_id=(2, "bytes"),
    trace_state=(3, "string"),
    parent_span_id=(4, "bytes"),
    name=(5, "string"),
    kind=(6, "int32"),
    start_time_unix_nano=(7, "fixed64"),
    end_time_unix_nano=(8, "fixed64"),
    attributes=(9, KEY_VALUE, MANY),
    dropped_attributes_count=(10, DROPPED),
    events=(
        11,
        message(
            "Event",
            time_unix_nano=(1, "fixed64"),
            name=(2, "string"),
            attributes=(3, KEY_VALUE, MANY),
            dropped_attributes_count=(4, DROPPED),
        ),
        MANY,
    ),
    dropped_events_count=(12, DROPPED),
    links=(
        13,
        message(
            "Link",
            trace_id=(1, "bytes"),
            span_id=(2, "bytes"),
            trace_state=(3, "string"),
            attributes=(4, KEY_VALUE, MANY),
            dropped_attributes_count=(5, DROPPED),
            flags=(6, "fixed32"),
        ),
        MANY,
    ),
    dropped_links_count=(14, DROPPED),
    status=(15, message("Status", message=(2, "string"), code=(3, "int32"))),
    flags=(16, "fixed32"),
)

LOG_RECORD = message(
    "LogRecord",
    time_unix_nano=(1, "fixed64"),
    severity_number=(2, "int32"),
    severity_text=(3, "string"),
    body=(5, ANY_VALUE),
    attributes=(6, KEY_VALUE, MANY),
    dropped_attributes_count=(7, DROPPED),
    flags=(8, "fixed32"),
    trace_id=(9, "bytes"),
    span_id=(10, "bytes"),
    observed_time_unix_nano=(11, "fixed64"),
    event_name=(12, "string"),
)


SPANS_REQUEST = request("SpansRequest", SPAN)
LOGS_REQUEST = request("LogsRequest", LOG_RECORD)
# the resources alone: what the reader does not declare it skips, which is nearly free
RESOURCES_REQUEST = message(
    "ResourcesRequest",
    resources=(1, message("PerResource", resource=(1, RESOURCE), schema_url=(3, "string")), MANY),
)
