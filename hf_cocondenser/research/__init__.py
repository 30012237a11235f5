"""What the papers compare, on the package's own tools."""

from hf_cocondenser.utils.lazy import submodules

__getattr__ = submodules(__name__)
