"""The flags of a function: its keyword parameters, with their types, defaults and the words of its docstring."""

from __future__ import annotations

import builtins
import inspect
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, is_dataclass, make_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from hf_cocondenser.utils.options import check

_ARGUMENTS = re.compile(r"^Args:\n((?:    .*\n|\n)+)", re.MULTILINE)
_ENTRY = re.compile(r"^    (\w+(?:, \w+)*): (.*(?:\n     .*)*)", re.MULTILINE)


class _Names(dict[str, Any]):
    """The names of a module; one that is there for type checkers alone means nothing to a flag."""

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, object)


def parameter_types(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of a function's parameters, by name."""
    hints = get_type_hints(function, localns=_Names(inspect.unwrap(function).__globals__), include_extras=True)
    return {name: hints[name] for name in inspect.signature(function).parameters}


def described(function: Callable[..., Any]) -> dict[str, str]:
    """What the docstring's `Args:` say, by parameter."""
    section = _ARGUMENTS.search((inspect.getdoc(function) or "") + "\n")
    entries = _ENTRY.findall(section[1]) if section else []
    return {
        name: " ".join(text.replace("`", "").split()).rstrip(".")
        for names, text in entries
        for name in names.split(", ")
    }


def configurations(function: Callable[..., Any]) -> dict[str, type]:
    """The parameters that are configurations themselves: dataclasses, whose fields are flags."""
    found = {}
    for name, kind in parameter_types(function).items():
        members = [one for one in (get_args(kind) or (kind,)) if one is not types.NoneType]
        if is_dataclass(members[0]) and isinstance(members[0], type):
            found[name] = members[0]
    return found


def flags_of(
    function: Callable[..., Any], without: Sequence[str] = (), names: Mapping[str, str] | None = None
) -> type:
    """A dataclass with a field for each plain keyword parameter of a function.

    Args:
        function: its docstring describes every parameter that becomes a flag; one that it passes over becomes none.
        without: parameters that are no flags.
        names: what flags are called, where it is not the parameter's name.
    """
    texts, kinds = described(function), parameter_types(function)
    left_out = {*without, *configurations(function)}
    fields = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in left_out or name not in texts:
            continue
        default, settings = parameter.default, dict[str, Any](metadata={"help": texts[name]})
        kind = flag_type(kinds[name])
        if get_origin(kind) is list and default is not inspect.Parameter.empty:
            settings["default_factory"] = lambda default=default: list(default or ())
        elif default is not inspect.Parameter.empty:
            settings["default"] = default
        fields.append(((names or {}).get(name, name), kind, field(**settings)))  # type: ignore[call-overload]
    return make_dataclass(function.__name__, fields, kw_only=True, namespace={"__post_init__": check})


def flag_type(kind: Any) -> Any:
    """The type of a flag for a parameter's: paths and objects are named by a string, sequences are lists."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        kinds = [flag_type(one) for one in arguments if one is not types.NoneType]
        chosen = next((one for one in kinds if get_origin(one) is list), None) or next(
            (one for one in kinds if one is not str), str
        )
        return chosen | None if types.NoneType in arguments and get_origin(chosen) is not list else chosen
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return list[flag_type(arguments[0])]  # type: ignore[misc]
    return kind if origin in (Literal, Annotated) or kind in (bool, int, float) else str
