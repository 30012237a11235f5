"""The command line: one thin file per command."""

from hf_cocondenser.utils.lazy import submodules

__getattr__ = submodules(__name__)
