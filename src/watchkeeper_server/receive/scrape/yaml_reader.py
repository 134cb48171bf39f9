"""YAML into frozen dataclasses: every error names the file, the line and the field.

A dataclass says by its fields what a mapping may hold; `__post_init__` refuses values that do not go together with a
ValueError. A field of metadata `INLINE` is a dataclass whose fields stand beside the others in the file. A key without
a value leaves its default.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal, NewType, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import yaml

from watchkeeper_server.model.errors import WatchkeeperError
from watchkeeper_server.receive.scrape.units import Milliseconds, Size, parse_duration, parse_size

# A path in the configuration is relative to the file that names it.
FilePath = NewType("FilePath", str)
NO_FILE = FilePath("")
INLINE: Mapping[str, bool] = types.MappingProxyType({"inline": True})

T = TypeVar("T")
_NULL, _MERGE = "tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"
_KINDS = {"int": int, "float": float, "bool": bool}


class ConfigError(WatchkeeperError):
    """The configuration cannot be used; the message says where and why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """A YAML file, taken apart as far as its nodes."""

    file: Path
    root: yaml.Node | None

    def error(self, node: yaml.Node | None, message: str) -> ConfigError:
        """An error at a node."""
        return ConfigError(
            f"{self.file}: line {node.start_mark.line + 1}: {message}" if node else f"{self.file}: {message}"
        )

    def decode(self, node: yaml.Node, wanted: type[T]) -> T:
        """A node's value as a type: a scalar's, a dataclass, tuple[…, …], Mapping[str, …], X | None, Literal.

        Raises:
            ConfigError: it is another.
        """
        return cast("T", _Decoder(self).decode(node, wanted))

    def sections(self) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """The keys of the file's outermost mapping, each with the nodes of key and value."""
        if self.root is None:
            return {}
        return {key.value: (key, value) for key, value in _pairs(self, self.root)}


_DEEPEST = 100


def read_document(file: Path, text: str) -> Document:
    """Take a YAML text apart.

    Raises:
        ConfigError: it is not YAML.
    """
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:  # what takes it apart recurses, in C
                raise ConfigError(f"{file}: nested too deeply")
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise ConfigError(f"{file}: {line}{error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: {error}") from error
    if root is not None and root.tag == _NULL:
        root = None
    return Document(file, root)


def is_null(node: yaml.Node) -> bool:
    """Whether nothing is written there."""
    return bool(node.tag == _NULL)


class _Decoder:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._readers: dict[Any, Callable[[str], Any]] = {
            Milliseconds: parse_duration,
            Size: parse_size,
            FilePath: lambda text: str(document.file.parent / text) if text else "",
        }

    def decode(self, node: yaml.Node, wanted: Any) -> Any:
        reader = self._readers.get(wanted) or getattr(wanted, "from_yaml", None)
        if reader is not None:
            return reader(self._text(node))
        if dataclasses.is_dataclass(wanted):
            return self._dataclass(node, wanted)
        if get_origin(wanted) is not None:
            return self._generic(node, get_origin(wanted), get_args(wanted))
        return self._text(node) if wanted is str else self._scalar(node, wanted)

    def _generic(self, node: yaml.Node, origin: Any, arguments: tuple[Any, ...]) -> Any:
        if origin is tuple:
            return self._tuple(node, arguments[0])
        if origin is Literal:
            return self._choice(node, arguments)
        if origin in (Union, types.UnionType):
            return self.decode(node, next(argument for argument in arguments if argument is not type(None)))
        return types.MappingProxyType(self._mapping(node, arguments[1]))

    def _dataclass(self, node: yaml.Node, wanted: Any) -> Any:
        fields = _fields(wanted)
        values: dict[Any, dict[str, Any]] = {}
        for key, value in _pairs(self._document, node):
            found = fields.get(key.value)
            if found is None:
                close = get_close_matches(key.value, fields, 1)
                hint = f"; did you mean {close[0]}?" if close else ""
                raise self._document.error(key, f"field {key.value} not found{hint}")
            if not is_null(value):
                owner, field_type = found
                try:
                    values.setdefault(owner, {})[key.value] = self.decode(value, field_type)
                except ConfigError:
                    raise
                except ValueError as error:
                    raise self._document.error(value, f"{key.value}: {error}") from error
        return self._build(node, wanted, values)

    def _build(self, node: yaml.Node, wanted: Any, values: dict[Any, dict[str, Any]]) -> Any:
        own = values.get(wanted, {})
        for field in dataclasses.fields(wanted):
            if field.metadata.get("inline"):
                own[field.name] = self._build(node, _hints(wanted)[field.name], values)
            elif field.name not in own and field.default is field.default_factory is dataclasses.MISSING:
                raise self._document.error(node, f"{field.name} is missing")
        return self._checked(node, wanted, **own)

    def _tuple(self, node: yaml.Node, item: Any) -> tuple[Any, ...]:
        if not isinstance(node, yaml.SequenceNode):
            raise self._wrong(node, "a list")
        for entry in node.value:
            if is_null(entry) and item is not str:
                raise self._document.error(entry, "empty or null entry in a list")
        return tuple(self.decode(entry, item) for entry in node.value)

    def _mapping(self, node: yaml.Node, item: Any) -> dict[str, Any]:
        return {self._text(key): self.decode(value, item) for key, value in _pairs(self._document, node)}

    def _choice(self, node: yaml.Node, choices: tuple[str, ...]) -> str:
        text = self._text(node)
        if text not in choices:
            raise self._document.error(node, f'unknown value "{text}", supported: {", ".join(filter(None, choices))}')
        return text

    def _text(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._wrong(node, "a string")
        return "" if is_null(node) else str(node.value)

    def _scalar(self, node: yaml.Node, wanted: type) -> Any:
        tag = node.tag.rpartition(":")[2]
        if not isinstance(node, yaml.ScalarNode) or not (
            _KINDS.get(tag) is wanted or (wanted is float and tag == "int")
        ):
            raise self._wrong(node, {int: "a whole number", float: "a number", bool: "true or false"}[wanted])
        value = yaml.SafeLoader("").construct_object(node)
        if wanted is int and value < 0:
            raise self._document.error(node, f"{value} is negative")
        return wanted(value)

    def _wrong(self, node: yaml.Node, expected: str) -> ConfigError:
        tag = node.tag.rpartition(":")[2]
        shown = f" `{str(node.value)[:40]}`" if isinstance(node, yaml.ScalarNode) else ""
        return self._document.error(node, f"cannot unmarshal !!{tag}{shown}: expected {expected}")

    def _checked(self, node: yaml.Node, make: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        try:
            return make(*arguments, **named)
        except ValueError as error:
            raise self._document.error(node, str(error)) from error


def _pairs(document: Document, node: yaml.Node) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """A mapping's keys and values, `<<` resolved."""
    if not isinstance(node, yaml.MappingNode):
        raise document.error(node, "expected a mapping of fields to values")
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise document.error(key, "a field's name must be a string")
        if key.value in seen and key.tag != _MERGE:
            raise document.error(key, f'key "{key.value}" already set in map')
        seen.add(key.value)
    if any(key.tag == _MERGE for key, _ in node.value):
        try:
            yaml.SafeLoader("").flatten_mapping(node)
        except yaml.MarkedYAMLError as error:
            raise document.error(node, str(error.problem)) from error
    return iter({key.value: (key, value) for key, value in node.value}.values())


@cache
def _fields(wanted: Any) -> dict[str, tuple[Any, Any]]:
    """Every name that a dataclass' mapping may hold: the dataclass it belongs to and its type."""
    found: dict[str, tuple[Any, Any]] = {}
    for field in dataclasses.fields(wanted):
        hint = _hints(wanted)[field.name]
        if field.metadata.get("inline"):
            found |= _fields(hint)
        else:
            found[field.name] = (wanted, hint)
    return found


@cache
def _hints(wanted: Any) -> dict[str, Any]:
    return get_type_hints(wanted)
