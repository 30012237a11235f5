"""Rows of documents, queries and pairs from whatever a user has: files of every form, folders, data sets in memory."""

from hf_cocondenser.utils.lazy import submodules

__getattr__ = submodules(__name__)
