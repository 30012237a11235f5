"""Hard negatives: BM25's, a retriever's, a cross-encoder's judgement of them."""

from hf_cocondenser.utils.lazy import submodules

__getattr__ = submodules(__name__)
