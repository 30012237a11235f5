"""Options of a configuration: one line for each field, and one check of all of them from their types.

    @dataclass
    class Config:
        batch_size: PositiveInt = option(64, "queries per device and step")
        sampling: Literal["random", "top"] = option("random", "how negatives are drawn")

        def __post_init__(self) -> None:
            check(self)

The bounds stand in the type, where transformers' `HfArgumentParser` does not see them; the command line reads the rest.
"""

from __future__ import annotations

import difflib
import inspect
import math
import types
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field
from numbers import Integral, Real
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from hf_cocondenser.errors import InputError


@dataclass(frozen=True)
class Bounds:
    """Where a number may lie; None: no bound on that side."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def hold(self, value: float) -> bool:
        """Whether the value lies within."""
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        words = {"at least": self.at_least, "above": self.above, "at most": self.at_most, "below": self.below}
        return " and ".join(f"{word} {bound:,.12g}" for word, bound in words.items() if bound is not None)


PositiveInt = Annotated[int, Bounds(at_least=1)]
NonNegativeInt = Annotated[int, Bounds(at_least=0)]
PositiveFloat = Annotated[float, Bounds(above=0)]
NonNegativeFloat = Annotated[float, Bounds(at_least=0)]
Share = Annotated[float, Bounds(at_least=0, at_most=1)]
PositiveShare = Annotated[float, Bounds(above=0, at_most=1)]
ProperShare = Annotated[float, Bounds(at_least=0, below=1)]
Seed = Annotated[int, Bounds(at_least=0, below=2**32)]


def option(default: Any, help: str, *, group: str | None = None, aliases: Sequence[str] = ()) -> Any:
    """A field of a configuration.

    Args:
        default: its value; a callable such as `list` makes a new one for each configuration, `MISSING` requires one.
        help: what `--help` says of the flag.
        group: heading under which `--help` lists the flag.
        aliases: further flags of the same field.
    """
    metadata = {"help": help} | ({"group": group} if group else {}) | ({"aliases": list(aliases)} if aliases else {})
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


def check(config: Any) -> None:
    """Compare the fields of a configuration with their types; what transformers declares is left to transformers.

    Raises:
        InputError: a string is none of the choices, a number lies out of its bounds, or a value has another type.
    """
    names = own_fields(type(config))
    for name, kind in get_type_hints(type(config), include_extras=True).items():
        if name in names and (problem := _problem(getattr(config, name), kind)):
            raise InputError(f"{name} is {getattr(config, name)!r}; {problem}.")


def own_fields(cls: type) -> set[str]:
    """The fields of a configuration that it does not have from transformers or sentence-transformers."""
    own = [parent for parent in cls.__mro__ if parent.__module__.split(".")[0] not in _OTHERS]
    return {name for parent in own for name in inspect.get_annotations(parent)}


_OTHERS = ("builtins", "transformers", "sentence_transformers")
_WORDS: dict[type, tuple[type, str]] = {
    bool: (bool, "it must be true or false"),
    int: (Integral, "it must be a whole number"),
    float: (Real, "it must be a number"),
    str: (str, "it must be a text"),
}


def _problem(value: Any, kind: Any) -> str | None:
    """What is wrong with a value that should be of a type; None: nothing is."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        problems = [_problem(value, one) for one in arguments if one is not type(None) or value is None]
        return None if None in problems else problems[0]
    if origin is Literal:
        if value in arguments:
            return None
        close = difflib.get_close_matches(str(value), [str(one) for one in arguments], 1)
        meant = f" (did you mean '{close[0]}'?)" if close else ""
        return f"choose one of {', '.join(map(str, arguments))}{meant}"
    if origin is Annotated:
        base, bounds = arguments[0], arguments[1]
        return _problem(value, base) or (None if bounds.hold(value) else f"it must be {bounds}")
    if origin is list:
        if not isinstance(value, list | tuple):
            return "it must be a list"
        return next((problem for one in value if (problem := _problem(one, arguments[0]))), None)
    if kind is type(None):
        return None if value is None else "leave it out"
    expected, words = _WORDS.get(kind, (object, ""))
    wrong = not isinstance(value, expected) or (expected is not bool and expected is not object and value is True)
    return words if wrong or (expected is Real and math.isnan(value)) else None
