"""From a pre-training checkpoint to what others load: export, model cards, publishing."""

from hf_cocondenser.utils.lazy import submodules

__getattr__ = submodules(__name__)
