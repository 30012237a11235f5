"""Measures, significance, reports."""

from hf_cocondenser.utils.lazy import submodules

__getattr__ = submodules(__name__)
