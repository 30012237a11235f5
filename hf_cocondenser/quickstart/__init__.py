"""The whole road on real text: documentation (or own documents) to an evaluated retriever in minutes."""

from hf_cocondenser.utils.lazy import submodules

__getattr__ = submodules(__name__)
