"""Whether options are what their classes declare: one check of all of them, driven by the annotations.

What means the same is taken: a list or a set where a tuple is declared, a path where a text is, a whole number
where any is. Nothing is guessed: a text is neither a number nor a list of one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import Field, fields, is_dataclass, replace
from functools import cache
from operator import index
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from watchkeeper.environment import ConfigurationError, short

T = TypeVar("T")
JUDGED_BY_ITS_CLASS: Mapping[str, str] = {"types": "its class"}  # metadata of a field of which that has more to say
_UNIONS = (Union, UnionType)
_NOUNS: Mapping[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    NoneType: "None",
}


def settled(name: str, value: Any, kind: type[T]) -> T:
    """Options of a class `kind`, in the types it declares, with those inside of them.

    Raises ConfigurationError for the first that is of another type: it names the option (`name` is that of the whole,
    empty for all options), says what it must be and what was given.
    """
    if not isinstance(value, kind):
        raise _wrong(name, value, kind)
    hints = _hints(type(value))  # type: ignore[arg-type]  # classes are hashable
    changed = {}
    for field in fields(value):  # type: ignore[arg-type]  # a dataclass, as every class of options
        if field.metadata == JUDGED_BY_ITS_CLASS:
            continue
        given = getattr(value, field.name)
        taken = _settled(f"{name}.{field.name}" if name else field.name, given, hints[field.name], field)
        if taken is not given:
            changed[field.name] = taken
    return replace(value, **changed) if changed else value  # type: ignore[type-var]  # likewise


def _settled(name: str, value: Any, kind: Any, field: Field[Any]) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return settled(name, value, kind)  # type: ignore[arg-type]  # a class: nobody annotates with an instance
    if origin in _UNIONS:
        kind = next((each for each in arguments if _fits(value, each)), kind)
        if get_origin(kind) not in _UNIONS:
            return _settled(name, value, kind, field)
    elif origin is tuple and isinstance(value, list | tuple | set | frozenset):
        return tuple(_settled(f"{name}[{at}]", each, arguments[0], field) for at, each in enumerate(value))
    elif origin is Mapping and isinstance(value, Mapping):
        return {
            _settled(f"a key of {name}", key, arguments[0], field): _settled(
                f"{name}[{key!r}]", of, arguments[1], field
            )
            for key, of in value.items()
        }
    elif _fits(value, kind):
        return _plain(value, kind)
    raise _wrong(name, value, kind, told=field.repr)


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind that holds no others."""
    origin = get_origin(kind)
    if origin is Literal:
        return isinstance(value, str)  # which texts there are, the option's own class knows best
    if origin is Callable:
        return callable(value)
    if kind is int:
        return hasattr(type(value), "__index__") and not isinstance(value, bool)
    if kind is float:
        return isinstance(value, float) or _fits(value, int)
    if kind is str:
        return isinstance(value, str) or (isinstance(value, os.PathLike) and isinstance(os.fspath(value), str))
    return isinstance(kind, type) and isinstance(value, kind)


def _plain(value: Any, kind: Any) -> Any:
    if kind is str and isinstance(value, os.PathLike):
        return os.fspath(value)
    if kind in {int, float} and not isinstance(
        value, int | float
    ):  # a whole number of somebody else's, such as numpy's
        return index(value)
    return value


def _wrong(name: str, value: Any, kind: Any, *, told: bool = True) -> ConfigurationError:
    given = _given(value, told=told)
    if not name:
        by_name = f"; to name the service write configure(service={value!r})" if isinstance(value, str) else ""
        return ConfigurationError(f"configure takes Options, and was given {given}{by_name}")
    wanted = _noun(kind)
    if get_origin(kind) is tuple and isinstance(value, str):
        wanted += f", such as ({short(value)},)" if told else ""
    return ConfigurationError(f"{name} is {given}: it must be {wanted}")


def _given(value: Any, *, told: bool) -> str:
    """A value and its type; the type alone of what may hold a secret, or is long to tell."""
    if value is None or isinstance(value, bool):
        return repr(value)
    kind = type(value).__name__
    article = "an" if kind[0] in "aeiouAEIOU" else "a"
    if told and isinstance(value, int | float):
        return f"{value!r}, {article} {kind}"
    if told and isinstance(value, str) and "@" not in value:
        return f"{short(value)}, {article} {kind}"
    return f"{article} {kind}"


def _noun(kind: Any) -> str:
    """What a value of this kind is called."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in _NOUNS:
        return _NOUNS[kind]
    if origin in _UNIONS:
        return " or ".join(_noun(each) for each in arguments)
    if origin is Literal:
        return f"one of {', '.join(arguments)}"
    if origin is tuple:
        return f"a tuple of {_noun(arguments[0])}"
    if origin is Mapping:
        return f"a mapping of {_noun(arguments[0])} to {_noun(arguments[1])}"
    return f"{kind.__name__}(…)" if is_dataclass(kind) else "a function"  # type: ignore[union-attr]  # a class


@cache
def _hints(kind: Any) -> Mapping[str, Any]:
    return get_type_hints(kind)
