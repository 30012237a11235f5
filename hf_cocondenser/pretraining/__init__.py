"""Pre-training: arguments, start, gradient cache, trainer, run."""

from hf_cocondenser.utils.lazy import submodules

__getattr__ = submodules(__name__)
