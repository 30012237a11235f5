"""Other ways to score a passage than one vector's dot product, as baselines on the same backbone, data and measures."""

from hf_cocondenser.utils.lazy import submodules

__getattr__ = submodules(__name__)
