"""The one exception for what a user can put right."""


class InputError(ValueError):
    """Bad input: the message is one sentence saying what is wrong, where, and what to do.

    The command line prints it without a traceback and exits with status 2.
    """
