"""What a sub-command of `hf-cocondenser` is, and how its flags and YAML file become dataclasses."""

from __future__ import annotations

import argparse
import copy
import difflib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NoReturn, get_args, get_origin, get_type_hints

import yaml
from transformers import HfArgumentParser, TrainingArguments
from transformers.hf_argparser import string_to_bool

from hf_cocondenser.cli.flags import configurations, described, flag_type, flags_of, parameter_types
from hf_cocondenser.errors import InputError
from hf_cocondenser.utils.options import own_fields

_NEGATIVE_NUMBER = re.compile(
    r"-(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE
)  # argparse's own takes -1e-3 for a flag
_ADVANCED = "advanced: what transformers' trainer takes"
_TRANSFORMERS = {item.name for item in fields(TrainingArguments)}
_ADVANCED = "advanced, of transformers"
_BOOLEANS = ("yes", "true", "t", "y", "1", "no", "false", "f", "n", "0")


@dataclass(frozen=True)
class Command:
    """A sub-command: a function whose first parameter is positional and whose others are flags.

    Attributes:
        summary: what it does, for `--help`.
        examples: shell lines shown under `--help`.
        run: the function; see `flags_of`. A parameter that is a dataclass gives a flag for each of its fields.
        target: the parameter that is positional, if there is one; where it is a sequence, several may be given.
        show: turns what `run` returns into the text to print.
        without: parameters of `run` that are no flags.
        names: what flags are called, where it is not the parameter's name.
        recipes: name of a recipe (`--recipe`) -> the defaults that it changes.
        first: flags that `--help` shows first; the others follow by their groups (`option(..., group=...)`).
    """

    summary: str
    examples: str
    run: Callable[..., Any]
    target: str | None = None
    show: Callable[[Any], str] | None = None
    without: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    recipes: Callable[[str], dict[str, Any]] | None = None
    first: tuple[str, ...] = ()


def execute(name: str, command: Command, argv: Sequence[str]) -> None:
    """Run a command, and print what it has to show."""
    result = command.run(**parse(name, command, argv))
    if command.show is not None and result is not None and (text := command.show(result)):
        sys.stdout.write(f"{text}\n")


def parse(name: str, command: Command, argv: Sequence[str]) -> dict[str, Any]:
    """Turn `argv` (flags win over the YAML file named by `--config`) into the arguments of `command.run`.

    A recipe changes defaults only, so file and flags win over it, and `--help` shows them. A boolean is set by
    `--flag`, `--flag true` or `--no-flag`; the YAML file's values are read as flags are.

    Raises:
        InputError: a flag or the YAML file cannot be used, or the target is missing.
    """
    parser = make_parser(name, command)
    config = _value_of("--config", argv)
    from_file = _flags_of_file(config, parser) if config else []
    if command.recipes is not None and (
        recipe := _value_of("--recipe", [*from_file, *argv]) or parser.get_default("recipe")
    ):
        parser.set_defaults(**command.recipes(recipe))
    try:
        plain, *configured, rest, unknown = parser.parse_args_into_dataclasses(
            from_file + _plain_booleans(argv, parser), return_remaining_strings=True, look_for_args_file=False
        )
    except InputError as error:
        flags = {action.dest: f"--{action.dest.replace('_', '-')}" for action in parser._actions}
        raise InputError(
            re.sub(r"^\w+(?= is )", lambda match: flags.get(match[0], match[0]), error.for_command_line)
        ) from None
    except (ValueError, TypeError, ImportError) as error:  # what transformers' arguments say of their values
        raise InputError(" ".join(str(error).split())) from None
    if unknown:
        parser.error(_unknown(unknown[0], parser))
    parameters = {flag: parameter for parameter, flag in command.names.items()}
    arguments = {parameters.get(flag, flag): value for flag, value in vars(plain).items()}
    arguments |= dict(zip(configurations(command.run), configured, strict=True))
    if command.target:
        arguments[command.target] = getattr(rest, command.target)
        if not arguments[command.target]:
            parser.error(f"{command.target.upper()} is missing: {described(command.run)[command.target]}")
    return arguments


def _value_of(flag: str, argv: Sequence[str]) -> str | None:
    """The value of one flag, before the others are known."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument(flag, nargs="?", dest="value")
    return parser.parse_known_args(argv)[0].value


class _Parser(HfArgumentParser):
    """transformers' parser of dataclasses, with the flags in groups and with lists of choices."""

    def __init__(self, command: Command, **settings: Any) -> None:
        self.first = command.first
        self.groups: dict[str, argparse._ArgumentGroup] = {}
        plain = flags_of(command.run, [*command.without, command.target or ""], command.names)
        super().__init__((plain, *configurations(command.run).values()), **settings)
        self._action_groups.sort(key=lambda group: group.title == _ADVANCED)

    def _add_dataclass_arguments(self, dtype: Any) -> None:
        self.own = own_fields(dtype)
        self.usual_group = "training" if self.first and issubclass(dtype, TrainingArguments) else None
        super()._add_dataclass_arguments(dtype)

    def _parse_dataclass_field(self, parser: argparse.ArgumentParser, item: Field[Any]) -> None:  # type: ignore[override]
        item, metadata = copy.copy(item), dict(item.metadata)
        group = metadata.pop("group", self.usual_group if item.name in self.own else _ADVANCED)
        if get_origin(item.type) is list and get_origin(get_args(item.type)[0]) is Literal:
            metadata["choices"] = get_args(get_args(item.type)[0])
            item.type = list[str]
        item.metadata = MappingProxyType(metadata)
        container: Any = self if item.name in self.first else parser
        if group and item.name not in self.first:
            if group not in self.groups:
                self.groups[group] = self.add_argument_group(group)
            container = self.groups[group]
        super()._parse_dataclass_field(container, item)

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong as `InputError`, with the flags as `--help` shows them."""
        message = re.sub(r"--\w+/(--[\w-]+)", r"\1", message)
        raise InputError(f"{message} (see {self.prog} --help).")


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Examples kept line by line, one spelling of each flag, no empty defaults."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=100)  # whatever the terminal: the text is written once

    def _format_action_invocation(self, action: argparse.Action) -> str:
        flags = [flag for flag in action.option_strings if "_" not in flag]
        if not flags:
            return super()._format_action_invocation(action)
        if action.type is string_to_bool:
            return f"{flags[0]}, --no-{flags[0][2:]}" if action.default else flags[0]
        return ", ".join(flags) + ("" if action.nargs == 0 else f" {self._format_args(action, action.dest.upper())}")

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        told = "default" in text or action.default in (None, "", False, [], argparse.SUPPRESS)
        return text if told else f"{text} (default: %(default)s)"


def make_parser(name: str, command: Command) -> _Parser:
    """The parser of a command, whose help is what `--help` shows."""
    target, many = command.target, False
    if target is not None:
        many = get_origin(flag_type(parameter_types(command.run)[target])) is list
    shown = f"{target.upper()} {'... ' if many else ''}" if target else ""
    parser = _Parser(
        command,
        prog=f"hf-cocondenser {name}",
        usage=f"hf-cocondenser {name} {shown}[--flag VALUE ...]",
        description=command.summary,
        epilog=f"examples:\n{command.examples}",
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    parser._negative_number_matcher = _NEGATIVE_NUMBER
    parser.add_argument("--config", metavar="FILE", help="YAML file with any of these options; flags win over it")
    if target is not None:
        nargs = "*" if many else "?"
        parser.add_argument(target, nargs=nargs, metavar=target.upper(), help=described(command.run)[target])
    parser._action_groups.sort(key=lambda group: group.title == _ADVANCED)  # the last
    for action in parser._actions:
        if isinstance(action, argparse._StoreFalseAction):
            action.help = argparse.SUPPRESS  # shown beside the flag that it negates
    return parser


def _plain_booleans(argv: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """Write `--flag` and `--no-flag` as `--flag=true` and `--flag=false`, so that a flag takes nothing after it."""
    booleans = {action.dest for action in parser._actions if action.type is string_to_bool}
    plain = []
    for token, following in zip(argv, [*argv, ""][1:], strict=True):
        name = token[2:].replace("-", "_") if token.startswith("--") else ""
        if name in booleans and following.lower() not in _BOOLEANS:
            token = f"--{name}=true"
        elif name.startswith("no_") and name[3:] in booleans:
            token = f"--{name[3:]}=false"
        plain.append(token)
    return plain


def _flags_of_file(path: str, parser: _Parser) -> list[str]:
    """A YAML file as flags, so that its values are converted and checked like them (YAML takes 1e-5 for a string)."""
    options = _read_yaml(path)
    actions = {action.dest: action for action in parser._actions if action.dest not in ("help", "config")}
    actions |= {flag[2:].replace("-", "_"): action for action in actions.values() for flag in action.option_strings}
    # Not the fields' own types: HfArgumentParser has made one of each union.
    kinds = {name: str(kind).lower() for cls in parser.dataclass_types for name, kind in get_type_hints(cls).items()}
    unknown = sorted(set(options) - set(actions))
    if unknown:
        raise InputError(f"The configuration file '{path}': {_unknown('--' + unknown[0], parser)}.")
    flags = []
    for name, value in options.items():
        action = actions[name]
        if not action.option_strings and action.nargs == "*" and value is not None and not isinstance(value, list):
            value = [value]
        if isinstance(value, list | dict) and action.option_strings and type(value).__name__ not in kinds[action.dest]:
            one = "number" if action.type in (int, float) else "value"
            raise InputError(f"The configuration file '{path}': '{name}' is one {one}, not {value}.")
        if isinstance(value, list) and value and action.nargs == "+":  # a flag cannot say "none"; a default can
            flags += [f"--{action.dest}", *map(str, value)]
        elif isinstance(value, list | dict) or not action.option_strings:
            parser.set_defaults(**{name: value})
        elif value is not None:
            flags.append(f"--{action.dest}={value}")
    return [*flags, f"--config={path}"]  # ends a list, lest it take the target for one of its own


def _read_yaml(path: str) -> dict[str, Any]:
    try:
        options = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"The configuration file '{path}' cannot be read: {' '.join(str(error).split())}.") from None
    if not isinstance(options, dict):
        raise InputError(f"The configuration file '{path}' must hold 'option: value' lines.")
    names = [str(key).replace("-", "_") for key in options]
    if len(set(names)) < len(names):
        raise InputError(f"The configuration file '{path}' has an option twice, with a hyphen and an underscore.")
    return dict(zip(names, options.values(), strict=True))


def _unknown(flag: str, parser: argparse.ArgumentParser) -> str:
    flag = flag.split("=")[0].replace("_", "-") if flag.startswith("--") else flag
    known = [option for action in parser._actions for option in action.option_strings if "_" not in option]
    close = difflib.get_close_matches(flag, known, 1)
    kind = "option" if flag.startswith("-") else "argument"
    return f"there is no {kind} '{flag}'" + (f"; did you mean '{close[0]}'?" if close else "")
