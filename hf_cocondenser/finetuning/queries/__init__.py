"""Queries made from documents."""

from hf_cocondenser.utils.lazy import submodules

__getattr__ = submodules(__name__)
