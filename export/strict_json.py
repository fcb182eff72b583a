"""Dataclasses to JSON and back, where every surprise is an error that names the field."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from typing import Any, Literal, TypeVar

from .errors import ExportError

Record = TypeVar("Record")


def dump(record: Any) -> str:
    """Deterministic JSON of a dataclass, fields in their declared order."""
    return json.dumps(dataclasses.asdict(record), indent=2, ensure_ascii=False) + "\n"


def parse(text: str, what: str) -> Any:
    """Plain JSON; ExportError where it is none."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise ExportError(f"{what}: not JSON: {error}", "export the bundle again") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def load(kind: type[Record], value: Any, what: str) -> Record:
    """Builds `kind` from parsed JSON; missing, unknown, wrongly typed fields raise ExportError."""
    result: Record = _read(kind, value, what)
    return result


def _read(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _read_record(kind, value, where)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        if len(arguments) == 2 and type(None) in arguments:
            return _read(next(a for a in arguments if a is not type(None)), value, where)
        if type(value) in arguments:
            return value
        raise _wrong(where, kind, value)
    if origin is Literal:
        if value not in arguments:
            raise _wrong(where, kind, value)
        return value
    if origin is tuple:
        return _read_tuple(arguments, value, where)
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong(where, kind, value)
        return {key: _read(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if kind is Any:
        return value
    if kind is float and type(value) in (int, float):
        return float(value)
    if type(value) is not kind:
        raise _wrong(where, kind, value)
    return value


def _read_record(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, kind, value)
    hints = typing.get_type_hints(kind)
    names = {field.name for field in dataclasses.fields(kind)}
    if missing := sorted(names - value.keys()):
        raise ExportError(f"{where}: lacks {', '.join(missing)}", "export the bundle again")
    if unknown := sorted(value.keys() - names):
        raise ExportError(f"{where}: unknown field {', '.join(unknown)}", "update vljepa-edge")
    return kind(**{name: _read(hints[name], value[name], f"{where}.{name}") for name in hints})


def _read_tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    """`tuple[X, ...]` of any length, or `tuple[X, Y]` of just that length."""
    if not isinstance(value, list):
        raise _wrong(where, arguments, value)
    kinds = arguments
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        kinds = (arguments[0],) * len(value)
    if len(kinds) != len(value):
        raise ExportError(f"{where}: {len(value)} items, expected {len(kinds)}")
    return tuple(
        _read(kind, item, f"{where}[{i}]")
        for i, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _wrong(where: str, kind: Any, value: Any) -> ExportError:
    expected = getattr(kind, "__name__", None) or str(kind).replace("typing.", "")
    return ExportError(f"{where}: expected {expected}, found {json.dumps(value)[:60]}")
