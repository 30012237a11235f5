"""One module per layout a retrieval data set may have on disk or on the Hub."""

from hf_cocondenser.utils.lazy import submodules

__getattr__ = submodules(__name__)
