"""Dataclasses from parsed JSON, with messages that name the key that is wrong."""

from __future__ import annotations

import math
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

__all__ = ["from_json"]

_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    NoneType: "null",
}


def from_json(kind: Any, value: Any, where: str = "") -> Any:
    """Rebuild a value of type ``kind``.

    Args:
        kind: A dataclass, ``str``, ``int``, ``float``, ``Any``, ``T | None``, ``list[T]``, ``dict[str, T]`` or a tuple
            of fixed length. Keys that a dataclass does not have are passed over.
        value: As ``json.loads`` gives it.
        where: Dotted name of the value, for messages.

    Raises:
        ValueError: The value is of another kind, a number is not finite, or a key without a default is missing.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if is_dataclass(kind):
        return _dataclass(kind, value, where)
    if origin in (Union, UnionType):
        (kind,) = (argument for argument in arguments if argument is not NoneType)
        return None if value is None else from_json(kind, value, where)
    if origin is dict:
        _expect(dict, value, where)
        return {name: from_json(arguments[1], item, _join(where, name)) for name, item in value.items()}
    if origin is list:
        _expect(list, value, where)
        return [from_json(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is tuple:
        _expect(list, value, where)
        if len(value) != len(arguments):
            raise ValueError(f"{where}: expected {len(arguments)} entries, found {len(value)}")
        return tuple(from_json(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(arguments, value, strict=True)))
    _expect(kind, value, where)
    return value


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    _expect(dict, value, where)
    types = get_type_hints(kind)
    arguments = {}
    for field in fields(kind):
        name = _join(where, field.name)
        if field.name in value:
            arguments[field.name] = from_json(types[field.name], value[field.name], name)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{name}: missing")
    return kind(**arguments)


def _expect(kind: type, value: Any, where: str) -> None:
    accepted = (int, float) if kind is float else (kind,)
    if type(value) not in accepted:
        raise ValueError(f"{where or 'the whole'}: expected {_NAMES[kind]}, found {_NAMES[type(value)]}")
    if kind is float and not math.isfinite(value):
        raise ValueError(f"{where}: expected a finite number, found {value}")


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
