"""The one exception for what a user can put right."""

import re

_FLAG = re.compile(r"(?<![\w`'-])--(?P<name>[a-z][a-z0-9-]*)|`[^`]*`|(?<!\w)'[^']*'")


class InputError(ValueError):
    """Bad input: the message is one sentence saying what is wrong, where, and what to do.

    It is written with the flags of the command line. As text it names the same options as Python's arguments do; the
    command line prints `for_command_line` without a traceback and exits with status 2.

    Example:
        >>> error = InputError("Choose another column by --text-column.")
        >>> str(error)
        'Choose another column by text_column.'
        >>> error.for_command_line
        'Choose another column by --text-column.'
    """

    def __str__(self) -> str:
        return _FLAG.sub(_as_argument, self.for_command_line)

    @property
    def for_command_line(self) -> str:
        """The message with flags."""
        return super().__str__()


def _as_argument(match: re.Match[str]) -> str:
    name = match["name"]  # None: a quotation or code, which stays as it is
    return match[0] if name is None else name.replace("-", "_")
