"""Fine-tuning of retrievers: the loss, hard negatives, and the two rounds."""

from hf_cocondenser.utils.lazy import submodules

__getattr__ = submodules(__name__)
